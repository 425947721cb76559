"""Searches answer from one build, say which, swap without a gap, and refuse what they cannot answer."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import numpy as np
import pyarrow as pa
import pytest

from engines import search_answer
from engines.embedding.chunking import Chunking
from engines.embedding.registry import open_embedder
from engines.errors import (
    BuildFailed,
    FilterInvalid,
    IndexNotServing,
    IndexUnknown,
    ModelMismatch,
    ModelUnavailable,
    SearchInvalid,
)
from engines.live_recall import LiveRecall, Sample, judge
from engines.open_builds import RETRY_AFTER, OpenBuilds, Slot
from engines.ranking import Ranking
from engines.reading import ANONYMOUS, Reader
from engines.search import SearchService
from engines.search_answer import SearchRequest
from engines.serving import Serving
from engines.sql.tables import RESCUED_FOR
from engines.vectors import builds
from engines.vectors.builds import BuildTask
from engines.vectors.corpus import CorpusTask, make_corpus
from engines.vectors.registry import open_engine
from state.catalog.indexes import Build, Corpus, IndexRecord, ServingManifest
from state.errors import ObjectCorrupt
from state.failures import BucketFailure
from state.objects import Found, ObjectRef
from state.places import BucketConfig

pytestmark = pytest.mark.anyio
SLOT = Slot("resumes", "builtin")

TEXTS = ["java developer in chicago", "python developer in berlin", "banana bread recipe", "apple pie recipe", "car repair manual"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Catalog:
    records: dict[str, IndexRecord] = field(default_factory=dict)

    def index(self, name: str) -> IndexRecord | None:
        return self.records.get(name)

    def table(self, name: str) -> None:
        return None

    def objects(self, kind: str) -> Mapping[str, SimpleNamespace]:
        return {f"{kind}/{name}": SimpleNamespace(index=record) for name, record in self.records.items()}


@dataclass
class Files:
    """Local files; can be held up, and can fail."""

    root: Path
    gate: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None
    failure: BucketFailure | None = None
    asked: list[str] = field(default_factory=list)
    told: list[BucketFailure] = field(default_factory=list)

    def find(self, ref: ObjectRef) -> Found:
        self.asked.append(ref.key)
        assert self.gate.wait(30)
        if self.error is not None:
            raise self.error
        return Found(self.root / ref.key, self.failure)

    def again(self, failure: BucketFailure) -> None:
        self.told.append(failure)

    def folder(self) -> Path:
        folder = self.root / f"folder-{len(self.asked)}"
        folder.mkdir()
        return folder


class Filters:
    """Passes the rows whose key contains the filter's text."""

    async def keys(self, dataset: str, filter_sql: str, reader: Reader, moment: object = None) -> pa.Array:
        assert (dataset, reader) == ("candidates", ANONYMOUS)
        if filter_sql == "nonsense":
            raise FilterInvalid("No such column: nonsense.")
        return pa.array([f"[{at}]" for at, text in enumerate(TEXTS) if filter_sql in text], pa.string())


