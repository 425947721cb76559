"""Two builds that are not both to be in memory: the outgoing one answers from its mapped vectors while the next is loaded."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pytest
from test_search import SLOT, TEXTS, Filters, World, until

from engines import index_memory, open_builds
from engines.embedding.registry import Embedder, Model, open_embedder
from engines.index_memory import Room, available_memory, heap_bytes
from engines.open_builds import Slot
from engines.reading import Reader
from engines.search import SearchService
from engines.search_answer import SearchRequest
from engines.vectors.flat import FlatIndex
from engines.vectors.hnsw import HnswIndex
from state.catalog.indexes import Build, ServingManifest, Tail
from state.errors import ObjectMissing

MIB = 1 << 20


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Held(World):
    """Has room for one graph. While `opens` is not set, whatever is opened stays where its graph was read and its model is to come."""

    room: Room = field(default_factory=lambda: Room(limit=1))
    opens: threading.Event = field(default_factory=threading.Event)
    opened: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.opens.set()
        self.service = self.service_of(Filters())

    def service_of(self, filters: Filters) -> SearchService:
        return SearchService(self.catalog, self.files, filters, clock=lambda: self.now, open_model=self.open_model, room=self.room)

    def open_model(self, model: Model) -> Embedder:
        self.opened += 1
        assert self.opens.wait(30)
        return open_embedder(model)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Held]:
    made = Held(tmp_path)
    yield made
    made.files.gate.set()
    made.opens.set()
    made.service.close()


@pytest.mark.parametrize(
    ("limit", "available", "incoming", "held", "expected"),
    [
        (0, 100 * MIB, 90 * MIB, 500 * MIB, True),
        (0, 100 * MIB, 95 * MIB, 0, False),
        (0, None, 95 * MIB, 500 * MIB, True),
        (100 * MIB, None, 50 * MIB, 50 * MIB, True),
        (100 * MIB, None, 50 * MIB, 51 * MIB, False),
        (100 * MIB, 10 * MIB, 20 * MIB, 20 * MIB, False),
    ],
)
def test_a_build_fits_within_the_limit_and_what_the_system_has(
    limit: int, available: int | None, incoming: int, held: int, expected: bool
) -> None:
    assert Room(limit, lambda: available).has(incoming, held) is expected


def test_what_the_system_has_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (available_memory() or MIB) >= MIB
    monkeypatch.setattr(index_memory, "_GROUP", tmp_path / "cgroup")
    told = tmp_path / "meminfo"
    told.write_text("MemTotal:  900 kB\nMemAvailable:  12 kB\n")
    monkeypatch.setattr(index_memory, "_MEMINFO", told)
    assert available_memory() == 12 * 1024
    for text in ("MemTotal: 900 kB\n", "MemAvailable: much\n"):
        told.write_text(text)
        assert available_memory() is None
    told.unlink()
    assert available_memory() is None


@pytest.mark.parametrize(
    ("own", "above", "expected"),
    [
        (("max", 5), ("max", 9), 1024),
        (("700", 300), ("max", 9), 450),
        (("700", 300), ("600", 500), 150),
        (("100", 300), ("max", 9), 0),
        (("much", 5), ("max", 9), 1024),
    ],
)
def test_a_group_of_the_process_may_have_less_than_the_system(
    own: tuple[str, int], above: tuple[str, int], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text("MemAvailable: 1 kB\n")
    (tmp_path / "cgroup").write_text("4:memory:/other\n0::/slice/own\n")
    for folder, (limit, used) in ((tmp_path / "groups/slice/own", own), (tmp_path / "groups/slice", above)):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text("anon 10\ninactive_file 50\n")
    for name, path in (("_MEMINFO", "meminfo"), ("_GROUP", "cgroup"), ("_GROUPS", "groups")):
        monkeypatch.setattr(index_memory, name, tmp_path / path)
    assert available_memory() == expected


@pytest.mark.anyio
async def test_the_outgoing_build_answers_without_its_graph_until_the_next_is_loaded(world: Held) -> None:
    older, newer = world.build(engine="hnsw"), world.build([*TEXTS, "java developer"], "hnsw", version=4, generation="g2")
    assert 0 < heap_bytes(older) < heap_bytes(newer)
    world.serve(older)
    before = (await world.service.search(SearchRequest("resumes", TEXTS[0], k=3))).hits
    graph = weakref.ref(world.builds._held[SLOT].index)
    world.opens.clear()
    world.serve(newer)
    world.service.follow(["Index/resumes"])
    await until(lambda: world.builds._held[SLOT].stands_in)
    result = await world.service.search(SearchRequest("resumes", TEXTS[0], k=3))
    assert (result.generation, result.versions) == ("g1", {"candidates": 3})
    assert [hit.key for hit in result.hits] == [hit.key for hit in before]
    assert [hit.score for hit in result.hits] == pytest.approx([hit.score for hit in before], abs=1e-6)
    assert isinstance(world.builds._held[SLOT].index, FlatIndex)
    assert [key for key, _ in await world.find(filter="recipe")] == ["[3]", "[2]"]
    gc.collect()
    assert graph() is None
    world.opens.set()
    await until(lambda: world.builds._held[SLOT].build == newer)
    assert isinstance(world.builds._held[SLOT].index, HnswIndex)
    assert (await world.service.search(SearchRequest("resumes", TEXTS[0], k=100))).generation == "g2"


@pytest.mark.anyio
async def test_a_rollback_while_the_next_is_loaded_loads_the_graph_again(world: Held) -> None:
    older, newer = world.build(engine="hnsw"), world.build(TEXTS[:3], "hnsw", version=4, generation="g2")
    world.serve(older)
    await world.find()
    world.opens.clear()
    world.serve(newer)
    world.service.follow(["Index/resumes"])
    await until(lambda: world.builds._held[SLOT].stands_in)
    world.serve(older)
    assert len(await world.find(k=100)) == 5
    world.opens.set()
    await until(lambda: not world.builds._held[SLOT].stands_in)
    assert world.builds._held[SLOT].build == older
    assert len(await world.find(k=100)) == 5


@pytest.mark.anyio
async def test_a_search_that_does_not_end_holds_nothing_up(world: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_builds, "LET_GO", 0.01)
    newer = world.build(TEXTS[:3], "hnsw", version=4, generation="g2")
    world.serve(world.build(engine="hnsw"))
    await world.find()
    searching = world.builds._held[SLOT]
    world.serve(newer)
    world.service.follow(["Index/resumes"])
    await until(lambda: world.builds._held[SLOT].build == newer)
    assert not searching.stands_in


@pytest.mark.anyio
async def test_where_both_fit_nothing_steps_back(world: Held) -> None:
    world.room = Room(limit=1 << 30, available=lambda: None)
    world.service = world.service_of(Filters())
    newer = world.build(TEXTS[:3], "hnsw", version=4, generation="g2")
    world.serve(world.build(engine="hnsw"))
    await world.find()
    index = world.builds._held[SLOT].index
    world.files.gate.clear()
    asked = len(world.files.asked)
    world.serve(newer)
    world.service.follow(["Index/resumes"])
    await until(lambda: len(world.files.asked) > asked)
    assert world.builds._held[SLOT].index is index
    world.files.gate.set()
    await until(lambda: world.builds._held[SLOT].build == newer)


@pytest.mark.anyio
async def test_builds_of_former_versions_close_first(world: Held) -> None:
    older, newer = world.build(engine="hnsw"), world.build(TEXTS[:3], "hnsw", version=4, generation="g2")
    world.serve(older)
    await world.find()
    record = world.catalog.records["resumes"]
    await world.builds.apart(record, older)
    assert world.builds._former
    world.serve(newer)
    world.service.follow(["Index/resumes"])
    await until(lambda: world.builds._held[SLOT].build == newer)
    assert not world.builds._former


@pytest.mark.anyio
async def test_builds_that_are_asked_apart_close_each_other(world: Held) -> None:
    older, newer = world.build(engine="hnsw"), world.build(TEXTS[:3], "hnsw", version=4, generation="g2")
    world.serve(older)
    world.serve(newer)
    record = world.catalog.records["resumes"]
    for build in (older, newer):
        assert (await world.builds.apart(record, build)).build == build
    assert list(world.builds._former) == [newer.digest]


@pytest.mark.anyio
async def test_nothing_lets_go_of_its_graph_for_a_build_whose_files_are_not_there(world: Held) -> None:
    newer = world.build(TEXTS[:3], "hnsw", version=4, generation="g2")
    world.serve(world.build(engine="hnsw"))
    await world.find()
    index, asked = world.held.index, len(world.files.asked)
    world.files.error = ObjectMissing("primary", "builds/2")
    world.serve(newer)
    world.service.follow(["Index/resumes"])
    await until(lambda: world.builds._loading[SLOT].done.done())
    assert len(world.files.asked) > asked
    assert world.held.index is index


@pytest.mark.anyio
async def test_what_has_no_graph_has_nothing_to_let_go_of(world: Held) -> None:
    older = world.build(engine="hnsw")
    world.serve(older)
    world.serve(world.build())
    await world.find()
    await world.builds.apart(world.catalog.records["resumes"], older)
    index, opened = world.held.index, world.opened
    world.opens.clear()
    world.serve(world.build(TEXTS[:3], "hnsw", version=4, generation="g2"))
    world.service.follow(["Index/resumes"])
    await until(lambda: world.opened > opened)
    assert not world.builds._former, "which had one"
    assert world.held.index is index
    world.opens.set()
    await until(lambda: world.held.build.generation == "g2")


def by_another_model(world: Held, build: Build) -> ServingManifest:
    """The build's corpus is recorded as another model's."""
    world.corpora[build.corpus] = replace(world.corpora[build.corpus], fingerprint="other/1")
    return ServingManifest(build.digest, build.generation)


@pytest.mark.anyio
async def test_where_the_model_changes_the_one_before_lets_go(world: Held) -> None:
    older, newer = world.build(engine="hnsw"), world.build(TEXTS[:3], "hnsw", version=4, generation="g2")
    by_another_model(world, newer)
    world.serve(older)
    await world.find()
    world.opens.clear()
    former = world.catalog.records["resumes"].serving
    assert former is not None
    world.serve(newer)
    world.catalog.records["resumes"] = replace(world.catalog.records["resumes"], beside={"builtin": former})
    world.service.follow(["Index/resumes"])
    await until(lambda: world.held.stands_in)
    assert (await world.service.search(SearchRequest("resumes", TEXTS[0]))).generation == "g1"
    world.service.follow(["Index/resumes"])
    world.opens.set()
    await until(lambda: Slot("resumes", "other") in world.builds._held)
    assert (await world.service.search(SearchRequest("resumes", TEXTS[0]))).generation == "g2"
    assert (list(world.builds._held), world.opened) == ([Slot("resumes", "other")], 2)


@pytest.mark.anyio
async def test_what_serves_lets_go_of_nothing_for_a_model_that_is_asked_by_name(world: Held) -> None:
    older, beside = world.build(engine="hnsw"), world.build(TEXTS[:3], "hnsw", version=4, generation="g2")
    manifest = by_another_model(world, beside)
    world.serve(beside)
    world.serve(older)
    await world.find()
    world.catalog.records["resumes"] = replace(world.catalog.records["resumes"], beside={"other": manifest})
    index = world.held.index
    assert (await world.service.search(SearchRequest("resumes", TEXTS[0], model="other"))).generation == "g2"
    assert world.held.index is index


@dataclass
class Slow(Filters):
    """Takes as long as the test wants."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ends: asyncio.Event = field(default_factory=asyncio.Event)

    async def keys(self, dataset: str, filter_sql: str, reader: Reader, moment: object = None) -> pa.Array:
        self.begun.set()
        await self.ends.wait()
        return await super().keys(dataset, filter_sql, reader)


