"""Questions about the audit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from state.audit_query import AuditQuery, Own, answer, columns
from state.local_store import LocalStore
from state.streams.schemas import StreamInvalid
from state.streams.stream import Streams

ROWS: list[dict[str, Any]] = [
    {"reader": "ann", "profile": "desk", "role": "clerk", "action": "query", "outcome": "done", "tables": ["people"],
     "columns": {"people": ["name", "phone"]}, "columns_known": True, "rows": 3, "bytes": 30, "duration_ms": 1.0,
     "filters": {"people": "id > 1"}, "masks": {"people": {"phone": "lastFour"}}, "policies": {"people": ["access"]}},
    {"reader": "bob", "profile": "lab", "action": "query", "outcome": "done", "tables": ["people", "jobs"],
     "columns": {"people": ["*"], "jobs": ["*"]}, "columns_known": False, "rows": 5, "duration_ms": 3.0},
    {"reader": "bob", "profile": "lab", "action": "search", "outcome": "refused", "reason": "index-unknown", "model": "mini",
     "index": "cvs", "duration_ms": 2.0},
    {"reader": "root", "action": "object", "outcome": "begun", "bucket": "lake", "key": "a"},
    {"reader": "root", "action": "object", "outcome": "done", "bucket": "lake", "key": "a", "bytes": 900, "duration_ms": 9.0},
    {"reader": "ann", "profile": "desk", "role": "clerk", "action": "query", "outcome": "done", "tables": ["jobs"],
     "columns": {"jobs": ["name"]}, "columns_known": True, "rows": 1, "bytes": 10, "duration_ms": 5.0},
]  # fmt: skip


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[Streams]:
    opened = Streams(LocalStore(tmp_path / "state"), tmp_path / "wal", lambda: datetime(2026, 11, 22, tzinfo=UTC))
    opened.append_many("audit", ROWS[:3])
    opened.flush()
    opened.append_many("audit", ROWS[3:])
    yield opened
    opened.close()


def found(streams: Streams, query: AuditQuery, own: Own | None = None) -> list[int]:
    """Places in ROWS, in order."""
    ids = [row["id"] for row in streams.read("audit")]
    return [ids.index(row["id"]) for row in answer(streams, query, own)["rows"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (AuditQuery(), [5, 4, 3, 2, 1, 0]),
        (AuditQuery(profile="desk"), [5, 0]),
        (AuditQuery(reader="bob", action="query"), [1]),
        (AuditQuery(role="clerk"), [5, 0]),
        (AuditQuery(outcome="refused"), [2]),
        (AuditQuery(model="mini"), [2]),
        (AuditQuery(table="jobs"), [5, 1]),
        (AuditQuery(column="phone"), [1, 0]),
        (AuditQuery(table="jobs", column="phone"), [1]),
        (AuditQuery(table="people", column="name"), [1, 0]),
        (AuditQuery(table="peopl"), []),
        (AuditQuery(since="2026-11-23"), []),
        (AuditQuery(until="2026-11-22"), []),
    ],
)
def test_which(streams: Streams, query: AuditQuery, expected: list[int]) -> None:
    assert found(streams, query) == expected


def test_pages(streams: Streams) -> None:
    first = answer(streams, AuditQuery(limit=4))
    assert [row["outcome"] for row in first["rows"]] == ["done", "done", "begun", "refused"]
    second = answer(streams, AuditQuery(limit=4, until=first["next"]))
    assert [row["profile"] for row in second["rows"]] == ["lab", "desk"]
    assert second["next"] is None


def test_a_row(streams: Streams) -> None:
    row = answer(streams, AuditQuery(until=list(streams.read("audit"))[1]["id"]))["rows"][0]
    assert row["columns"] == {"people": ["name", "phone"]}
    assert (row["filters"], row["masks"], row["policies"]) == (
        {"people": "id > 1"}, {"people": {"phone": "lastFour"}}, {"people": ["access"]}
    )  # fmt: skip
    assert (row["durationMs"], row["columnsKnown"]) == (1.0, True)
    assert not [name for name in row if name.startswith("chain")]


class TestItsOwn:
    @pytest.mark.parametrize(
        ("own", "query", "expected"),
        [
            (Own("desk", "ann"), AuditQuery(), [5, 0]),
            (Own("lab"), AuditQuery(), [2, 1]),
            (Own("lab"), AuditQuery(profile="desk"), []),
            (Own(None, "bob"), AuditQuery(), [2, 1]),
            (Own(None, "bob"), AuditQuery(reader="ann"), []),
            (Own(), AuditQuery(), []),
        ],
    )
    def test_rows(self, streams: Streams, own: Own, query: AuditQuery, expected: list[int]) -> None:
        assert found(streams, query, own) == expected

    def test_nothing_of_what_policies_did(self, streams: Streams) -> None:
        for row in answer(streams, AuditQuery(), Own("desk"))["rows"]:
            assert not {"filters", "masks", "policies", "request", "detail", "chainNumber"} & row.keys()

    def test_counts_of_nobody_else(self, streams: Streams) -> None:
        assert answer(streams, AuditQuery(group=("reader",)), Own("lab"))["groups"][0]["count"] == 2
        assert answer(streams, AuditQuery(group=("reader",)), Own())["groups"] == []
        assert answer(streams, AuditQuery(group=("reader",), profile="desk"), Own("lab"))["groups"] == []


class TestCounted:
    def test_by_profile(self, streams: Streams) -> None:
        desk, lab, nobody = answer(streams, AuditQuery(group=("profile",)))["groups"]
        assert (desk["profile"], desk["count"], desk["rows"], desk["bytes"], desk["p50Ms"], desk["p95Ms"]) == ("desk", 2, 4, 40, 1.0, 5.0)
        assert (lab["profile"], lab["count"], lab["rows"], lab["bytes"], lab["p50Ms"]) == ("lab", 2, 5, 0, 2.0)
        assert (nobody["profile"], nobody["count"], nobody["bytes"]) == (None, 1, 900)

    def test_a_read_of_several_tables_counts_for_each(self, streams: Streams) -> None:
        groups = answer(streams, AuditQuery(group=("table", "column"), action="query"))["groups"]
        assert [(group["table"], group["column"], group["count"]) for group in groups] == [
            ("jobs", "*", 1),
            ("jobs", "name", 1),
            ("people", "*", 1),
            ("people", "name", 1),
            ("people", "phone", 1),
        ]

    def test_who_saw_a_column(self, streams: Streams) -> None:
        groups = answer(streams, AuditQuery(group=("profile", "column"), column="phone"))["groups"]
        assert [(group["profile"], group["column"]) for group in groups] == [("desk", "phone"), ("lab", "*")]

    def test_what_has_begun_only_where_it_is_asked_for(self, streams: Streams) -> None:
        counts = {group["action"]: group["count"] for group in answer(streams, AuditQuery(group=("action",)))["groups"]}
        assert counts == {"query": 3, "search": 1, "object": 1}
        assert answer(streams, AuditQuery(group=("action",), outcome="begun"))["groups"][0]["count"] == 1

    def test_refusals_that_share_a_row(self, streams: Streams) -> None:
        refused = {"reader": "eve", "action": "request", "outcome": "refused", "reason": "token-refused"}
        streams.append_many(
            "audit", [{**refused, "detail": {"route": "/query"}}, {**refused, "detail": {"route": "/query", "repeated": 41}}]
        )
        (group,) = answer(streams, AuditQuery(group=("reader", "reason"), reader="eve"))["groups"]
        assert group["count"] == 42

    def test_most_frequent_first_and_no_more_than_asked_for(self, streams: Streams) -> None:
        assert [group["action"] for group in answer(streams, AuditQuery(group=("action",), limit=1))["groups"]] == ["query"]


def test_what_no_read_can_have(streams: Streams) -> None:
    with pytest.raises(StreamInvalid, match="There is no action 'querry'") as raised:
        answer(streams, AuditQuery(action="querry"))
    assert raised.value.remedy == "Did you mean 'query'?"
    with pytest.raises(StreamInvalid, match="no outcome"):
        answer(streams, AuditQuery(outcome="x"))
    with pytest.raises(StreamInvalid, match="neither an event's id nor a time"):
        answer(streams, AuditQuery(since="yesterday"))
    with pytest.raises(StreamInvalid, match="counted by 'statement'"):
        columns("profile,statement")
    assert columns("table, profile") == ("profile", "table")


def test_nobody_waits_for_it_any_more(streams: Streams) -> None:
    asked = iter([True, True, False])
    assert len(answer(streams, AuditQuery(), wanted=lambda: next(asked, False))["rows"]) == 2
