"""Questions about the audit: narrowed, page by page, or counted. Reads the stream `audit`, no further than the answer needs.

A row of which nobody knows which columns it read ("*") counts as one of every column: whoever asks who saw a column must hear of it.
What an answer in pieces left as its first row (outcome `begun`) is listed, and not counted. The documents are those of GET /access/audit,
so that `lakectl audit` gives the same without a daemon. Who may see which rows is not decided here. Next: `streams/schemas.py`.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import Any, Literal, Protocol, get_args

import orjson

from specs.suggestions import nearest
from state.streams.reading import Record, matching
from state.streams.schemas import AUDIT, CHAIN_COLUMNS, StreamInvalid

STREAM = "audit"

Column = Literal["reader", "profile", "role", "action", "outcome", "reason", "model", "index", "bucket", "table", "column"]
COLUMNS: tuple[Column, ...] = get_args(Column)
"""What reads can be counted by; one of several tables or columns counts for each of them."""
ACTIONS = ("query", "search", "object", "export", "describe", "diff", "replay", "model", "request")
OUTCOMES = ("begun", "done", "refused", "failed", "cancelled")
_EXACT = ("reader", "profile", "role", "action", "outcome", "model")
_ANY = "*"
REPEATED = "repeated"
"""In the detail of a row that counts refusals: how many there were beside the first one."""
_MOST_GROUPS = 100_000
"""In memory while they are counted."""


class AuditSource(Protocol):
    """Streams, for reading."""

    def records(self, stream: str, *, since: str | None = None, until: str | None = None, newest_first: bool = False) -> Iterator[Record]:
        """Events from `since` on and before `until` (ids or ISO 8601), unparsed."""


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which rows. since, until: ids or ISO 8601; table: as SQL calls it; column: of `table`, or of any; group: count by these instead."""

    reader: str | None = None
    profile: str | None = None
    role: str | None = None
    action: str | None = None
    outcome: str | None = None
    model: str | None = None
    table: str | None = None
    column: str | None = None
    since: str | None = None
    until: str | None = None
    group: tuple[Column, ...] = ()
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Own:
    """Whose rows a reader sees that may not see all: those of its profile, or where it has none those of its token. Neither: no row."""

    profile: str | None = None
    token: str | None = None

    def where(self) -> dict[str, str] | None:
        """What its rows have in common; None for nothing."""
        if self.profile is not None:
            return {"profile": self.profile}
        return None if self.token is None else {"reader": self.token}


_TOLD_TO_ALL = frozenset({
    "id", "at", "reader", "profile", "role", "action", "statement", "tables", "columns", "columns_known", "versions", "rows", "bytes",
    "duration_ms", "outcome", "reason", "bucket", "key", "model", "index", "generation", "tokens_in", "tokens_out",
})  # fmt: skip
"""What a reader is told of its own reads: neither what policies hide from it, nor how many reads of others lie between two of them."""
_TOLD = {column.name for column in AUDIT.columns} - {column.name for column in CHAIN_COLUMNS}


def answer(source: AuditSource, query: AuditQuery, own: Own | None = None, wanted: Callable[[], bool] = lambda: True) -> dict[str, Any]:
    """`{"rows", "next"}`, newest first, or `{"groups"}`, the most frequent first; cut short once it is not wanted. Blocking.

    own: whose rows alone there are, None for everybody's. Raises StreamInvalid for a time or id that is none, and for an action or outcome
    that no row can have; StreamCorrupt and what the store raises.
    """
    _check("action", query.action, ACTIONS)
    _check("outcome", query.outcome, OUTCOMES)
    where = {name: value for name in _EXACT if (value := getattr(query, name)) is not None}
    if own is not None:
        mine = own.where()
        if mine is None or any(where.get(name, value) != value for name, value in mine.items()):
            return {"groups": []} if query.group else {"rows": [], "next": None}
        where |= mine
    records = source.records(STREAM, since=query.since, until=query.until, newest_first=True)
    found = _narrowed(matching(takewhile(lambda _: wanted(), records), where), query)
    if query.group:
        return _groups(found, query)
    return _page(found, query.limit, _TOLD if own is None else _TOLD_TO_ALL)


def columns(text: str) -> tuple[Column, ...]:
    """What to count by, as in `profile,table`; none of an empty text. Raises StreamInvalid."""
    names = [name.strip() for name in text.split(",")] if text else []
    unknown = next((name for name in names if name not in COLUMNS), None)
    if unknown is not None:
        raise StreamInvalid(f"Reads cannot be counted by {unknown!r}.", remedy=f"They can be by {', '.join(COLUMNS)}.")
    return tuple(column for column in COLUMNS if column in names)


