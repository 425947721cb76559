"""Promotion and rollback by hand, as requests to whoever reconciles."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from small_lake import BUCKET, Bench, dataset, generation, index

from engines.errors import BuildFailed
from engines.vectors import jobs
from specs.resource import Key
from state import reasons
from state.catalog.entry import Suspended
from state.catalog.indexes import IndexRecord
from state.requests import Request

ROWS = "id,text\n1,java developer\n2,pastry chef\n3,nurse\n"
KEYED = ", primaryKey: [id], write: upsert"
G1, G2 = generation("g1", "i", "hnsw: {m: 8, efSearch: 50}"), generation("g2", "i", "hnsw: {m: 16}")


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


def serving(bench: Bench) -> tuple[str | None, Any]:
    now = record(bench).serving
    assert now is not None
    return now.generation, now.search.get("efSearch")


@pytest.fixture
def two(bench: Bench) -> Bench:
    """g2, of more links, serves; g1 stands by."""
    bench.write("data/x/1.csv", ROWS)
    bench.commit(BUCKET, dataset("x", KEYED), index("i", "x"), G1, G2)
    bench.settle()
    assert serving(bench)[0] == "g2"
    return bench


def moves(bench: Bench) -> list[str]:
    """What was promoted, in order, by what each event begins with."""
    return [event["message"].split(" (")[0] for event in bench.events(reasons.PROMOTED)]


def visit(bench: Bench, *keys: str) -> None:
    for key in keys:
        bench.reconciler.visit(Key.of(key))


def test_better_generations_come_one_by_one_and_the_pointer_moves_once(two: Bench) -> None:
    before = moves(two)
    g3, g4 = (generation(f"g{n}", "i", f"hnsw: {{m: {8 * n}}}") for n in (3, 4))
    two.commit(BUCKET, dataset("x", KEYED), index("i", "x"), G1, G2, g3, g4)
    visit(two, "Index/i", "IndexGeneration/g3", "Index/i")
    assert serving(two)[0] == "g2"
    visit(two, "IndexGeneration/g4", "Index/i")
    assert serving(two)[0] == "g4"
    assert len(moves(two)) == len(before) + 1


@pytest.mark.parametrize("how", ["failed", "suspended"])
def test_a_better_generation_that_cannot_come_holds_up_nobody(two: Bench, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    bare, woken = jobs.build, list[str]()

    def failing(task: dict[str, Any], progress: Any) -> Any:
        if task["parameters"]["m"] == 32:
            raise BuildFailed("It does not fit.")
        return bare(task, progress)

    monkeypatch.setattr(jobs, "build", failing)
    two.kinds.builds.wake = woken.extend
    g3, g4 = (generation(f"g{n}", "i", f"hnsw: {{m: {8 * n}}}") for n in (3, 4))
    two.commit(BUCKET, dataset("x", KEYED), index("i", "x"), G1, G2, g3, g4)
    visit(two, "Index/i", "IndexGeneration/g3", "Index/i")
    assert serving(two)[0] == "g2"
    if how == "failed":
        visit(two, "IndexGeneration/g4", "IndexGeneration/g4")
        assert woken == ["Index/i"], "once"
    else:
        two.catalog.commit((Suspended("IndexGeneration/g4", "ann", "a test"),), actor="ann", reason="a test")
    visit(two, "Index/i")
    assert serving(two)[0] == "g3"
    monkeypatch.setattr(jobs, "build", bare)
    if how == "failed":
        visit(two, "IndexGeneration/g4", "Index/i")
        assert serving(two)[0] == "g4", "it came after all"


def test_a_generation_is_promoted_and_stays(two: Bench) -> None:
    ended = ask(two, "promote", {"generation": "g1"})
    assert (ended["outcome"], serving(two)) == ("done", ("g1", 50))
    assert ended["message"].startswith("g1 serves (")
    status = two.settle()["Index/i"]
    assert status.message == "g1 serves 3 chunks of 3 rows, chosen by hand; `lakectl promote i --auto` ends that"
    assert serving(two)[0] == "g1"
    assert ask(two, "promote", {"generation": "g1"})["message"] == "g1 serves already"
    assert two.events(reasons.PROMOTED)[-1]["message"].endswith("chosen by ann")


def test_a_promoted_generation_follows_its_spec(two: Bench) -> None:
    ask(two, "promote", {"generation": "g1"})
    two.commit(BUCKET, dataset("x", KEYED), index("i", "x"), G1.replace("50", "70"), G2)
    two.settle()
    assert serving(two) == ("g1", 70)


def test_a_rollback_is_to_exactly_what_served(two: Bench) -> None:
    ask(two, "promote", {"generation": "g1"})
    two.commit(BUCKET, dataset("x", KEYED), index("i", "x"), G1.replace("50", "70"), G2)
    two.settle()
    assert ask(two, "rollback")["outcome"] == "done"
    two.settle()
    assert serving(two) == ("g1", 50), "whatever its spec says by now"
    ask(two, "rollback")
    assert serving(two) == ("g1", 70), "and back"
    assert ask(two, "rollback", {"generation": "g2"})["outcome"] == "done"
    two.settle()
    assert serving(two)[0] == "g2"


def test_a_declared_generation_gone_back_to_by_name_is_searched_as_its_spec_says(two: Bench) -> None:
    assert ask(two, "rollback", {"generation": "g1"})["outcome"] == "done"
    two.settle()
    assert serving(two) == ("g1", 50), "its build never served"
    two.commit(BUCKET, dataset("x", KEYED), index("i", "x"), G1.replace("50", "70"), G2)
    two.settle()
    assert ask(two, "rollback", {"generation": "g2"})["outcome"] == "done"
    assert ask(two, "rollback", {"generation": "g1"})["outcome"] == "done"
    assert serving(two) == ("g1", 70)


def test_what_was_chosen_ends_with_auto(two: Bench) -> None:
    assert ask(two, "promote", {"auto": True})["message"] == "nothing was chosen: what is best serves already"
    ask(two, "promote", {"generation": "g1"})
    ended = ask(two, "promote", {"auto": True})
    assert (ended["outcome"], ended["message"]) == ("done", "what is best serves again; g1 was chosen by hand")
    assert (record(two).choice, serving(two)[0]) == (None, "g2")
    assert two.settle()["Index/i"].message == "g2 serves 3 chunks of 3 rows"
    assert two.events(reasons.PROMOTED)[-1]["message"].endswith("), since it is the best build of the present rows")
    assert ask(two, "rollback")["outcome"] == "done"
    assert serving(two)[0] == "g1"


@pytest.mark.parametrize(
    ("verb", "payload"),
    [
        ("promote", {"auto": True, "generation": "g1"}),
        ("promote", {"auto": True, "model": "builtin"}),
        ("promote", {"auto": "yes"}),
        ("rollback", {"auto": True}),
    ],
)
def test_auto_goes_with_nothing_else(two: Bench, verb: str, payload: dict[str, Any]) -> None:
    before = record(two)
    ended = ask(two, verb, payload)
    assert (ended["outcome"], ended["message"].startswith("`auto` is of a promotion, true,")) == ("refused", True)
    assert record(two) == before


def test_a_rollback_keeps_the_rows_of_now(two: Bench) -> None:
    ask(two, "promote", {"generation": "g1"})
    two.write("data/x/2.csv", "id,text\n4,lawyer\n")
    two.settle()
    ask(two, "rollback")
    now = record(two).serving
    assert now is not None
    assert now.generation == "g2"
    assert now.tail is not None
    assert now.tail.chunks == 1
    two.settle()
    assert record(two).serving == now


def older(two: Bench) -> None:
    """g1 served before, over rows that are older than those that g2 is built over; g1 is not declared any more."""
    ask(two, "promote", {"generation": "g1"})
    two.commit(BUCKET, dataset("x", KEYED), index("i", "x", more=", rebuildShare: 0"), G2)
    two.write("data/x/2.csv", "id,text\n4,lawyer\n")
    two.settle()
    assert serving(two)[0] == "g2"


def test_a_former_build_over_older_rows_catches_up_first_and_is_made_anew(two: Bench) -> None:
    older(two)
    two.commit(BUCKET, dataset("x", KEYED), index("i", "x"), G1.replace("m: 8", "m: 4"), G2)
    before = record(two).previous
    assert before is not None
    assert ask(two, "rollback")["message"] == "g1 serves as soon as it holds the present rows"
    two.settle()
    after = record(two).serving
    assert after is not None
    assert (after.generation, after.search, after.tail) == ("g1", before.search, None)
    assert record(two).builds[after.build].parameters["m"] == 8, "as it served, whatever its spec says"


def test_newer_rows_are_no_way_back(two: Bench) -> None:
    two.commit(BUCKET, dataset("x", KEYED), index("i", "x", more=", rebuildShare: 0"), G2)
    two.write("data/x/2.csv", "id,text\n4,lawyer\n")
    two.settle()
    assert record(two).previous is None


def test_the_word_ends_when_its_generation_does(two: Bench) -> None:
    ask(two, "promote", {"generation": "g1"})
    two.commit(BUCKET, dataset("x", KEYED), index("i", "x"), G2)
    two.settle()
    assert (record(two).choice, serving(two)[0]) == (None, "g2")


@pytest.mark.parametrize(
    ("verb", "payload", "says"),
    [
        ("promote", {"generation": "g3"}, "Index/i has no IndexGeneration g3; it has g1, g2. "),
        ("promote", {}, "It is not said which generation is to serve; it has g1, g2."),
        ("promote", {"generation": 7}, "`generation` is no name."),
        ("rollback", {}, "Nothing else served Index/i before."),
        (
            "rollback", {"generation": "g2"},
            "g2 serves Index/i now, and no former build of g2 is kept for Index/i; there are former builds of g1.",
        ),
        ("rollback", {"generation": "g3"}, "No former build of g3 is kept for Index/i; there are former builds of g1."),
    ],
)  # fmt: skip
def test_what_cannot_serve_is_refused(two: Bench, verb: str, payload: dict[str, Any], says: str) -> None:
    before = record(two)
    ended = ask(two, verb, payload)
    assert ended["outcome"] == "refused"
    assert ended["message"].startswith(says)
    assert record(two) == before


def test_the_spec_goes_first(two: Bench) -> None:
    two.commit(BUCKET, dataset("x", KEYED), index("i", "x", more=", serve: {generation: g1}"), G1, G2)
    two.settle()
    ended = ask(two, "promote", {"generation": "g2"})
    assert ended["outcome"] == "refused"
    assert "`lakectl promote i g2 --write-spec` does, and commits" in ended["message"]

    assert two.events(reasons.PROMOTED)[-1]["message"].endswith("), since the spec says that it serves")
    ended = ask(two, "promote", {"auto": True})
    assert (ended["outcome"], ended["message"]) == (
        "refused",
        "The spec of Index/i says `serve: {generation: g1}`. Write `serve: auto` there, or take the line out.",
    )


def test_a_generation_of_another_index_is_a_fault_of_the_spec(two: Bench) -> None:
    before = record(two).serving
    other = (index("j", "x"), generation("h1", "j", "flat: {}"))
    two.commit(BUCKET, dataset("x", KEYED), index("i", "x", more=", serve: {generation: h1}"), G1, G2, *other)
    status = two.settle()["Index/i"]
    assert status.reason == reasons.INVALID_SPEC
    assert status.message == "`serve` names IndexGeneration/h1, which is of Index/j, not of Index/i; name one of its own"
    assert record(two).serving == before
    two.write("data/x/2.csv", "id,text\n4,lawyer\n")
    two.settle()
    after = record(two).serving
    assert after is not None
    assert after.tail is not None, "what serves goes on, and follows the rows"
    assert replace(after, tail=None) == before


def test_what_is_not_built_yet_is_refused(two: Bench) -> None:
    two.commit(BUCKET, dataset("x", KEYED), index("i", "x"), G1, G2, generation("g3", "i", "hnsw: {m: 4}"))
    ended = ask(two, "promote", {"generation": "g3"})
    assert ended["message"].startswith("IndexGeneration/g3 has no build of the present rows yet. `lakectl wait IndexGeneration/g3`")


def test_of_nothing_but_an_index(two: Bench) -> None:
    two.requests.submit(Request("01J00000000000000000009999", "promote", "Dataset/x", "ann", "a test", {"generation": "g1"}))
    two.operator.answer()
    assert list(two.streams.read("requests"))[-1]["message"].startswith("Dataset/x serves nothing.")