@dataclass
class SlowSearch:
    """One that goes on in a graph, and the build that is to serve next."""

    filters: Slow
    older: Build
    newer: Build
    searching: asyncio.Task[list[tuple[str, str]]]


async def slowly_found(world: Held) -> SlowSearch:
    filters = Slow()
    world.service = world.service_of(filters)
    older, newer = world.build(engine="hnsw"), world.build(TEXTS[:3], "hnsw", version=4, generation="g2")
    world.serve(older)
    searching = asyncio.create_task(world.find(filter="recipe"))
    await filters.begun.wait()
    return SlowSearch(filters, older, newer, searching)


@pytest.mark.anyio
async def test_the_graph_is_waited_for_until_a_slow_filter_ends_and_the_loader_is_free_meanwhile(world: Held) -> None:
    slow = await slowly_found(world)
    opened = world.opened
    world.serve(slow.newer)
    world.service.follow(["Index/resumes"])
    await until(lambda: world.held.stands_in)
    assert (await world.builds.with_tail(world.held, world.held.manifest)).build == slow.older
    assert (world.held.build, world.opened) == (slow.older, opened), "two graphs are not to be in memory"
    slow.filters.ends.set()
    assert [key for key, _ in await slow.searching] == ["[3]", "[2]"]
    del slow.searching
    await until(lambda: world.held.build == slow.newer)