@dataclass
class World:
    """An index over TEXTS, and a service that answers for it."""

    root: Path
    catalog: Catalog = field(default_factory=Catalog)
    now: float = 0.0
    waits: str | None = None
    corpora: dict[str, Corpus] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.files = Files(self.root / "lake")
        self.files.gate.set()
        self.service = SearchService(self.catalog, self.files, Filters(), why_not=lambda name: self.waits, clock=lambda: self.now)

    def build(self, texts: Sequence[str] = TEXTS, engine: str = "flat", *, version: int = 3, generation: str | None = "g1") -> Build:
        target = BucketConfig("primary", "local", str(self.root / "lake"))
        work = str(self.root / "work")
        task = CorpusTask("resumes", "candidates", {}, f"s{version}", version, 0, ("text",), Chunking(), "builtin", target, "corpora", work)
        rows = pa.RecordBatch.from_pydict({"key": [f"[{at}]" for at in range(len(texts))], "text": list(texts)})
        corpus = make_corpus(task, [rows], lambda done, total: None)
        self.corpora[corpus.digest] = corpus
        recipe = open_engine(engine).recipe({})
        path = str(self.root / "lake" / corpus.ref.key)
        return builds.run(BuildTask(corpus, path, generation, engine, recipe.build, target, "builds"), lambda done, total: None)

    @property
    def builds(self) -> OpenBuilds:
        return self.service._builds

    @property
    def held(self) -> Serving:
        return self.builds._held[SLOT]

    def remove(self) -> None:
        self.catalog.records.clear()

    def serve(self, build: Build, search: Mapping[str, Any] | None = None) -> None:
        manifest = ServingManifest(build.digest, build.generation, search or {})
        known = self.catalog.records.get("resumes", IndexRecord("resumes"))
        with_build = replace(known, corpora=dict(self.corpora), builds={**known.builds, build.digest: build}, serving=manifest)
        self.catalog.records["resumes"] = with_build

    async def find(self, text: str = "java developer in chicago", **given: Any) -> list[tuple[str, str]]:
        result = await self.service.search(SearchRequest("resumes", text, **given))
        return [(hit.key, hit.text) for hit in result.hits]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.files.gate.set()
    made.service.close()


@pytest.mark.parametrize(
    "engine", ["flat", "hnsw", pytest.param("lance", marks=pytest.mark.skipif(find_spec("lancedb") is None, reason="LanceDB is an extra"))]
)
async def test_a_text_finds_what_is_like_it(world: World, engine: str) -> None:
    world.serve(world.build(engine=engine))
    result = await world.service.search(SearchRequest("resumes", "java developer in chicago", k=2))
    assert [(hit.key, hit.chunk, hit.text) for hit in result.hits] == [("[0]", 0, TEXTS[0]), ("[1]", 0, TEXTS[1])]
    assert result.hits[0].score == pytest.approx(1, abs=1e-6)
    assert result.hits[0].score <= 1
    assert (result.index, result.generation, result.versions) == ("resumes", "g1", {"candidates": 3})


async def test_a_vector_finds_the_same_whatever_its_length(world: World) -> None:
    world.serve(world.build())
    vector = tuple(float(number) * 7 for number in open_embedder().embed([TEXTS[2]])[0])
    by_vector = await world.service.search(SearchRequest("resumes", vector=vector, k=3))
    by_text = await world.service.search(SearchRequest("resumes", TEXTS[2], k=3))
    assert [hit.key for hit in by_vector.hits] == [hit.key for hit in by_text.hits]
    assert by_vector.hits[0].score == pytest.approx(1, abs=1e-6)


async def test_more_hits_than_chunks_gives_all(world: World) -> None:
    world.serve(world.build())
    assert len(await world.find(k=100)) == len(TEXTS)


async def test_an_empty_index_answers_with_nothing(world: World) -> None:
    world.serve(world.build([]))
    assert await world.find() == []


async def test_a_filter_restricts_the_rows(world: World) -> None:
    world.serve(world.build())
    assert [key for key, _ in await world.find(filter="recipe")] == ["[3]", "[2]"]
    assert await world.find(filter="nothing like it") == []
    with pytest.raises(FilterInvalid):
        await world.find(filter="nonsense")


async def test_a_reader_who_keeps_to_a_bucket_finds_its_indexes_only(world: World) -> None:
    world.serve(world.build())
    await world.find()
    looked = len(world.files.asked)
    with pytest.raises(IndexUnknown) as unknown:
        await world.service.search(SearchRequest("resume", TEXTS[0]), replace(ANONYMOUS, bucket="archive"))
    assert "resumes" not in unknown.value.explain()
    with pytest.raises(IndexUnknown, match="no index 'resume'") as unknown:
        await world.service.search(SearchRequest("resume", TEXTS[0]))
    assert unknown.value.explain().endswith("Did you mean 'resumes'?")
    with pytest.raises(IndexUnknown):
        await world.service.search(SearchRequest("resumes", TEXTS[0]), replace(ANONYMOUS, bucket="archive"))
    found = await world.service.search(SearchRequest("resumes", TEXTS[0]), replace(ANONYMOUS, bucket="primary"))
    assert (found.hits[0].key, len(world.files.asked)) == ("[0]", looked)  # and nobody made it open its build again


