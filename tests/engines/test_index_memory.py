"""Two builds that are not both to be in memory: the outgoing one answers from its mapped vectors while the next is loaded."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_search import SLOT, TEXTS, Filters, World, until

from engines import index_memory, open_builds
from engines.index_memory import Room, available_memory, heap_bytes
from engines.search import SearchRequest, SearchService
from engines.vectors.flat import FlatIndex
from engines.vectors.hnsw import HnswIndex

MIB = 1 << 20


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.service = SearchService(made.catalog, made.files, Filters(), clock=lambda: made.now, room=Room(limit=1))
    yield made
    made.files.gate.set()
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
    told = tmp_path / "meminfo"
    told.write_text("MemTotal:  900 kB\nMemAvailable:  12 kB\n")
    monkeypatch.setattr(index_memory, "_MEMINFO", told)
    assert available_memory() == 12 * 1024
    for text in ("MemTotal: 900 kB\n", "MemAvailable: much\n"):
        told.write_text(text)
        assert available_memory() is None
    told.unlink()
    assert available_memory() is None


@pytest.mark.anyio
async def test_the_outgoing_build_answers_without_its_graph_until_the_next_is_loaded(world: World) -> None:
    older, newer = world.build(engine="hnsw"), world.build([*TEXTS, "java developer"], "hnsw", version=4, generation="g2")
    assert 0 < heap_bytes(older) < heap_bytes(newer)
    world.serve(older)
    before = (await world.service.search(SearchRequest("resumes", TEXTS[0], k=3))).hits
    graph = weakref.ref(world.builds._held[SLOT].index)
    world.files.gate.clear()
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
    world.files.gate.set()
    await until(lambda: world.builds._held[SLOT].build == newer)
    assert isinstance(world.builds._held[SLOT].index, HnswIndex)
    assert (await world.service.search(SearchRequest("resumes", TEXTS[0], k=100))).generation == "g2"


@pytest.mark.anyio
async def test_a_rollback_while_the_next_is_loaded_loads_the_graph_again(world: World) -> None:
    older, newer = world.build(engine="hnsw"), world.build(TEXTS[:3], "hnsw", version=4, generation="g2")
    world.serve(older)
    await world.find()
    world.files.gate.clear()
    world.serve(newer)
    world.service.follow(["Index/resumes"])
    await until(lambda: world.builds._held[SLOT].stands_in)
    world.serve(older)
    assert len(await world.find(k=100)) == 5
    world.files.gate.set()
    await until(lambda: not world.builds._held[SLOT].stands_in)
    assert world.builds._held[SLOT].build == older
    assert len(await world.find(k=100)) == 5


@pytest.mark.anyio
async def test_a_search_that_does_not_end_holds_nothing_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
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
async def test_where_both_fit_nothing_steps_back(world: World) -> None:
    world.service = SearchService(world.catalog, world.files, Filters(), room=Room(limit=1 << 30, available=lambda: None))
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
async def test_builds_of_former_versions_close_first(world: World) -> None:
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
