"""What budgets did, as a stream: notes, the account that each belongs to, and what of them counts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from state.local_store import LocalStore
from state.streams.compaction import Compaction
from state.streams.schemas import STREAMS
from state.streams.stream import Streams
from state.tuning import STREAM, Note, TuningBook, open_proposal, unanswered

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def streams(tmp_path: Path) -> Streams:
    return Streams(LocalStore(tmp_path / "bucket", "primary"), tmp_path / "wal", lambda: NOW)


def note(step: Any, *trials: str, **more: Any) -> Note:
    values: dict[str, Any] = {"index": "i", "spec": "s", "truth": "t", "message": "since", **more}
    return Note(budget=more.pop("budget", "TrialBudget/b"), step=step, trials=trials, **{k: v for k, v in values.items() if k != "budget"})


def test_a_note_is_a_row_of_the_stream(streams: Any) -> None:
    given = note("proposed", "a", "b", engine="hnsw", params={"m": 4}, searches=({"efSearch": 10}, {"efSearch": 20}), fidelity=0.1)
    assert given.to_row().keys() == STREAMS[STREAM].names - {"id", "at"}
    book = TuningBook(streams)
    book.add(given)
    (row,) = streams.read(STREAM)
    found = Note.from_row(row)
    assert found.at == row["at"]
    assert (found.params, found.searches, found.trials) == (given.params, given.searches, given.trials)
    assert TuningBook(streams).of("TrialBudget/b") == book.of("TrialBudget/b") == (found,)
    streams.flush()
    book.add(note("refused"))
    streams.flush()
    assert Compaction(streams, lambda: None).run(STREAM)
    assert TuningBook(streams).of("TrialBudget/b") == book.of("TrialBudget/b")
    assert book.of("TrialBudget/b")[0] == found
    assert book.of("TrialBudget/c") == ()


def test_what_is_open() -> None:
    first, second = note("proposed", "a"), note("proposed", "b", "c")
    assert unanswered([], frozenset()) is None
    assert unanswered([first], frozenset()) == first
    assert unanswered([first], frozenset("a")) is None
    assert unanswered([first, second], frozenset("ab")) == second, "of two searches one is measured"
    assert unanswered([first, second], frozenset("abc")) is None
    assert unanswered([first, note("failed", "a")], frozenset()) is None
    assert unanswered([first, note("refused"), note("chosen")], frozenset()) == first
    assert unanswered([first, note("ended")], frozenset()) is None


def test_what_is_open_of_an_index(streams: Any) -> None:
    book = TuningBook(streams)
    assert open_proposal(streams.read(STREAM), "i", frozenset(), {"t"}) is None
    book.add(note("proposed", "a"))
    book.add(note("proposed", "x", index="j"))
    found = open_proposal(streams.read(STREAM), "i", frozenset(), {"t"})
    assert found is not None
    assert found.trials == ("a",)
    book.add(note("begun", spec="another"))
    assert open_proposal(streams.read(STREAM), "i", frozenset(), {"t"}) is None, "of an account that is over"


def test_what_is_open_is_by_the_present_answers_of_a_budget_that_is_wanted(streams: Any) -> None:
    book = TuningBook(streams)
    book.add(note("proposed", "a"))
    assert open_proposal(streams.read(STREAM), "i", frozenset(), {"u"}) is None, "the rows are others since"
    book.add(note("proposed", "b", budget="TrialBudget/c"))
    book.close("TrialBudget/c")
    found = open_proposal(streams.read(STREAM), "i", frozenset(), {"t"})
    assert found is not None
    assert found.trials == ("a",), "the other goes on"
    book.close("TrialBudget/b")
    assert open_proposal(streams.read(STREAM), "i", frozenset(), {"t"}) is None


def test_what_is_removed_holds_nothing_until_it_comes_back(streams: Any) -> None:
    book = TuningBook(streams)
    book.close("TrialBudget/b")
    assert book.of("TrialBudget/b") == (), "nothing is known of it"
    book.add(note("proposed", "a", detail={"build": "b1"}))
    book.add(note("advised", name="b-1", engine="hnsw", detail={"build": "b2"}))
    assert book.held("i") == {"b1", "b2"}
    for _ in range(2):
        book.close("TrialBudget/b")
    assert [found.step for found in book.of("TrialBudget/b")] == ["proposed", "advised", "removed"], "once"
    assert book.held("i") == frozenset()
    assert book.choice("i", "b-1") is not None, "a person may still choose it"
    book.add(note("begun", spec="another"))
    assert book.held("i") == {"b1", "b2"}


def test_what_was_settled_on_has_a_name_and_a_recipe(streams: Any) -> None:
    book = TuningBook(streams)
    for breadth in (10, 20):
        about = {"engine": "hnsw", "params": {"m": 4}, "searches": ({"efSearch": breadth},), "detail": {"build": f"b{breadth}"}}
        book.add(note("chosen", name="b-1", **about))
    book.add(note("proposed", "a", engine="hnsw", params={"m": 8}, detail={"build": "b8"}))
    book.add(note("proposed", "c", engine="hnsw", params={"m": 9}, fidelity=0.1))
    choice = book.choice("i", "b-1")
    assert choice is not None
    assert (choice.generation, choice.engine, choice.by, choice.undeclared) == ("b-1", "hnsw", "", True)
    assert (choice.parameters, choice.search) == ({"m": 4}, {"efSearch": 20})
    assert book.choice("i", "b-2") is None
    assert book.choice("j", "b-1") is None
    assert book.names("i") == {"b-1"}
    assert book.names("j") == frozenset()
    assert book.held("i") == {"b20", "b8"}, "the newest that serves by it, and the newest that it tries"
    assert book.held("j") == frozenset()
