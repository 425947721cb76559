"""Every read is a row, however it ends; none fails for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from engines.at import PRESENT, At
from engines.audit import Audit, AuditedQueries
from engines.errors import QueryTimeout, TableUnknown
from engines.reading import ANONYMOUS, Reader
from engines.sql.service import QueryResult
from state.errors import DiskFull
from state.streams.schemas import AUDIT


class Journal:
    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.full = False

    def append_lazy(self, stream: str, event: Mapping[str, Any]) -> str:
        assert stream == "audit"
        assert event.keys() <= AUDIT.names
        if self.full:
            raise DiskFull("write-ahead", "/wal")
        self.rows.append(dict(event))
        return ""


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def audit(journal: Journal) -> Audit:
    ticks = iter(range(100))
    return Audit(journal, lambda: next(ticks) / 1000)


def test_what_was_read(audit: Audit, journal: Journal) -> None:
    with audit.access("object", ANONYMOUS, bucket="lake", key="a/b") as access:
        access.bytes = 7
    expected = {
        "reader": "anonymous",
        "action": "object",
        "bucket": "lake",
        "key": "a/b",
        "bytes": 7,
        "duration_ms": 1.0,
        "outcome": "done",
    }
    assert journal.rows == [expected]


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (TableUnknown("There is no table `x`."), "refused", "table-unknown"),
        (QueryTimeout("too long"), "failed", "query-timeout"),
        (ZeroDivisionError(), "failed", "internal-error"),
        (asyncio.CancelledError(), "cancelled", None),
    ],
)
def test_how_it_ended(audit: Audit, journal: Journal, error: BaseException, outcome: str, reason: str | None) -> None:
    with pytest.raises(type(error)), audit.access("query", Reader(token="t1", role="clerk", bucket="archive"), statement="SELECT 1"):
        raise error
    (row,) = journal.rows
    assert (row["outcome"], row.get("reason"), row["reader"], row["role"], row["bucket"]) == (outcome, reason, "t1", "clerk", "archive")


def test_a_read_fails_for_no_audit(audit: Audit, journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    journal.full = True
    with audit.access("query", ANONYMOUS) as access:
        access.rows = 1
    assert "is not in the audit" in caplog.text


class Queries:
    async def run(
        self, sql: str, params: object = None, reader: Reader = ANONYMOUS, *, at: At = PRESENT, max_rows: int | None = None
    ) -> QueryResult:
        return QueryResult(b"12345", 3, 10, False, {"people": 4}, 0.1, (), ("people", "system.events"))


def test_a_query(audit: Audit, journal: Journal) -> None:
    asyncio.run(AuditedQueries(Queries(), audit).run("SELECT * FROM people"))  # type: ignore[arg-type]
    (row,) = journal.rows
    assert row["statement"] == "SELECT * FROM people"
    assert row["tables"] == ("people", "system.events")
    assert (row["versions"], row["rows"], row["bytes"], row["outcome"]) == ({"people": 4}, 3, 5, "done")
