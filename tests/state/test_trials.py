"""Trials survive their stream, are written once, and say when they serve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from state.local_store import LocalStore
from state.streams.compaction import Compaction
from state.streams.stream import Streams
from state.trials import STREAM, Trial, TrialBook, folded, trial_id, trials_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TRIAL = Trial(
    trial="t1", index="i", generation=None, engine="hnsw", params={"m": 8, "efSearch": 40}, fidelity=1.0, eval_set="e", snapshot="s",
    recall_at_1=0.99, recall_at_10=0.97, recall_low=0.96, p50_us=10.5, p95_us=20.25, p99_us=30.0, qps=5000.0, build_seconds=1.5,
    build_cpu_seconds=None, load_seconds=0.1, memory_bytes=1000, disk_bytes=2000, proposed_by="spec",
    detail={"build": "b1", "search": {"efSearch": 40}, "truth": "x", "halves": [{"low": 0.95}, None]},
)  # fmt: skip


@pytest.fixture
def streams(tmp_path: Path) -> Streams:
    return Streams(LocalStore(tmp_path / "lake", "primary"), tmp_path / "wal", lambda: NOW)


@pytest.fixture
def book(streams: Streams) -> TrialBook:
    return TrialBook(streams)


@pytest.mark.parametrize("where", ["in the write-ahead file", "in segments", "folded into Parquet"])
def test_what_is_added_is_read(book: TrialBook, streams: Streams, where: str) -> None:
    book.add([TRIAL, replace(TRIAL, trial="t2", index="j")])
    if where != "in the write-ahead file":
        streams.flush()
    book.promoted("i", "b1", {"efSearch": 40})
    if where == "folded into Parquet":
        streams.flush()
        assert Compaction(streams, lambda: None).run(STREAM)
    (found,) = TrialBook(streams).of("i")
    assert replace(found, at="") == replace(TRIAL, promoted=True)
    assert found.at == "2026-01-01T00:00:00.000Z"
    assert trials_of(streams.read("trials"), "i") == (found,)


def test_one_is_written_once(book: TrialBook, streams: Streams) -> None:
    book.add([TRIAL])
    book.add([replace(TRIAL, p95_us=1.0)])
    TrialBook(streams).add([TRIAL])
    assert len(list(streams.read("trials"))) == 1
    assert book.find("t1") == TRIAL
    assert book.find("t9") is None


def test_what_serves_says_so_and_keeps_its_time(book: TrialBook, streams: Streams) -> None:
    book.add([TRIAL, replace(TRIAL, trial="t2", detail={**TRIAL.detail, "search": {"efSearch": 80}})])
    for _ in range(2):
        book.promoted("i", "b1", {"efSearch": 40})
    book.promoted("i", "b9", {"efSearch": 40})
    rows = list(streams.read("trials"))
    assert [(row["trial"], row["promoted"]) for row in rows] == [("t1", False), ("t2", False), ("t1", True)]
    assert {name: trial.promoted for name, trial in folded(rows).items()} == {"t1": True, "t2": False}
    assert [trial.trial for trial in book.of("i")] == ["t1", "t2"], "in the order in which they were measured"


def test_who_is_woken(book: TrialBook) -> None:
    woken: list[object] = []
    wake: Callable[..., None] = woken.append
    book.wake = wake
    book.add([TRIAL, replace(TRIAL, trial="t2", index="j")])
    book.add([TRIAL])
    assert woken == [["Index/i", "Index/j"]]


def test_names_follow_inputs() -> None:
    assert trial_id("b", {"a": 1, "b": 2}, "t", 1.0) == trial_id("b", {"b": 2, "a": 1}, "t", 1.0)
    assert (
        len({trial_id("b", {}, "t", 1.0), trial_id("c", {}, "t", 1.0), trial_id("b", {"a": 1}, "t", 1.0), trial_id("b", {}, "t", 0.5)}) == 4
    )