@pytest.mark.anyio
async def test_a_build_that_waits_for_room_is_not_loaded_once_the_pointer_went_back(world: Held) -> None:
    slow = await slowly_found(world)
    world.serve(slow.newer)
    world.service.follow(["Index/resumes"])
    await until(lambda: world.held.stands_in)
    waiting = world.builds._loading[SLOT].done
    world.serve(slow.older)
    world.service.follow(["Index/resumes"])
    await until(lambda: not world.held.stands_in)
    opened = world.opened
    slow.filters.ends.set()
    await slow.searching
    del slow.searching
    assert (await waiting).build == slow.older
    assert (world.held.build, world.opened) == (slow.older, opened)


@pytest.mark.anyio
async def test_a_load_that_takes_long_ends_with_the_newest_tail_and_is_not_begun_again(world: Held) -> None:
    def tail(number: int) -> Tail:
        rows = world.build([f"tail {number}"], version=number, generation=None)
        return Tail(f"t{number}", world.corpora[rows.corpus].ref, build.corpus, f"s{number}", number, "", 1, 1, 0, 1)

    def serve(tail: Tail) -> None:
        record = world.catalog.records["resumes"]
        assert record.serving is not None
        world.catalog.records["resumes"] = replace(record, serving=replace(record.serving, tail=tail))
        world.service.follow(["Index/resumes"])

    build = world.build(engine="hnsw")
    first, second, third = tail(4), tail(5), tail(6)
    world.serve(build)
    serve(first)
    world.opens.clear()
    finding = asyncio.create_task(world.service.search(SearchRequest("resumes", "tail", k=100)))
    await until(lambda: world.opened == 1)
    serve(second)
    assert SLOT in world.builds._loading
    world.opens.set()
    assert (await finding).versions == {"candidates": 5}
    serve(third)
    await until(lambda: world.held.versions == {"candidates": 6})
    assert (world.opened, world.files.asked.count(build.files["graph"].key)) == (1, 1)
    assert first.ref.key not in world.files.asked
