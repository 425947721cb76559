"""An index with `lexical: true` keeps a keyword index of its corpus: built once, repaired, found by, and collected with the corpus."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pyarrow as pa
import pytest
from small_lake import BUCKET, Bench, dataset, generation, index

from engines.at import At, Moment
from engines.errors import SearchInvalid
from engines.ranking import Ranking
from engines.reading import Reader
from engines.search import SearchService
from engines.search_answer import SearchRequest, SearchResult
from state.catalog.indexes import Corpus, IndexRecord, Lexical
from state.errors import StateError

KEYED = ", primaryKey: [id], write: upsert, tombstone: gone"
WORDS = ", lexical: true, chunk: {tokens: 12, overlap: 0}"
ROWS = (
    "id,gone,text\n1,,java developer with kafka\n2,,pastry chef and baker\n3,,nurse on a night shift\n4,,pump XK-4711\n"
    "5,,a java developer knows java and again java and one more time java since java is what a developer has\n"
)


class Keys:
    """Filters that the tests say: keys of rows."""

    async def keys(self, dataset: str, filter_sql: str, reader: Reader, moment: Moment = None) -> pa.Array:
        return pa.array(filter_sql.split(), pa.string())

    async def changed(self, dataset: str, former: int, later: int, columns: Sequence[str], reader: Reader) -> pa.Table:
        return pa.table({"key": pa.array(["[4]"]), "there": pa.array([True])})


def found(
    bench: Bench, text: str | None, k: int = 9, filter_sql: str | None = None, at: At | None = None, **ranking: object
) -> SearchResult:
    async def ask() -> SearchResult:
        service = SearchService(bench.catalog, bench.state.objects, Keys())
        try:
            vector = [1.0] + [0.0] * 255 if text is None else None
            request = SearchRequest("i", text, vector, k, filter_sql, None, at, Ranking(**ranking))  # type: ignore[arg-type]
            return await service.search(request)
        finally:
            service.close()

    return asyncio.run(ask())


def keys(result: SearchResult) -> list[str]:
    return [hit.key for hit in result.hits]


def record(bench: Bench) -> IndexRecord:
    known = bench.catalog.index("i")
    assert known is not None
    return known


def corpus(bench: Bench) -> Corpus:
    (only,) = record(bench).corpora.values()
    return only


def words(bench: Bench) -> Lexical:
    lexical = corpus(bench).lexical
    assert lexical is not None
    return lexical


def kept(bench: Bench) -> set[str]:
    return {info.key for info in bench.store.list("indexes/i/lexical/")}


@pytest.fixture
def served(bench: Bench) -> Bench:
    bench.write("data/x/1.csv", ROWS)
    bench.commit(BUCKET, dataset("x", KEYED), index("i", "x", more=WORDS))
    status = bench.settle()["Index/i"]
    assert (status.ready, status.detail["lexical"]) == ("True", True)
    return bench


class TestKeeping:
    def test_files_are_recorded_and_served(self, served: Bench) -> None:
        assert {ref.key for ref in words(served).files.values()} == kept(served)
        assert words(served).chunks == corpus(served).chunks
        serving = record(served).serving
        assert serving is not None
        assert serving.lexical == words(served)
        served.collect()
        assert kept(served) == {ref.key for ref in words(served).files.values()}

    def test_it_is_added_to_what_is_built_and_taken_from_what_serves(self, bench: Bench) -> None:
        bench.write("data/x/1.csv", ROWS)
        bench.commit(BUCKET, dataset("x", KEYED), index("i", "x"))
        bench.settle()
        builds, corpora = record(bench).builds, set(record(bench).corpora)
        assert found(bench, "java").mode == "vector"
        bench.commit(BUCKET, dataset("x", KEYED), index("i", "x", more=", lexical: true"))
        bench.settle()
        assert (record(bench).builds, set(record(bench).corpora)) == (builds, corpora)
        assert found(bench, "java").mode == "hybrid"
        bench.commit(BUCKET, dataset("x", KEYED), index("i", "x"))
        bench.settle()
        assert found(bench, "java").mode == "vector"

    @pytest.mark.parametrize("role", ["scores", "terms"])
    def test_a_file_that_is_gone_is_made_again(self, served: Bench, role: str) -> None:
        file = served.folder / "lake" / words(served).files[role].key
        content = file.read_bytes()
        file.unlink()
        assert served.settle()["Index/i"].ready == "True"
        assert file.read_bytes() == content
        assert keys(found(served, "4711", mode="lexical")) == ["[4]"]

    def test_generations_share_it(self, served: Bench) -> None:
        before = words(served)
        served.commit(BUCKET, dataset("x", KEYED), index("i", "x", more=WORDS), generation("g1", "i", "hnsw: {m: 8}"))
        served.settle()
        serving = record(served).serving
        assert serving is not None
        assert (serving.generation, serving.lexical, words(served)) == ("g1", before, before)
        assert len(record(served).builds) == 2

    def test_it_is_collected_with_its_corpus(self, served: Bench) -> None:
        old = kept(served)
        served.commit(BUCKET, dataset("x", KEYED), index("i", "x", more=f"{WORDS}, rebuildShare: 0, keep: 1"))
        for number in (2, 3):
            served.write(f"data/x/{number}.csv", f"id,gone,text\n{number},,row {number} anew\n")
            served.settle()
        assert len(record(served).corpora) == 2
        assert {ref.key for made in record(served).corpora.values() for ref in made.refs if "lexical" in ref.key} == kept(served)
        assert not old & kept(served)

    def test_nothing_is_left_when_the_index_goes(self, served: Bench) -> None:
        served.commit(BUCKET, dataset("x", KEYED))
        served.settle()
        assert kept(served) == set()


class TestFinding:
    def test_a_part_number_is_found_by_its_words(self, served: Bench) -> None:
        result = found(served, "XK 4711")
        assert (result.mode, result.hits[0].key) == ("hybrid", "[4]")
        assert keys(found(served, "xk 4711", mode="lexical")) == ["[4]"]
        assert found(served, "zebra", mode="lexical").hits == ()

    def test_a_row_that_came_since_is_found_by_its_words_and_one_that_went_is_not(self, served: Bench) -> None:
        served.write("data/x/2.csv", "id,gone,text\n4,true,\n1,,java developer with spark\n6,,cobol and kafka on a mainframe\n")
        served.settle()
        assert record(served).tails
        assert keys(found(served, "4711", mode="lexical")) == []
        assert keys(found(served, "kafka", mode="lexical")) == ["[6]"]
        assert keys(found(served, "cobol spark", mode="lexical", k=2)) == ["[1]", "[6]"]
        assert keys(found(served, "java spark", mode="lexical", filter_sql="[1] [2]")) == ["[1]"]
        result = found(served, "cobol", explain=True, filter_sql="[2] [6]", threshold=-1.0)
        assert keys(result)[0] == "[6]"
        assert result.stages is not None
        assert result.stages[0].facts == {"chunks": 2}

    def test_a_former_version_is_found_by_words_without_what_differs(self, served: Bench) -> None:
        served.write("data/x/2.csv", "id,gone,text\n4,,another pump\n")
        served.settle()
        assert keys(found(served, "4711", mode="lexical", at=At(1))) == ["[4]"]

    def test_the_filter_goes_before_every_stage(self, served: Bench) -> None:
        result = found(served, "java developer", filter_sql="[2] [3]", explain=True)
        assert sorted(keys(result)) == ["[2]", "[3]"]
        assert result.stages is not None
        assert {key for stage in result.stages for key, _, _ in stage.candidates} == {"[2]", "[3]"}

    def test_weights_decide(self, served: Bench) -> None:
        by_words = keys(found(served, "java", mode="lexical"))
        weighed = found(served, "java", vector_weight=0.0)
        assert keys(weighed) == by_words
        assert weighed.hits[0].score == pytest.approx(1)
        by_vector = found(served, "java", lexical_weight=0.0)
        assert keys(by_vector) == keys(found(served, "java", mode="vector"))

    def test_one_hit_a_row(self, served: Bench) -> None:
        assert keys(found(served, "java developer")).count("[5]") > 1
        grouped = keys(found(served, "java developer", by_row=True))
        assert sorted(grouped) == ["[1]", "[2]", "[3]", "[4]", "[5]"]

    def test_a_threshold_is_a_cosine_or_the_share_of_unrelated_pairs(self, served: Bench) -> None:
        nearest = found(served, "java developer with kafka", mode="vector").hits
        assert len(found(served, "java developer with kafka", mode="vector", threshold=0.99).hits) == 1
        result = found(served, "java developer with kafka", mode="vector", beats=0.5, explain=True)
        assert result.stages is not None
        cosine = result.stages[-1].facts["cosine"]
        assert [hit.score for hit in result.hits] == [hit.score for hit in nearest if hit.score >= cosine]
        assert 0 < len(result.hits) < len(nearest)
        assert found(served, "java", threshold=1.01).hits == ()

    def test_copies_give_way_to_what_is_unlike(self, served: Bench) -> None:
        plain, diverse = (keys(found(served, "java developer", k=2, diversity=diversity)) for diversity in (0.0, 0.7))
        assert (plain, diverse) == (["[5]", "[1]"], ["[5]", "[2]"])

    def test_the_best_are_judged_again(self, served: Bench) -> None:
        result = found(served, "night nurse", rerank="builtin", explain=True)
        assert result.hits[0].key == "[3]"
        assert result.stages is not None
        assert [stage.name for stage in result.stages] == ["vector", "lexical", "fusion", "rerank"]
        assert [score for _, _, score in result.stages[-1].candidates] == [hit.score for hit in result.hits]

    def test_stages_tell_ranks_and_scores(self, served: Bench) -> None:
        result = found(served, "kafka", k=2, explain=True, by_row=True, threshold=-1.0, diversity=0.1, rerank="builtin")
        assert result.stages is not None
        told = [stage.to_dict() for stage in result.stages]
        assert [stage["stage"] for stage in told] == ["vector", "lexical", "fusion", "threshold", "group", "rerank", "diversity"]
        assert told[1] == {
            "stage": "lexical",
            "weight": 1.0,
            "terms": ["kafka"],
            "candidates": [{"key": "[1]", "chunk": 0, "rank": 1, "score": pytest.approx(1.2, abs=1)}],
        }
        assert keys(result) == [candidate["key"] for candidate in told[-1]["candidates"]]
        assert found(served, "kafka").stages is None

    def test_a_vector_is_searched_by_vectors(self, served: Bench) -> None:
        assert found(served, None).mode == "vector"

    @pytest.mark.parametrize(
        ("text", "ranking", "match"),
        [
            (None, {"mode": "hybrid"}, "needs a text"),
            (None, {"mode": "lexical"}, "needs a text"),
            (None, {"rerank": "builtin"}, "needs a text"),
            ("a", {"rerank": "cohere"}, "no reranker"),
            ("a", {"mode": "hybrid", "vector_weight": 0.0, "lexical_weight": 0.0}, "over 0"),
            ("a", {"vector_weight": -1.0}, "negative"),
            ("a", {"vector_weight": float("nan")}, "negative"),
            ("a", {"diversity": 1.5}, "from 0 to 1"),
            ("a", {"beats": 1.0}, "under 1"),
            ("a", {"beats": 0.5, "threshold": 0.1}, "not both"),
        ],
    )
    def test_what_contradicts_itself_is_refused(self, served: Bench, text: str | None, ranking: dict[str, object], match: str) -> None:
        with pytest.raises(SearchInvalid, match=match):
            found(served, text, **ranking)  # type: ignore[arg-type]

    def test_words_of_an_index_without_are_refused(self, bench: Bench) -> None:
        bench.write("data/x/1.csv", ROWS)
        bench.commit(BUCKET, dataset("x", KEYED), index("i", "x"))
        bench.settle()
        with pytest.raises(SearchInvalid, match="no keyword index") as refused:
            found(bench, "java", mode="lexical")
        assert "lexical: true" in refused.value.explain()

    def test_a_corrupt_file_is_never_searched(self, served: Bench) -> None:
        file = served.folder / "lake" / words(served).files["scores"].key
        file.write_bytes(file.read_bytes()[:-8])
        with pytest.raises(StateError):
            found(served, "java")