async def test_the_search_blocks_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, watch_loop: Callable[..., AbstractContextManager[None]]
) -> None:
    world.serve(world.build())
    await world.find()
    with watch_loop():
        assert await world.find()
        assert await world.find(filter="recipe")
        monkeypatch.setattr("engines.search.SHORT_TEXT", 3)
        assert await world.find()


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({}, SearchInvalid, "exactly one"),
        ({"text": "a", "vector": (1.0,)}, SearchInvalid, "exactly one"),
        ({"text": "a", "k": 0}, SearchInvalid, "k must be"),
        ({"text": "a", "k": search_answer.MOST_HITS + 1}, SearchInvalid, "k must be"),
        ({"text": " \n"}, SearchInvalid, "empty"),
        ({"text": "a" * (search_answer.LONGEST_TEXT + 1)}, SearchInvalid, "at most"),
        ({"vector": (1.0, 2.0)}, ModelMismatch, r"has 2 numbers; index resumes needs 256"),
        ({"vector": (0.0,) * 256}, SearchInvalid, "not all zero"),
        ({"vector": (float("nan"),) * 256}, SearchInvalid, "finite"),
        ({"text": "a", "model": "minilm"}, ModelMismatch, "builtin.*not by minilm"),
    ],
)
async def test_what_cannot_be_answered_is_refused(world: World, given: dict[str, Any], error: type[Exception], match: str) -> None:
    world.serve(world.build())
    with pytest.raises(error, match=match):
        await world.service.search(SearchRequest("resumes", **given))


async def test_the_model_may_be_named(world: World) -> None:
    world.serve(world.build())
    assert await world.find(model="builtin")
    assert await world.find(model=open_embedder().fingerprint)


async def test_another_model_than_the_vectors_is_never_mixed_in(world: World) -> None:
    class Newer:
        name, fingerprint, dimension = "builtin", "builtin/newer", 256
        embed = staticmethod(open_embedder().embed)

    world.service = SearchService(world.catalog, world.files, Filters(), open_model=lambda model: Newer())  # type: ignore[arg-type, return-value]
    world.serve(world.build())
    with pytest.raises(ModelMismatch, match="builtin/newer"):
        await world.find()
    vector = tuple(open_embedder().embed([TEXTS[0]])[0].tolist())
    assert (await world.service.search(SearchRequest("resumes", vector=vector))).hits[0].key == "[0]"


async def test_a_query_whose_vector_is_of_no_use_is_refused(world: World) -> None:
    class Broken:
        name, fingerprint, dimension, quick = "builtin", open_embedder().fingerprint, 256, True
        embed = staticmethod(lambda texts: np.full((len(texts), 256), np.nan, dtype=np.float32))

    world.service = SearchService(world.catalog, world.files, Filters(), open_model=lambda model: Broken())  # type: ignore[arg-type, return-value]
    world.serve(world.build())
    with pytest.raises(SearchInvalid, match="no vector of use"):
        await world.find()


async def test_a_model_that_cannot_be_opened_is_no_obstacle_to_vectors(world: World) -> None:
    def fail(model: object) -> Any:
        raise ModelUnavailable("The server is away.")

    world.service = SearchService(world.catalog, world.files, Filters(), open_model=fail)
    world.serve(world.build())
    with pytest.raises(ModelUnavailable):
        await world.find()
    vector = tuple(open_embedder().embed([TEXTS[0]])[0].tolist())
    assert (await world.service.search(SearchRequest("resumes", vector=vector))).hits


