"""Searches by several models of one index: each by its own build, side by side, and without a gap when another serves."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import numpy as np
import pyarrow as pa
import pytest

from engines.comparing import compare, compare_over
from engines.embedding.chunking import Chunking
from engines.embedding.registry import fingerprint, open_embedder
from engines.errors import BuildFailed, ModelMismatch, SearchInvalid
from engines.fusion import unrelated_cosine
from engines.ranking import Ranking
from engines.reading import Reader
from engines.search import SearchService
from engines.search_answer import SearchRequest
from engines.trials.truth_file import Truth, TruthFacts, write_truth
from engines.vectors import builds
from engines.vectors.builds import BuildTask
from engines.vectors.corpus import CorpusTask, make_corpus
from engines.vectors.registry import open_engine
from state.catalog.fold import ObjectState
from state.catalog.indexes import Build, EvalTruth, IndexRecord, ServingManifest
from state.catalog.tables import Table
from state.objects import Found, ObjectRef
from state.places import BucketConfig

pytestmark = pytest.mark.anyio

TEXTS = ["java developer in chicago", "python developer in berlin", "banana bread recipe", "apple pie recipe", "car repair manual"]
MODELS = ("builtin", "builtin-64")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class World:
    """An index over TEXTS by two models, of which the first serves; two generations of that one."""

    root: Path
    record: IndexRecord = field(default_factory=lambda: IndexRecord("resumes"))
    asked: list[str] = field(default_factory=list)

    def index(self, name: str) -> IndexRecord | None:
        return self.record if name == "resumes" else None

    def table(self, name: str) -> Table | None:
        return None

    def objects(self, kind: str) -> Mapping[str, ObjectState]:
        return {"Index/resumes": ObjectState("Index/resumes", index=self.record)}

    def find(self, ref: ObjectRef) -> Found:
        self.asked.append(ref.key)
        return Found(self.root / "lake" / ref.key)

    def again(self, failure: object) -> None:
        raise AssertionError

    def folder(self) -> Path:
        return self.root

    async def keys(self, dataset: str, filter_sql: str, reader: Reader, moment: object = None) -> pa.Array:
        return pa.array([f"[{at}]" for at, text in enumerate(TEXTS) if filter_sql in text], pa.string())

    async def changed(self, *given: object) -> pa.Table:
        raise AssertionError

    def build(self, model: str, engine: str, generation: str | None, texts: Sequence[str] = TEXTS) -> Build:
        target = BucketConfig("primary", "local", str(self.root / "lake"))
        rows = pa.RecordBatch.from_pydict({"key": [f"[{at}]" for at in range(len(texts))], "text": list(texts)})
        task = CorpusTask("resumes", "candidates", {}, "s3", 3, 0, ("text",), Chunking(), model, target, "corpora", str(self.root / "work"))
        corpus = make_corpus(task, [rows], lambda done, total: None)
        path = str(self.root / "lake" / corpus.ref.key)
        parameters = open_engine(engine).recipe({}).build
        made = builds.run(BuildTask(corpus, path, generation, engine, parameters, target, "builds"), lambda done, total: None)
        corpora, known = {**self.record.corpora, corpus.digest: corpus}, {**self.record.builds, made.digest: made}
        self.record = replace(self.record, corpora=corpora, builds=known)
        return made

    def judge(self, relevant: Mapping[str, Sequence[str]], filters: Sequence[str | None]) -> None:
        """An eval set `judged` with these texts, their relevant rows and filters."""
        count, corpus = len(relevant), next(iter(self.record.corpora))
        none, allowed = (np.empty(0, np.int64),) * count, {name: np.ones(5, bool) for name in filters if name is not None}
        truth = Truth(
            facts=TruthFacts("judged", "t1", corpus, 3, 3, 5, 256),
            texts=tuple(relevant),
            filters=tuple(filters),
            allowed=allowed,
            relevant=tuple(map(tuple, relevant.values())),
            half=np.zeros(count, np.int8),
            vectors=np.zeros((count, 256), np.float32),
            ids=none,
            keys=((),) * count,
            scores=(np.empty(0, np.float32),) * count,
        )
        path = self.root / "lake" / "truth.parquet"
        write_truth(path, truth)
        ref = ObjectRef("primary", "truth.parquet", path.stat().st_size, "")
        self.record = replace(self.record, truths={"judged": EvalTruth("judged", "t1", corpus, ref, 3, count, judged=count)})


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    one, two = made.build("builtin", "flat", "g1"), made.build("builtin-64", "flat", "g1")
    made.build("builtin", "hnsw", "g2")
    made.record = replace(made.record, serving=ServingManifest(one.digest, "g1"), beside={"builtin-64": ServingManifest(two.digest, "g1")})
    return made


@pytest.fixture
def service(world: World) -> Iterator[SearchService]:
    made = SearchService(world, world, world)
    yield made
    made.close()


async def find(service: SearchService, **given: Any) -> Any:
    return await service.search(SearchRequest("resumes", **{"text": "java developer in chicago", **given}))


@pytest.mark.parametrize("model", MODELS)
async def test_a_model_is_named_by_its_name_or_fingerprint(service: SearchService, model: str) -> None:
    for name in (model, fingerprint(model)):
        result = await find(service, model=name, k=1)
        assert ([hit.text for hit in result.hits], result.model, result.generation) == ([TEXTS[0]], model, "g1")
    vector = tuple(open_embedder(model).embed([TEXTS[0]])[0].tolist())
    assert (await find(service, text=None, vector=vector, model=model)).hits[0].key == "[0]"


async def test_without_a_name_that_which_serves_answers(service: SearchService) -> None:
    assert (await find(service)).model == "builtin"


@pytest.mark.parametrize("model", ["minilm", "builtin-128", "builtin/other", ""])
async def test_a_model_that_it_has_not_is_refused_with_those_that_it_has(service: SearchService, model: str) -> None:
    with pytest.raises(ModelMismatch, match="answers by builtin and builtin-64, not by") as caught:
        await find(service, model=model)
    assert "or name builtin or builtin-64" in str(caught.value.remedy)


async def test_a_vector_of_another_model_is_refused(service: SearchService) -> None:
    vector = tuple(open_embedder("builtin-64").embed([TEXTS[0]])[0].tolist())
    with pytest.raises(ModelMismatch, match="has 64 numbers; index resumes needs 256"):
        await find(service, text=None, vector=vector)


async def test_a_filter_holds_for_every_model(service: SearchService) -> None:
    for model in MODELS:
        assert {hit.key for hit in (await find(service, model=model, filter="recipe")).hits} == {"[2]", "[3]"}


async def test_a_threshold_as_a_share_is_measured_in_each_build(service: SearchService) -> None:
    for model in MODELS:
        result = await find(service, model=model, ranking=Ranking(beats=0.5, explain=True))
        cosine = unrelated_cosine(open_embedder(model).embed(TEXTS), 0.5)
        assert result.stages[-1].facts["cosine"] == pytest.approx(cosine, abs=1e-5)
        assert all(hit.score >= cosine - 1e-5 for hit in result.hits)
    assert len({unrelated_cosine(open_embedder(model).embed(TEXTS), 0.5) for model in MODELS}) == 2


async def test_what_was_open_beside_takes_over_without_a_load(service: SearchService, world: World) -> None:
    for model in MODELS:
        await find(service, model=model)
    asked = len(world.asked)
    serving, (beside,) = world.record.serving, world.record.beside.values()
    assert serving is not None
    world.record = replace(world.record, serving=beside, beside={"builtin": serving})
    service.follow(["Index/resumes"])
    assert (await find(service)).model == "builtin-64"
    assert (await find(service, model="builtin")).model == "builtin"
    world.record = replace(world.record, serving=serving, beside={"builtin-64": beside})
    assert (await find(service)).model == "builtin", "and back"
    assert len(world.asked) == asked


async def test_while_another_model_loads_the_former_answers_but_for_who_names_one(service: SearchService, world: World) -> None:
    await find(service)
    serving, (beside,) = world.record.serving, world.record.beside.values()
    assert serving is not None
    world.record = replace(world.record, serving=beside, beside={"builtin": serving})
    assert (await find(service)).model == "builtin"
    assert (await find(service, model="builtin-64")).model == "builtin-64"
    assert (await find(service)).model == "builtin-64"


async def test_a_model_that_served_and_was_not_named_is_let_go_of(service: SearchService, world: World) -> None:
    await find(service)
    serving, (beside,) = world.record.serving, world.record.beside.values()
    assert serving is not None
    world.record = replace(world.record, serving=beside, beside={"builtin": serving})
    service.follow(["Index/resumes"])
    with anyio.fail_after(20):
        while (await find(service)).model == "builtin":
            await anyio.lowlevel.checkpoint()
    assert [slot.model for slot in service._builds._held] == ["builtin-64"]
    assert (await find(service, model="builtin")).model == "builtin", "and is opened again for who names it"
    assert len(service._builds._held) == 2


async def test_told_of_another_model_it_loads_it_and_lets_go_of_what_nobody_has(service: SearchService, world: World) -> None:
    await find(service)
    (beside,) = world.record.beside.values()
    world.record = replace(world.record, serving=beside, beside={})
    service.follow(["Index/resumes"])
    assert [slot.model for slot in service._builds._held] == []
    with anyio.fail_after(20):
        while not service._builds._held:
            await anyio.lowlevel.checkpoint()
    assert [slot.model for slot in service._builds._held] == ["builtin-64"]


async def test_a_model_that_takes_its_time_holds_up_no_event_loop(world: World) -> None:
    class Slow:
        quick = False

        def __init__(self) -> None:
            self.threads: set[threading.Thread] = set()

        def embed(self, texts: Sequence[str]) -> Any:
            self.threads.add(threading.current_thread())
            return open_embedder().embed(texts)

        def __getattr__(self, name: str) -> Any:
            return getattr(open_embedder(), name)

    model = Slow()
    service = SearchService(world, world, world, open_model=lambda _: model)
    try:
        await find(service)
    finally:
        service.close()
    assert threading.current_thread() not in model.threads


async def test_two_models_are_compared(service: SearchService, world: World) -> None:
    world.judge({TEXTS[0]: ["[0]", "[1]"], "pie": ["[3]"]}, [None, None])
    found = await compare(service, SearchRequest("resumes", TEXTS[0], k=3), MODELS)
    assert [answer.model for answer in found.answers] == list(MODELS)
    one, two = ([hit.key for hit in answer.hits] for answer in found.answers)
    assert one[:2] == two[:2] == ["[0]", "[1]"]
    assert found.comparison.overlap == len({*one} & {*two}) / 3
    assert found.comparison.rank_correlation is not None
    assert found.comparison.ndcg == {"judged": (1.0, 1.0)}


async def test_two_generations_are_compared(service: SearchService) -> None:
    found = await compare(service, SearchRequest("resumes", TEXTS[0], k=5), ("g1", "g2"))
    assert [(answer.generation, answer.model) for answer in found.answers] == [("g1", "builtin"), ("g2", "builtin")]
    assert (found.comparison.overlap, found.comparison.rank_correlation, found.comparison.ndcg) == (1.0, 1.0, {})


async def test_two_models_are_compared_over_an_eval_set(service: SearchService, world: World) -> None:
    world.judge({TEXTS[0]: ["[1]"], "recipe": ["[2]", "[3]"], "car": []}, [None, "recipe", None])
    found = await compare_over(service, SearchRequest("resumes", k=2), MODELS, "judged")
    singly = [
        (await compare(service, SearchRequest("resumes", text, k=2, filter=condition), MODELS)).comparison
        for text, condition in ((TEXTS[0], None), ("recipe", "recipe"), ("car", None))
    ]
    assert (found.eval_set, found.k, found.queries, found.judged) == ("judged", 2, 3, 2)
    assert found.overlap == pytest.approx(sum(one.overlap or 0 for one in singly) / 3)
    gains = [one.ndcg["judged"] for one in singly if one.ndcg]
    assert found.ndcg == pytest.approx((sum(gain[0] for gain in gains) / 2, sum(gain[1] for gain in gains) / 2))
    assert sum(found.better) <= 2
    with pytest.raises(SearchInvalid, match="no answers of an EvalSet other; it has judged"):
        await compare_over(service, SearchRequest("resumes"), MODELS, "other")


async def test_judgments_are_those_of_the_very_query(service: SearchService, world: World) -> None:
    world.judge({TEXTS[0]: ["[0]"], TEXTS[2]: ["[2]"]}, [None, "recipe"])
    judged = [
        await service.judged(SearchRequest("resumes", text, vector=vector, filter=condition))
        for text, vector, condition in (
            (TEXTS[0], None, None),
            (TEXTS[0], None, "recipe"),
            (TEXTS[2], None, "recipe"),
            (TEXTS[2], None, None),
            (None, (1.0,), None),
        )
    ]
    assert judged == [{"judged": {"[0]"}}, {}, {"judged": {"[2]"}}, {}, {}]


async def test_judgments_that_cannot_be_read_say_so(service: SearchService, world: World) -> None:
    world.judge({TEXTS[0]: ["[0]"]}, [None])
    (world.root / "lake" / "truth.parquet").write_bytes(b"PAR1")
    with pytest.raises(BuildFailed, match=r"truth\.parquet cannot be read as the answers of an eval set"):
        await compare(service, SearchRequest("resumes", TEXTS[0]), MODELS)


@pytest.mark.parametrize(
    ("names", "given", "says"),
    [
        (("builtin", "builtin"), {}, "Two different models or generations"),
        (("builtin",), {}, "Two different models or generations"),
        (("builtin", "g9"), {}, "has neither a model nor a build of a generation g9; it has builtin, builtin-64, g1, g2"),
        (("builtin", "g1"), {"model": "builtin"}, "names its models itself"),
        (("builtin", "g1"), {"k": 1_001}, "k must be at most 1000 in a comparison"),
        (("builtin", "g1"), {"facets": ("city",)}, "A comparison has no facets"),
    ],
)
async def test_what_cannot_be_compared_is_refused(service: SearchService, names: tuple[str, ...], given: dict[str, Any], says: str) -> None:
    with pytest.raises(SearchInvalid, match=says):
        await compare(service, SearchRequest("resumes", **{"text": "a", **given}), names)


async def test_a_vector_is_of_one_model(service: SearchService) -> None:
    vector = tuple(open_embedder().embed([TEXTS[0]])[0].tolist())
    assert (await compare(service, SearchRequest("resumes", vector=vector), ("g1", "g2"))).comparison.overlap == 1
    with pytest.raises(ModelMismatch):
        await compare(service, SearchRequest("resumes", vector=vector), MODELS)


async def test_a_word_index_that_is_not_there_is_told_for_either(service: SearchService) -> None:
    request = SearchRequest("resumes", "a")
    with pytest.raises(SearchInvalid, match="no keyword index"):
        await compare(service, replace(request, ranking=replace(request.ranking, mode="lexical")), MODELS)
