"""The audit: a row of the stream `audit` for every read, whoever answers it, a daemon or an offline `lakectl`, and however it ends.

A row is durable before its answer is given; where it cannot be, there is no answer (AuditUnavailable), not even that a read was refused.
What is given piece by piece has a row before its first piece (`begin`), of outcome `begun`, and one at its end whose `request` names that.
Whoever was cancelled gets no answer, so nobody waits for that row. Refusals that come in floods share rows (`refusal_floods.py`).

Requests on an event loop share syncs and wait for none (`async with`); a command waits (`with`). What a row holds is declared in
`state/streams/schemas.py`: no value of data, parameter or result is in it, nor a token. Who may read is not decided here (`reading.py`).
Next: `audited.py`, which fills rows of queries and searches in.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeAlias

from engines.errors import (
    AuditUnavailable,
    EngineUnsupported,
    IndexUnknown,
    QueryForbidden,
    QueryInvalid,
    QueryTooLarge,
    QuotaExceeded,
    ReaderRefused,
    SearchInvalid,
    TableUnknown,
    VersionUnknown,
)
from engines.reading import Decision, Reader
from engines.refusal_floods import RefusalFloods
from specs.errors import LakehouseError
from state.errors import StateError
from state.streams.committer import Committer, Log, Written
from state.tokens import NOBODY

STREAM = "audit"
EVERY_COLUMN = ("*",)
"""Of a table of which nobody knows which columns were read."""

Action: TypeAlias = Literal["query", "search", "object", "export", "describe", "diff", "replay", "model", "request"]
"""request: one that was refused before anybody looked at what it asks for."""
Outcome: TypeAlias = Literal["begun", "done", "refused", "failed", "cancelled"]

REFUSALS: tuple[type[LakehouseError], ...] = (
    QueryForbidden, QueryInvalid, QueryTooLarge, TableUnknown, VersionUnknown, IndexUnknown, SearchInvalid,
    EngineUnsupported, ReaderRefused,
)  # fmt: skip
"""What is the fault of whoever asks; any other error is a failure of ours."""

_log = logging.getLogger(__name__)


class Journal(Log, Protocol):
    """Streams, for appending."""

    def append(self, stream: str, event: Mapping[str, Any]) -> str:
        """The event's id, once it is durable. Raises StateError."""


@dataclass(slots=True)
class Facts:
    """What is known of one read so far; whoever answers fills it in.

    statement: without values. columns: read, by table; columns_known: whether that is all. decisions: what was shown of each table.
    error: why it ended, where it raises nothing. detail: what has no column.
    """

    statement: str | None = None
    tables: Sequence[str] | None = None
    columns: Mapping[str, Sequence[str]] | None = None
    columns_known: bool | None = None
    decisions: Mapping[str, Decision] | None = None
    versions: Mapping[str, int] | None = None
    rows: int | None = None
    bytes: int | None = None
    model: str | None = None
    generation: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    error: LakehouseError | None = None
    detail: Mapping[str, Any] | None = None

    def known(self) -> dict[str, Any]:
        """As columns of the stream; None for what is not known."""
        shown = self.decisions or {}
        filters = {table: decision.row_filter for table, decision in shown.items() if decision.row_filter is not None}
        masks = {table: {column: mask.kind for column, mask in one.masks.items()} for table, one in shown.items() if one.masks}
        policies = {table: decision.policies for table, decision in shown.items() if decision.policies}
        columns = None if self.columns is None else {table: list(names) for table, names in self.columns.items()}
        return {
            "statement": self.statement, "tables": self.tables, "columns": columns, "filters": filters or None, "masks": masks or None,
            "versions": self.versions, "rows": self.rows, "bytes": self.bytes, "model": self.model, "detail": self.detail,
            "policies": policies or None, "columns_known": self.columns_known, "generation": self.generation,
            "tokens_in": self.tokens_in, "tokens_out": self.tokens_out,
        }  # fmt: skip