async def test_an_index_that_is_not_there_or_not_ready_says_so(world: World) -> None:
    with pytest.raises(IndexUnknown, match="resumes"):
        await world.find()
    world.catalog.records["resumes"] = IndexRecord("resumes")
    with pytest.raises(IndexNotServing, match="nothing has been built"):
        await world.find()
    world.waits = "the corpus is being embedded."
    with pytest.raises(IndexNotServing, match="the corpus is being embedded"):
        await world.find()
    del world.catalog.records["resumes"]  # declared, and stuck before anything was recorded of it
    with pytest.raises(IndexNotServing, match="the corpus is being embedded") as caught:
        await world.find()
    assert caught.value.remedy is not None
    assert "lakectl why Index/resumes" in caught.value.remedy


async def test_a_build_that_is_gone_says_so(world: World) -> None:
    world.catalog.records["resumes"] = IndexRecord("resumes", serving=ServingManifest("b" * 32, None))
    with pytest.raises(IndexNotServing, match="gone"):
        await world.find()


async def test_many_first_searches_open_the_build_once(world: World) -> None:
    world.serve(world.build())
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(world.find)
    assert len(world.files.asked) == 2


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def test_the_old_build_answers_until_the_new_one_is_open(world: World) -> None:
    world.serve(world.build())
    assert (await world.find())[0] == ("[0]", TEXTS[0])
    world.files.gate.clear()
    newer = world.build([*TEXTS, "java developer in chicago, senior"], version=4, generation="g2")
    world.serve(newer)
    asked = len(world.files.asked)
    for _ in range(3):
        result = await world.service.search(SearchRequest("resumes", TEXTS[0], k=100))
        assert (result.generation, result.versions, len(result.hits)) == ("g1", {"candidates": 3}, 5)
    await until(lambda: len(world.files.asked) > asked)
    world.files.gate.set()
    await until(lambda: world.held.manifest.build == newer.digest)
    result = await world.service.search(SearchRequest("resumes", TEXTS[0], k=100))
    assert (result.generation, result.versions, len(result.hits)) == ("g2", {"candidates": 4}, 6)


async def test_a_promotion_is_loaded_before_anybody_asks(world: World) -> None:
    world.serve(world.build())
    await world.find()
    newer = world.build([*TEXTS, "java developer in chicago, senior"], version=4, generation="g2")
    world.serve(newer)
    world.service.follow({"Dataset/candidates", "Index/others", "Index/resumes"})
    await until(lambda: world.held.manifest.build == newer.digest)
    assert (await world.service.search(SearchRequest("resumes", TEXTS[0]))).generation == "g2"
    asked = len(world.files.asked)
    world.service.follow({"Index/resumes"})
    assert len(world.files.asked) == asked
    world.catalog.records.clear()
    world.service.follow({"Index/resumes"})
    assert not world.builds._held


async def test_no_answer_is_mixed_or_lost_while_builds_change(world: World) -> None:
    pair = [world.build(), world.build(TEXTS[:3], version=4, generation="g2")]
    world.serve(pair[0])
    await world.find()
    seen: set[str] = set()
    running = True

    async def ask() -> None:
        while running:
            result = await world.service.search(SearchRequest("resumes", TEXTS[0], k=100))
            assert (result.generation, result.versions["candidates"], len(result.hits)) in {("g1", 3, 5), ("g2", 4, 3)}
            seen.add(result.generation or "")
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(ask)
        for turn in range(6):
            wanted = pair[(turn + 1) % 2]
            world.serve(wanted)
            await until(lambda digest=wanted.digest: world.held.manifest.build == digest)  # type: ignore[misc]
        running = False
    assert seen == {"g1", "g2"}