def _check(what: str, word: str | None, valid: Sequence[str]) -> None:
    """Raises StreamInvalid, naming the nearest."""
    if word is None or word in valid:
        return
    near = nearest(word, valid)
    raise StreamInvalid(f"There is no {what} {word!r}.", remedy=f"Did you mean {near!r}?" if near else f"There are {', '.join(valid)}.")


def _narrowed(rows: Iterator[dict[str, Any]], query: AuditQuery) -> Iterator[dict[str, Any]]:
    """Those that touch the table and the column."""
    if query.table is None and query.column is None:
        return rows
    return (row for row in rows if _touches(row, query.table, query.column))


def _touches(row: Mapping[str, Any], table: str | None, column: str | None) -> bool:
    tables = _json(row, "tables") or []
    if table is not None and table not in tables:
        return False
    if column is None:
        return True
    read = _json(row, "columns") or {}
    names = (read.get(name, [_ANY]) for name in ([table] if table is not None else tables))
    return any(column in found or _ANY in found for found in names)


def _json(row: Mapping[str, Any], column: str) -> Any:
    """Of a column that is JSON as text in the stream."""
    value = row.get(column)
    return orjson.loads(value) if isinstance(value, str) else value


def _page(found: Iterator[Mapping[str, Any]], limit: int, told: frozenset[str] | set[str]) -> dict[str, Any]:
    """One more than asked for is read, to know whether there is a next page."""
    rows = list(islice(found, limit + 1))
    page = rows[:limit]
    return {"rows": [_told(row, told) for row in page], "next": page[-1]["id"] if len(rows) > limit else None}


def _told(row: Mapping[str, Any], told: frozenset[str] | set[str]) -> dict[str, Any]:
    return {_camel(name): _json(row, name) if name in AUDIT.json else row[name] for name in row if name in told}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part.capitalize() for part in others)


@dataclass(slots=True)
class _Group:
    count: int = 0
    rows: int = 0
    bytes: int = 0
    first: str = ""
    last: str = ""
    durations: array[float] = field(default_factory=lambda: array("d"))

    def add(self, row: Mapping[str, Any]) -> None:
        """The newest come first."""
        self.count += _times(row)
        self.rows += row.get("rows") or 0
        self.bytes += row.get("bytes") or 0
        self.first, self.last = row["at"], self.last or row["at"]
        if (took := row.get("duration_ms")) is not None:
            self.durations.append(took)

    def document(self) -> dict[str, Any]:
        """With the median and 95th percentile of the durations, None where no row has one."""
        ordered = sorted(self.durations)
        p50, p95 = (ordered[math.ceil(share * len(ordered)) - 1] if ordered else None for share in (0.5, 0.95))
        facts = {"count": self.count, "rows": self.rows, "bytes": self.bytes, "p50Ms": p50, "p95Ms": p95}
        return facts | {"first": self.first, "last": self.last}


def _times(row: Mapping[str, Any]) -> int:
    """Reads that a row stands for: of refusals that came in a flood one row counts the rest."""
    detail = _json(row, "detail") if row.get("outcome") == "refused" else None
    return int(detail.get(REPEATED, 1)) if isinstance(detail, dict) else 1


def _groups(found: Iterator[Mapping[str, Any]], query: AuditQuery) -> dict[str, Any]:
    groups: dict[tuple[str | None, ...], _Group] = {}
    for row in found:
        if row.get("outcome") == "begun" and query.outcome != "begun":
            continue
        for key in _keys(row, query):
            if key not in groups and len(groups) >= _MOST_GROUPS:
                raise StreamInvalid(f"There are more than {_MOST_GROUPS} groups.", remedy="Narrow them, as with `since`, or group by less.")
            groups.setdefault(key, _Group()).add(row)
    ranked = sorted(groups.items(), key=lambda item: (-item[1].count, tuple(str(value) for value in item[0])))[: query.limit]
    return {"groups": [dict(zip(query.group, key, strict=True)) | group.document() for key, group in ranked]}


def _keys(row: Mapping[str, Any], query: AuditQuery) -> set[tuple[str | None, ...]]:
    """The groups that a row is of."""
    by = query.group
    if "table" not in by and "column" not in by:
        return {tuple([row.get(name) for name in by])}
    read = _json(row, "columns") or {}
    tables = [name for name in _json(row, "tables") or [None] if query.table in (None, name)]
    keys: set[tuple[str | None, ...]] = set()
    for table in tables:
        names = [name for name in read.get(table, [_ANY]) if query.column in (None, name) or name == _ANY] if table is not None else [None]
        for column in names if "column" in by else [None]:
            keys.add(tuple([table if name == "table" else column if name == "column" else row.get(name) for name in by]))
    return keys
