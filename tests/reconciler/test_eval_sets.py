"""Where an eval set's queries come from, and what they cannot be."""

from __future__ import annotations

import json

import pytest
from measured_lake import FLAT, GIVEN, KEYED, WORDS, eval_set, given, lake, record, rows, trials, truth
from small_lake import BUCKET, Bench, dataset, index

from specs.resource import Key
from state import reasons


class TestGivenQueries:
    def test_judgments_and_filters(self, bench: Bench) -> None:
        queries = [{"text": f"{word} and {other}"} for word, other in zip(WORDS[::2], WORDS[1::2], strict=False)]
        given(bench, *queries, {"text": "night work", "relevant": [3, "4", 99999], "filter": "id < 100"})
        status = lake(bench, FLAT, eval_set("e", GIVEN))["EvalSet/e"]
        assert status.message == f"{len(queries) + 1} queries, relevant keys that are not in the index: 2; 1 build measured"
        assert (truth(bench).filters, truth(bench).judged) == (1, 1)
        detail = json.loads(trials(bench)[0]["detail"])
        filters = [(one["filter"], round(one["selectivity"], 2), one["recall"]) for one in detail["filters"]]
        assert filters == [(None, 1, 1), ("id < 100", 0.25, 1)]
        assert detail["relevant_found"] == detail["relevant_by_exact"]

    @pytest.mark.parametrize(
        ("lines", "message"),
        [
            (['{"text": "a nurse"}', '{"text": "a chef"'], "evals/q.jsonl:2: is no JSON"),
            (["[1]"], "evals/q.jsonl:1: is no JSON object"),
            (['{"txt": "a nurse"}'], "Did you mean `text`?"),
            (['{"text": " "}'], "evals/q.jsonl:1: has no `text`"),
            (['{"text": "a nurse", "relevant": "1"}'], "is no list of keys"),
            (['{"text": "a nurse", "relevant": [{"id": 1}]}'], "has a key that is none"),
            (['{"text": "a nurse", "filter": 1}'], "no SQL condition"),
            (['{"text": "a nurse", "filter": "salary > 1"}'], "evals/q.jsonl:1: has a filter that cannot be: "),
            (['{"text": "a nurse", "filter": "id in (select 1 from y)"}'], "evals/q.jsonl:1: has a filter that cannot be: "),
            (['{"text": "a nurse"}', "", '{"text": "a nurse"}'], "evals/q.jsonl:3: asks the same as line 1"),
            (['{"text": "a chef"}', '{"text": "a nurse", "relevant": [77777]}'], "evals/q.jsonl:2: says that 77777 is relevant"),
            (['{"text": "a nurse", "filter": "id < 0"}'], "their filters pass no row"),
            ([""], "evals/q.jsonl: has no queries"),
        ],
    )
    def test_what_cannot_be_used_is_refused(self, bench: Bench, lines: list[str], message: str) -> None:
        given(bench, *lines)
        status = lake(bench, FLAT, eval_set("e", GIVEN))["EvalSet/e"]
        assert (status.ready, status.reason) == ("False", reasons.FILE_REFUSED)
        assert message in status.message
        assert record(bench).truths == {}

    def test_leaked_rows_are_refused(self, bench: Bench) -> None:
        leaked = rows(400).splitlines()[8].partition(",")[2]
        given(bench, {"text": "a nurse"}, {"text": f"  {leaked.upper()}"})
        status = lake(bench, FLAT, eval_set("e", GIVEN))["EvalSet/e"]
        assert status.reason == reasons.FILE_REFUSED
        assert "evals/q.jsonl:2: is a text of the dataset itself" in status.message

    def test_the_remedy_is_a_sentence_of_its_own(self, bench: Bench) -> None:
        given(bench, {"text": rows(400).splitlines()[8].partition(",")[2]})
        message = lake(bench, FLAT, eval_set("e", GIVEN))["EvalSet/e"].message
        assert "is a text of the dataset itself. Ask as somebody would" in message

    def test_too_few_queries_say_so(self, bench: Bench) -> None:
        given(bench, *({"text": f"{word} work"} for word in WORDS[:6]))
        message = lake(bench, FLAT, eval_set("e", GIVEN))["EvalSet/e"].message
        assert message == "6 queries; 6 queries cannot show a recall of 0.9, whatever is found: 8 are needed; 1 build measured"
        given(bench, *({"text": f"{word} work"} for word in WORDS[:8]))
        assert bench.settle()["EvalSet/e"].message == "8 queries; 1 build measured"

    def test_a_refused_file_is_not_read_again_until_it_changes(self, bench: Bench) -> None:
        given(bench, "[]")
        lake(bench, FLAT, eval_set("e", GIVEN))
        given(bench, {"text": "a nurse"})
        assert bench.settle()["EvalSet/e"].ready == "True"
        former = truth(bench)
        given(bench, {"text": "a nurse"}, "?")
        status = bench.settle()["EvalSet/e"]
        assert status.reason == reasons.FILE_REFUSED
        assert truth(bench) == former, "what was known is kept"

    def test_its_file_is_watched(self, bench: Bench) -> None:
        assert bench.commit(BUCKET, eval_set("e", GIVEN)).globs[Key("EvalSet", "e")] == ("evals/q.jsonl",)
        assert bench.commit(BUCKET, eval_set("e")).globs[Key("EvalSet", "e")] == ()
        assert bench.commit(BUCKET).globs[Key("EvalSet", "e")] == ()

    def test_no_file_and_several(self, bench: Bench) -> None:
        status = lake(bench, FLAT, eval_set("e", GIVEN))["EvalSet/e"]
        assert status.reason == reasons.SOURCE_EMPTY
        given(bench, {"text": "a nurse"})
        bench.write("evals/r.jsonl", '{"text": "a chef"}\n')
        bench.commit(BUCKET, dataset("x", KEYED), index("i", "x"), FLAT, eval_set("e", 'queries: "evals/*.jsonl"'))
        assert "several files (evals/q.jsonl, evals/r.jsonl)" in bench.settle()["EvalSet/e"].message


def test_k_larger_than_the_corpus(bench: Bench) -> None:
    status = lake(bench, FLAT, eval_set("e", k=50), count=40)["EvalSet/e"]
    assert status.reason == reasons.INVALID_SPEC
    assert "`k` is 50, and Index/i has 40 chunks" in status.message


def test_an_empty_corpus(bench: Bench) -> None:
    bench.write("data/x/1.csv", "id,text\n1,\n")
    bench.commit(BUCKET, dataset("x", ", columns: {text: {type: string}}"), index("i", "x"), eval_set("e"))
    status = bench.settle()["EvalSet/e"]
    assert (status.reason, status.message) == (reasons.DEPENDENCY_NOT_READY, "Index/i has no texts yet")


def test_no_index(bench: Bench) -> None:
    bench.commit(BUCKET, eval_set("e"))
    assert bench.settle()["EvalSet/e"].reason == reasons.REFERENCE_MISSING