async def test_an_index_that_cannot_read_its_files_is_opened_again_by_the_next_search(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.serve(world.build())
    found = await world.find()

    def fail(*given: object) -> None:
        raise BuildFailed("LanceDB cannot search its index: a file is not there.")

    monkeypatch.setattr(world.held.index, "search", fail)
    with pytest.raises(BuildFailed):
        await world.find()
    assert await world.find() == found


async def test_new_search_parameters_need_no_loading(world: World) -> None:
    build = world.build(engine="hnsw")
    world.serve(build, {"efSearch": 10})
    await world.find()
    asked = len(world.files.asked)
    world.serve(build, {"efSearch": 20})
    await world.find()
    assert len(world.files.asked) == asked
    assert world.held.index.describe()["search"] == {"efSearch": 20}


@pytest.mark.parametrize("told", [True, False])
async def test_a_load_that_ends_after_a_rollback_takes_nothing_over(world: World, told: bool) -> None:
    older, newer = world.build(), world.build(TEXTS[:3], version=4, generation="g2")
    world.serve(older)
    await world.find()
    world.files.gate.clear()
    world.serve(newer)
    await world.find()
    load = world.builds._loading[SLOT]
    world.serve(older)
    if told:
        world.service.follow(["Index/resumes"])
    world.files.gate.set()
    await asyncio.wait([load.done])
    await anyio.lowlevel.checkpoint()
    result = await world.service.search(SearchRequest("resumes", TEXTS[0], k=100))
    assert (result.generation, len(result.hits)) == ("g1", 5)
    assert not world.builds._loading, "the newer build is let go"


@pytest.mark.parametrize("ending", [World.remove, lambda world: world.service.close()])
async def test_a_load_that_ends_after_its_index_keeps_nothing_open(world: World, ending: Callable[[World], None]) -> None:
    world.serve(world.build())
    world.files.gate.clear()
    waiting = asyncio.ensure_future(world.find())
    await until(lambda: bool(world.files.asked))
    load = world.builds._loading[SLOT]
    ending(world)
    world.files.gate.set()
    await asyncio.wait([waiting, load.done])
    await anyio.lowlevel.checkpoint()
    assert not world.builds._held
    assert not world.builds._loading


async def test_searches_by_vectors_are_judged_as_they_were_answered(world: World) -> None:
    judged: list[Sample] = []
    recall = LiveRecall(1, lambda name: world.catalog.records[name].serving, lambda name: 0.9, draw=lambda: 0)
    recall.offer = judged.append  # type: ignore[method-assign]
    world.service = SearchService(world.catalog, world.files, Filters(), recall=recall)
    world.serve(world.build(engine="hnsw"), {"efSearch": 10})
    await world.find(k=3)
    graph = weakref.ref(world.held.index)
    await world.find(filter="recipe")
    await world.find(ranking=Ranking(by_row=True))
    with pytest.raises(SearchInvalid):
        await world.find("")
    world.serve(world.build(TEXTS[:3], engine="flat"))
    world.service.follow(["Index/resumes"])
    await until(lambda: not world.builds._loading)
    await world.find()
    recall.close()
    gc.collect()
    assert graph() is None, "what is judged holds no graph"
    assert [(sample.k, sample.index) for sample in judged] == [(3, "resumes"), (10, "resumes"), (100, "resumes")]
    assert [sample.allowed is None for sample in judged] == [True, False, True]
    assert [judge(sample) for sample in judged] == [(3, 3), (2, 2), (5, 5)]


async def test_told_of_new_search_parameters_it_loads_nothing(world: World) -> None:
    build = world.build(engine="hnsw")
    world.serve(build, {"efSearch": 10})
    await world.find()
    asked = len(world.files.asked)
    world.serve(build, {"efSearch": 20})
    world.service.follow(["Index/resumes"])
    assert world.held.index.describe()["search"] == {"efSearch": 20}
    assert len(world.files.asked) == asked
    assert not world.builds._loading


async def test_a_successor_that_cannot_be_opened_leaves_the_old_one_answering(world: World) -> None:
    world.serve(world.build())
    await world.find()
    newer = world.build(TEXTS[:2], version=4)
    world.files.error = ObjectCorrupt("primary", "builds/x", expected="10 bytes", found="9 bytes")
    asked = len(world.files.asked)
    world.serve(newer)
    await world.find()
    await until(lambda: world.builds._loading[SLOT].done.done())
    assert len(await world.find(k=100)) == 5
    assert len(world.files.asked) == asked + 1, "it is not tried again at once"
    world.files.error = None
    world.now += RETRY_AFTER
    await world.find()
    await until(lambda: world.held.manifest.build == newer.digest)
    assert len(await world.find(k=100)) == 2


async def test_a_file_that_is_cut_while_it_serves_ends_no_process(world: World) -> None:
    """Reading a mapped file beyond its end is SIGBUS."""
    build = world.build([f"{text} {number}" for number in range(2000) for text in TEXTS])
    world.serve(build)
    await world.find()
    for role in ("vectors", "chunks"):
        os.truncate(world.root / "lake" / build.files[role].key, 100)
    with pytest.raises(BuildFailed):
        await world.find()


async def test_a_build_that_was_made_again_is_opened_again(world: World) -> None:
    build = world.build()
    world.serve(build)
    await world.find()
    first = world.held
    vectors = build.files["vectors"]
    again = replace(build, files={**build.files, "vectors": replace(vectors, sha256="0" * 64)})
    world.serve(again)
    world.service.follow(["Index/resumes"])
    await until(lambda: world.held is not first)
    assert await world.find()


async def test_files_of_a_rescue_bucket_are_told_each_time_and_their_own_looked_at_again(world: World) -> None:
    failure = BucketFailure(datetime.now(UTC), "far", "get", "a", "bucket-unavailable", "down", 5.0, 3, "mirror")
    world.files.failure = failure
    world.serve(world.build())

    async def rescues() -> tuple[str, ...]:
        return (await world.service.search(SearchRequest("resumes", TEXTS[0]))).rescues

    assert (await rescues(), world.files.told) == (("mirror",), []), "whoever found the files told of it"
    asked = len(world.files.asked)
    assert (await rescues(), world.files.told) == (("mirror",), [failure])
    other = await world.service.search(SearchRequest("resumes", TEXTS[0]), Reader(role="clerk"))
    assert other.rescues == (), "which buckets there are is for operators"
    assert len(world.files.asked) == asked
    world.now += RESCUED_FOR + 1
    world.files.error = ObjectCorrupt("far", "a", expected="1 byte", found="none")
    await rescues()
    await until(lambda: len(world.files.asked) > asked and not world.builds._looking)
    assert await rescues() == ("mirror",), "what was opened serves on"
    world.files.error = world.files.failure = None
    world.now += RESCUED_FOR + 1
    await rescues()
    await until(lambda: not world.builds._looking)
    told = len(world.files.told)
    assert (await rescues(), len(world.files.told)) == ((), told)


async def test_a_first_build_that_cannot_be_opened_is_tried_by_every_search(world: World) -> None:
    world.serve(world.build())
    world.files.error = ObjectCorrupt("primary", "builds/x", expected="10 bytes", found="9 bytes")
    for _ in range(2):
        with pytest.raises(ObjectCorrupt):
            await world.find()
    world.files.error = None
    assert await world.find()


async def test_a_search_that_is_given_up_leaves_the_load_to_the_others(world: World) -> None:
    world.serve(world.build())
    world.files.gate.clear()
    first = asyncio.ensure_future(world.find())
    second = asyncio.ensure_future(world.find())
    await until(lambda: bool(world.files.asked))
    first.cancel()
    world.files.gate.set()
    assert len(await second) == len(TEXTS)


async def test_an_index_that_is_removed_is_let_go(world: World) -> None:
    world.serve(world.build())
    await world.find()
    world.catalog.records.clear()
    with pytest.raises(IndexUnknown):
        await world.find()
    assert not world.builds._held
    assert not world.builds._loading
