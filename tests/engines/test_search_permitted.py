"""Searches of readers from whom policies hide rows: what they find, and are told, is the same whatever the hidden rows are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from engines.at import At, Moment, at_from
from engines.comparing import compare, compare_over
from engines.embedding.chunking import Chunking
from engines.errors import IndexNotServing, IndexUnknown, QueryForbidden, QueryInvalid, SearchInvalid, VersionUnknown
from engines.live_recall import LiveRecall
from engines.permitted import PermittedIndex, check_masks
from engines.policies.governed import Governed, Mask, MaskRule, PolicyRules, RowRule
from engines.ranking import Ranking
from engines.reading import ANONYMOUS, Binding, Reader, TableName, decide
from engines.search import SearchService
from engines.search_answer import SearchRequest, SearchResult
from engines.vectors import builds
from engines.vectors.builds import BuildTask
from engines.vectors.corpus import CorpusTask, make_corpus
from engines.vectors.registry import open_engine
from state.catalog.indexes import Build, Corpus, EvalTruth, IndexRecord, ServingManifest
from state.catalog.schemas import Column, Schema
from state.catalog.tables import Former, Table
from state.objects import Found, ObjectRef
from state.places import BucketConfig

pytestmark = pytest.mark.anyio

SEEN = [f"java developer in city {n % 7}" for n in range(12)] + ["pastry chef", "baker of bread", "java developer in city 1"]
HIDDEN = (
    ["secret java developer", "java developer in city 1", "java java java", "spy"],
    ["bread", "nothing at all of interest", "x"],
)
OPEN = Governed((PolicyRules("open", (RowRule(frozenset({"clerk"}), "open = $wanted"),)),))
COLUMNS = ("id", "text", "phone")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Rules:
    known: Governed | None

    def governed(self, dataset: str) -> Governed | None:
        return self.known


def clerk(governed: Governed | None = OPEN, indexes: Sequence[str] = ("resumes",), **more: Any) -> Reader:
    """A reader of the index, whose dataset it is not bound to."""
    binding = Binding(indexes=frozenset(indexes))
    return Reader(profile="desk", role="clerk", binding=binding, rules=Rules(governed), attributes={"wanted": "yes"}, **more)


@dataclass
class World:
    """An index of rows of which `hidden` are not for clerks. Plays catalog, files and query service; what differs is asked of `changed`."""

    root: Path
    hidden: Sequence[str]
    engine: str = "flat"
    key: tuple[str, ...] = ("id",)
    version: int = 3
    kept: frozenset[int] = frozenset({3})
    asked: list[Moment] = field(default_factory=list)
    differing: Callable[[], pa.Table] | None = None
    truths: Mapping[str, EvalTruth] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = [(f'["{at:02}"]', text, True) for at, text in enumerate(SEEN)]
        rows += [(f'["{at:02}h"]', text, False) for at, text in enumerate(self.hidden)]
        rows = sorted(rows) if self.key else [(f"{len(self.hidden)}:{at}", *row[1:]) for at, row in enumerate(sorted(rows))]
        self.rows = rows
        lake = BucketConfig("primary", "local", str(self.root / "lake"))
        work = str(self.root / "work")
        task = CorpusTask("resumes", "candidates", {}, "s3", 3, 0, ("text",), Chunking(), "builtin", lake, "corpora", work)
        batch = pa.RecordBatch.from_pydict({"key": [row[0] for row in rows], "text": [row[1] for row in rows]})
        corpus = make_corpus(task, [batch], lambda done, total: None)
        recipe = open_engine(self.engine).recipe({})
        path = str(self.root / "lake" / corpus.ref.key)
        build = builds.run(BuildTask(corpus, path, "g1", self.engine, recipe.build, lake, "builds"), lambda done, total: None)
        self.record = _record(corpus, build, self.truths)
        self.service = SearchService(self, self, self, why_not=lambda name: "12 rows wait." if name == "later" else None)

    def index(self, name: str) -> IndexRecord | None:
        return {"resumes": self.record, "others": self.record}.get(name)

    def table(self, name: str) -> Table | None:
        former = (Former(2, "2026-01-01T00:00:00.000Z", 0, ()),)
        schema = Schema(1, tuple(Column(at, name, "string") for at, name in enumerate(COLUMNS, 1)))
        return Table(name, self.version, "primary", self.key, schemas=(schema,), former=former, at="2026-01-02T00:00:00.000Z")

    def objects(self, kind: str) -> Mapping[str, Any]:
        return {}

    def find(self, ref: ObjectRef) -> Found:
        return Found(self.root / "lake" / ref.key, None)

    def again(self, failure: object) -> None: ...

    def folder(self) -> Path:
        (self.root / "folder").mkdir(exist_ok=True)
        return self.root / "folder"

    async def keys(self, dataset: str, filter_sql: str, reader: Reader, moment: Moment = None) -> pa.Array:
        shown = decide(reader, TableName(dataset), "search")
        self.asked.append(moment)
        if moment is not None and moment not in self.kept:
            raise VersionUnknown(f"`{dataset}` has no version {moment}.")
        passes = {None: {True, False}, "(open = $wanted)": {True}, "false": set[bool]()}[shown.row_filter]
        found = [key for key, text, seen in self.rows if seen in passes and (filter_sql == "true" or filter_sql in text)]
        return pa.array(found, pa.string())

    async def changed(self, dataset: str, former: int, later: int, columns: Sequence[str], reader: Reader) -> pa.Table:
        assert self.differing is not None
        return self.differing()


def _record(corpus: Corpus, build: Build, truths: Mapping[str, EvalTruth]) -> IndexRecord:
    manifest = ServingManifest(build.digest, build.generation)
    return IndexRecord("resumes", {corpus.digest: corpus}, {build.digest: build}, manifest, truths=dict(truths))


@pytest.fixture
def worlds(tmp_path: Path) -> Iterator[Callable[..., list[World]]]:
    """Lakes that differ in hidden rows alone."""
    made: list[World] = []

    def make(**given: Any) -> list[World]:
        made.extend(World(tmp_path / f"lake{len(made) + at}", hidden, **given) for at, hidden in enumerate(HIDDEN))
        return made

    yield make
    for world in made:
        world.service.close()


def plain(result: SearchResult) -> Any:
    stages = [stage.to_dict() for stage in result.stages or ()]
    return [(hit.key, hit.chunk, hit.text, hit.score) for hit in result.hits], result.mode, result.versions, stages, result.coverage


WAYS = [
    Ranking(),
    Ranking(explain=True),
    Ranking(threshold=0.3, explain=True),
    Ranking(beats=0.5, explain=True),
    Ranking(beats=0.9, explain=True),
    Ranking(by_row=True, explain=True),
    Ranking(diversity=0.5, explain=True),
    Ranking(rerank="builtin", explain=True),
]


@pytest.mark.parametrize("engine", ["flat", "hnsw"])
@pytest.mark.parametrize("key", [("id",), ()])
async def test_lakes_that_differ_in_hidden_rows_answer_alike(worlds: Any, engine: str, key: tuple[str, ...]) -> None:
    found = worlds(engine=engine, key=key)
    for ranking in WAYS:
        for k in (1, 3, 200):
            for condition in (None, "java", "secret"):
                request = SearchRequest("resumes", "java developer in city 1", k=k, ranking=ranking, filter=condition)
                one, other = [plain(await world.service.search(request, clerk())) for world in found]
                assert one == other
                assert not {text for _, _, text, _ in one[0]} & {*HIDDEN[0], *HIDDEN[1]} - {*SEEN}
    everything = await found[0].service.search(SearchRequest("resumes", "java developer in city 1", k=200), clerk())
    assert sorted(hit.text for hit in everything.hits) == sorted(SEEN)
    if not key:
        assert [hit.key for hit in everything.hits] == [f"row {number}" for number in range(1, len(SEEN) + 1)]


async def test_equal_scores_are_ordered_by_key(worlds: Any) -> None:
    (world, _) = worlds()
    result = await world.service.search(SearchRequest("resumes", "java developer in city 1", k=2), clerk())
    assert [hit.key for hit in result.hits] == ['["01"]', '["08"]']  # and not '["14"]', which is as near


async def test_keys_are_asked_for_once_for_filter_values_and_version(worlds: Any) -> None:
    (world, _) = worlds()
    request = SearchRequest("resumes", "java")
    for _ in range(3):
        await world.service.search(request, clerk())
    assert world.asked == [None]
    other = replace(clerk(), attributes={"wanted": "no"})
    await world.service.search(request, other)
    assert world.asked == [None, None]
    world.version, world.kept = 4, frozenset({3, 4})
    await world.service.search(request, clerk())
    assert world.asked[2:] == [None, 3]  # and a row has to be seen in the version whose texts are held
    await world.service.search(replace(request, filter="java"), clerk())
    assert world.asked[4:] == [None]


async def test_a_version_of_which_nobody_knows_who_may_see_it_is_not_searched(worlds: Any) -> None:
    (world, _) = worlds()
    world.version, world.kept = 9, frozenset({9})
    with pytest.raises(IndexNotServing, match="version 3"):
        await world.service.search(SearchRequest("resumes", "java"), clerk())
    assert (await world.service.search(SearchRequest("resumes", "java"))).hits


async def test_who_sees_no_row_finds_none(worlds: Any) -> None:
    (world, _) = worlds()
    reader = replace(clerk(), role="stranger")
    for ranking in (Ranking(), Ranking(beats=0.5, explain=True), Ranking(by_row=True)):
        assert (await world.service.search(SearchRequest("resumes", "java", ranking=ranking), reader)).hits == ()


@pytest.mark.parametrize("column", ["text", "TEXT", "id"])
async def test_a_masked_text_or_key_is_not_compared(worlds: Any, column: str) -> None:
    (world, _) = worlds()
    masked = Governed((PolicyRules("masked", (), (MaskRule(frozenset({column}), Mask("lastFour")),)),))
    with pytest.raises(QueryForbidden) as refused:
        await world.service.search(SearchRequest("resumes", "java"), clerk(masked))
    assert not any(text in refused.value.explain() for text in (*SEEN, "lastFour", "phone"))
    assert world.asked == []


async def test_a_mask_of_another_column_hides_no_hit(worlds: Any) -> None:
    (world, _) = worlds()
    masked = Governed((PolicyRules("masked", (), (MaskRule(frozenset({"phone"}), Mask("redact")),)),))
    found = await world.service.search(SearchRequest("resumes", "java", k=200), clerk(masked))
    assert len(found.hits) == len(SEEN) + len(HIDDEN[0])
    assert world.asked == []


def test_a_column_is_masked_under_every_name_that_it_had() -> None:
    first = Schema(1, (Column(1, "cv", "string"), Column(2, "city", "string")))
    later = Schema(2, (Column(1, "resume", "string"), Column(2, "cv", "string")))
    table = Table("candidates", 2, "primary", schemas=(first, later))
    policy = PolicyRules("m", (), (MaskRule(frozenset({"resume"}), Mask("null")),))
    masked = decide(clerk(Governed((policy,))), TableName("candidates"), "search")
    for column in ("resume", "cv", "Resume", "nobody-knows"):
        with pytest.raises(QueryForbidden):
            check_masks(masked, table, [column])
    check_masks(masked, table, ["city"])


async def test_what_is_closed_says_so(worlds: Any) -> None:
    (world, _) = worlds()
    with pytest.raises(QueryForbidden, match=r"^Nobody says who may read it\.$"):
        await world.service.search(SearchRequest("resumes", "java"), clerk(Governed(closed="Nobody says who may read it.")))


@pytest.mark.parametrize("name", ["others", "*", "%", "../resumes", '"resumes"', "RESUMES", "resumes ", "resumes@desk", "later", ""])
async def test_an_index_that_is_not_bound_is_unknown(worlds: Any, name: str) -> None:
    (world, _) = worlds()
    for reader in (clerk(), clerk(indexes=()), clerk(indexes=("*", "%", "other"))):
        with pytest.raises(IndexUnknown) as found:
            await world.service.search(SearchRequest(name, "java"), reader)
        with pytest.raises(IndexUnknown) as nothing:
            await world.service.search(SearchRequest("no-such", "java"), reader)
        assert found.value.explain() == nothing.value.explain().replace("no-such", name)


async def test_why_an_index_does_not_answer_is_for_operators(worlds: Any) -> None:
    (world, _) = worlds()
    with pytest.raises(IndexNotServing) as told:
        await world.service.search(SearchRequest("later", "java"), clerk(indexes=("later",)))
    assert "12" not in told.value.explain()


async def test_eval_sets_are_for_operators(worlds: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = ObjectRef("primary", "t", 1, "s")
    (world, _) = worlds(truths={"audited": EvalTruth("audited", "t", "c", ref, 10, 5)})
    with pytest.raises(SearchInvalid) as found:
        await world.service.queries("resumes", "audited", clerk())
    with pytest.raises(SearchInvalid) as nothing:
        await world.service.queries("resumes", "no-such", clerk())
    assert found.value.explain() == nothing.value.explain().replace("no-such", "audited")
    with pytest.raises(SearchInvalid):
        await compare_over(world.service, SearchRequest("resumes"), ("builtin", "g1"), "audited", clerk())
    compared = await compare(world.service, SearchRequest("resumes", "java"), ("builtin", "g1"), clerk())
    assert compared.comparison.ndcg == {}
    assert len(compared.answers[0].hits) == 10


async def test_no_search_of_hidden_rows_is_judged_for_live_recall(worlds: Any) -> None:
    (world, _) = worlds(engine="hnsw")
    recall = LiveRecall(1.0, lambda index: world.record.serving, lambda index: 0.9)
    service = SearchService(world, world, world, recall=recall)
    try:
        await service.search(SearchRequest("resumes", "java"), clerk())
        assert recall.figures()[1] == {}
    finally:
        service.close()
        recall.close()


async def test_a_former_version_has_the_rows_that_were_seen_then(worlds: Any) -> None:
    found = worlds()
    for world in found:
        keys = ['["00"]', '["01"]', *(row[0] for row in world.rows if not row[2])]
        world.differing = lambda keys=keys: pa.table({"key": keys, "there": [True, False, *([True] * (len(keys) - 2))]})
        world.kept = frozenset({2, 3})
    request = SearchRequest("resumes", "java developer in city 1", k=200, at=at_from(2))
    one, other = [await world.service.search(request, clerk()) for world in found]
    assert plain(one) == plain(other)
    assert {hit.key for hit in one.hits} == {f'["{at:02}"]' for at in range(2, len(SEEN))}
    assert one.coverage is not None
    assert one.coverage.missing == 1
    whole = await found[0].service.search(request)
    assert whole.coverage is not None
    assert whole.coverage.missing == 1 + len(HIDDEN[0])


async def test_a_profile_that_is_kept_to_a_moment_searches_it(worlds: Any) -> None:
    (world, _) = worlds()
    world.kept = frozenset({2, 3})
    world.differing = lambda: pa.table({"key": ['["00"]'], "there": [True]})
    for moment in (2, "2026-01-01T12:00:00.000Z"):
        for reader in (clerk(at=moment), clerk(None, at=moment)):
            result = await world.service.search(SearchRequest("resumes", "java developer", k=200), reader)
            assert result.versions == {"candidates": 2}
            assert '["00"]' not in {hit.key for hit in result.hits}
            with pytest.raises(QueryInvalid, match="reads everything as of"):
                await world.service.search(SearchRequest("resumes", "java", at=At(3)), reader)


async def test_policies_that_change_while_a_search_runs_decide_about_its_answer(worlds: Any) -> None:
    (world, _) = worlds()
    request = SearchRequest("resumes", "java", k=200)
    tight, loose = clerk(), clerk(None)
    asked = [loose]
    service = SearchService(world, world, world, current=lambda reader: asked[-1])
    try:
        asked.append(tight)
        assert len((await service.search(request, loose)).hits) == len(SEEN)
        real = world.keys

        async def loosened(*given: Any) -> pa.Array:
            asked.append(loose)
            return await real(given[0], given[1], loose, *given[3:])  # as a query service answers under what is in force then

        world.version = 4
        world.kept = frozenset({3, 4})
        world.keys = loosened
        everything = len(SEEN) + len(HIDDEN[0])
        assert len((await service.search(request, tight)).hits) == everything
        world.keys = real
        asked.append(tight)
        assert len((await service.search(request, tight)).hits) == len(SEEN)  # and what was told meanwhile is not kept
        closed = clerk(Governed(closed="Nobody may."))
        asked.append(closed)
        with pytest.raises(QueryForbidden):
            await service.search(request, loose)
        asked.append(clerk(None, indexes=()))
        with pytest.raises(IndexUnknown):
            await service.search(request, loose)
    finally:
        service.close()


def test_the_index_of_what_is_permitted_is_exact(tmp_path: Path) -> None:
    class Names:
        def rows(self, ids: np.ndarray) -> list[tuple[str, int, str]]:
            return [(f"{1000 - at:04}", 0, "") for at in ids.tolist()]

    generator = np.random.default_rng(7)
    matrix = generator.integers(-1, 2, (500, 4)).astype(np.float32)
    permitted = generator.random(500) < 0.5
    index = PermittedIndex(Names(), matrix, permitted)  # type: ignore[arg-type]
    query = np.array([1, 1, 0, 0], np.float32)
    expected = sorted((-float(matrix[at] @ query), f"{1000 - at:04}", at) for at in range(500) if permitted[at])
    for k in (1, 7, 100, 1000):
        ids, scores = index.search(query, k)
        assert [(-score, at) for at, score in zip(ids.tolist(), scores.tolist(), strict=True)] == [(s, at) for s, _, at in expected[:k]]
    assert not index.quick(1)
    assert ANONYMOUS.operator