class Audit:
    """Writes the rows. One event loop at a time uses it, and any thread; some tens of microseconds a read, and a sync that many share."""

    def __init__(self, journal: Journal, clock: Callable[[], float] = time.perf_counter) -> None:
        """clock: seconds."""
        self._journal = journal
        self.clock = clock
        self._committer = Committer(journal)
        self._floods = RefusalFloods(self._count)

    def access(self, action: Action, reader: Reader, *, refusals: tuple[type[LakehouseError], ...] = REFUSALS, **asked: Any) -> Access:
        """One read, from the beginning of the block to its end, by value or error. asked: columns that are known before.

        refusals: what is not our failure. The block's end raises AuditUnavailable, in the place of its own error if there is one.
        """
        return Access(self, _who(action, reader), refusals, asked)

    async def refused(self, action: Action, reader: Reader, error: LakehouseError, **asked: Any) -> None:
        """A read that ended before it began; on the disk at the end, or counted with one that is. Raises AuditUnavailable."""
        kind = {**_who(action, reader), **asked, "reason": error.slug}
        await self.counted(kind, {**kind, "outcome": "refused"})

    async def counted(self, kind: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        """As `durable`, of a refusal; those of one kind and second share one row and a count. Raises AuditUnavailable."""
        fault = await asyncio.shield(self._floods.join(_plain(kind), lambda: self._append(row)[1]))  # one who leaves is not the only one
        if fault is not None:
            raise _unavailable(fault) from fault

    async def durable(self, row: Mapping[str, Any]) -> str:
        """The id of a row that is on the disk; the event loop goes on meanwhile. Raises AuditUnavailable."""
        id_, written = self._append(row)
        fault = await written
        if fault is not None:
            raise _unavailable(fault) from fault
        return id_

    def durable_blocking(self, row: Mapping[str, Any]) -> str:
        """As `durable`, in a thread or a command."""
        try:
            return self._journal.append(STREAM, _plain(row))
        except StateError as fault:
            raise _unavailable(fault) from fault

    def later(self, row: Mapping[str, Any]) -> None:
        """A row that nobody waits for. Raises AuditUnavailable for one that is none."""
        self._append(row)

    def close(self) -> None:
        """Waits for rows that nobody waits for. Blocking."""
        self._committer.close()
        for row in self._floods.left():
            try:
                self.durable_blocking(row)
            except AuditUnavailable as unwritten:
                _uncounted(row, unwritten)

    def _count(self, row: Mapping[str, Any]) -> None:
        try:
            written = self._append(row)[1]
        except AuditUnavailable as unwritten:
            _uncounted(row, unwritten)
        else:
            written.add_done_callback(lambda written: _uncounted(row, fault) if (fault := written.result()) is not None else None)

    def _append(self, row: Mapping[str, Any]) -> tuple[str, Written]:
        try:
            return self._committer.append(STREAM, _plain(row))
        except StateError as fault:
            raise _unavailable(fault) from fault


class Access(Facts):
    """One read: a context manager, on an event loop or blocking, that takes what becomes known of it."""

    def __init__(self, audit: Audit, who: Mapping[str, Any], refusals: tuple[type[LakehouseError], ...], asked: Mapping[str, Any]) -> None:
        super().__init__()
        self._audit = audit
        self._who = who
        self._refusals = refusals
        self._asked = asked
        self._since = 0.0
        self._first: str | None = None
        self._ended = False

    async def begin(self) -> None:
        """Before the first piece of what is given in pieces. Raises AuditUnavailable."""
        self._first = await self._audit.durable(self._row("begun", None))

    def begin_blocking(self) -> None:
        """As `begin`, in a thread or a command."""
        self._first = self._audit.durable_blocking(self._row("begun", None))

    async def end(self) -> None:
        """Inside the block, before all of it is given, or once it is: the block then writes nothing more. Raises AuditUnavailable."""
        if self._ended:
            return
        self._ended = True
        try:
            await self._audit.durable(self._row("done", None))
        except AuditUnavailable as unwritten:
            self._unwritten(unwritten, None)

    async def __aenter__(self) -> Self:
        self._since = self._audit.clock()
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._ended:
            return
        row = self._row(*self._ending(error))
        try:
            if row["outcome"] == "cancelled":
                self._audit.later(row)
            elif row.get("reason") == QuotaExceeded.slug:
                await self._audit.counted({**self._who, "reason": QuotaExceeded.slug}, row)
            else:
                await self._audit.durable(row)
        except AuditUnavailable as unwritten:
            self._unwritten(unwritten, error)

    def __enter__(self) -> Self:
        self._since = self._audit.clock()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._audit.durable_blocking(self._row(*self._ending(error)))
        except AuditUnavailable as unwritten:
            self._unwritten(unwritten, error)

    def _ending(self, error: BaseException | None) -> tuple[Outcome, str | None]:
        """How it ended, and why."""
        match error or self.error:
            case None:
                return "done", None
            case LakehouseError() as fault:
                return "refused" if error is fault and isinstance(fault, self._refusals) else "failed", fault.slug
            case Exception():
                return "failed", "internal-error"
            case _:
                return "cancelled", None

    def _row(self, outcome: Outcome, reason: str | None) -> dict[str, Any]:
        took = round((self._audit.clock() - self._since) * 1000, 3)
        ending = {"duration_ms": took, "outcome": outcome, "reason": reason, "request": self._first}
        row: dict[str, Any] = {}
        for facts in (self._who, self._asked, self.known(), ending):
            row |= {name: value for name, value in facts.items() if value is not None}
        return row

    def _unwritten(self, unwritten: AuditUnavailable, error: BaseException | None) -> None:
        """Where the first row is on the disk, pieces were given, and this one tells only how many."""
        if self._first is None and isinstance(error, Exception | None):
            raise unwritten from unwritten.__cause__
        _log.warning("%s by %s: how it ended is not in the audit: %s", self._who["action"], self._who["reader"], unwritten)


def _who(action: Action, reader: Reader) -> dict[str, Any]:
    who = reader.token or reader.asked_by or NOBODY
    return {"reader": who, "profile": reader.profile, "role": reader.role, "action": action, "bucket": reader.bucket}


def _uncounted(row: Mapping[str, Any], fault: Exception) -> None:
    detail = row["detail"]
    _log.warning("%s by %s: what was refused (%s) is not in the audit: %s", row["action"], row["reader"], detail, fault)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is null; bytes that are no text stand in texts as lone surrogates, which no JSON can hold: escaped."""
    return {name: _utf8(value) if isinstance(value, str) else value for name, value in row.items() if value is not None}


def _utf8(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _unavailable(fault: StateError) -> AuditUnavailable:
    remedy = "Make room on the disk of `.lakehouse/`, and see that it can be written; nothing is answered that leaves no trace."
    return AuditUnavailable(f"There is no answer, since its row in the audit cannot be written ({fault.slug}).", remedy=remedy)
