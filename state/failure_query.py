"""Questions about what failed in buckets: narrowed, page by page, or counted. Reads the stream `errors`, no further than the answer needs.

A process that notes failures knows its newest ones from memory: at once, and also while the bucket of the state is the one that fails.
What the stream cannot give then is said to be missing. The documents are those of GET /storage/errors, so that `lakectl errors` gives the
same without a daemon. Next: `failures.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Any, Literal, Protocol, get_args

import orjson

from specs.suggestions import nearest
from state.errors import StateError
from state.failures import FAULTS, OPERATIONS, Failures
from state.streams.reading import Record, matching, span
from state.streams.schemas import StreamInvalid

STREAM = "errors"

Column = Literal["bucket", "op", "class"]
COLUMNS: tuple[Column, ...] = get_args(Column)
"""What failures can be counted by."""

_NAMES = {name: name for name in ("id", "at", "bucket", "op", "key", "class", "message")}
_NAMES |= {"duration_ms": "durationMs", "attempt": "attempt", "rescued": "rescued", "rescue_bucket": "rescueBucket"}


class FailureSource(Protocol):
    """Streams, for reading."""

    def records(self, stream: str, *, since: str | None = None, until: str | None = None, newest_first: bool = False) -> Iterator[Record]:
        """Events from `since` on and before `until` (ids or ISO 8601), unparsed."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """The stream `errors` with what this process noted itself from memory. failures: those that it appends there."""

    source: FailureSource
    failures: Failures

    def records(self, stream: str, *, since: str | None = None, until: str | None = None, newest_first: bool = False) -> Iterator[Record]:
        """See `FailureSource`; the newest first in any case."""
        within, known = span(since, until), set()
        for failure in self.failures.newest():
            known.add(failure.id)
            if within.first <= failure.id < within.until:
                yield failure.id, orjson.dumps(failure.to_row())
        for record in self.source.records(stream, since=since, until=until, newest_first=True):
            if record[0] not in known:
                yield record


@dataclass(frozen=True, slots=True)
class FailureQuery:
    """Which failures. since, until: ids or ISO 8601; key: how keys begin; group: count by these columns instead of listing."""

    bucket: str | None = None
    op: str | None = None
    kind: str | None = None
    key: str | None = None
    since: str | None = None
    until: str | None = None
    group: tuple[Column, ...] = ()
    limit: int = 100


def answer(
    source: FailureSource, query: FailureQuery, buckets: Collection[str], wanted: Callable[[], bool] = lambda: True
) -> dict[str, Any]:
    """`{"errors", "next"}`, newest first, or `{"groups"}`, the most frequent first; cut short once it is not wanted. Blocking.

    buckets: those there are. `incomplete` says why older ones could not be read, if so. Raises StreamInvalid for a time or id that is none,
    and for a bucket, operation or class that no failure can have.
    """
    _check("operation", query.op, OPERATIONS)
    _check("class of failures", query.kind, [fault.slug for fault in FAULTS])
    if query.bucket is not None and query.bucket not in buckets:
        records = _readable(source.records(STREAM, newest_first=True), [])
        former: set[str] = set()
        for row in matching(takewhile(lambda _: wanted(), records), None):
            former.add(row["bucket"])
            if query.bucket in former:
                break
        else:
            _check("bucket", query.bucket, sorted(former.union(buckets)), ", now or in what failed before")
    faults: list[str] = []
    records = _readable(source.records(STREAM, since=query.since, until=query.until, newest_first=True), faults)
    where = {name: value for name, value in (("bucket", query.bucket), ("op", query.op), ("class", query.kind)) if value is not None}
    found: Iterator[Mapping[str, Any]] = matching(takewhile(lambda _: wanted(), records), where)
    if query.key is not None:
        prefix = query.key
        found = (row for row in found if row["key"].startswith(prefix))
    document = _groups(found, query.group, query.limit) if query.group else _page(found, query.limit)
    return document | {"incomplete": faults[0] if faults else None}


def _check(what: str, word: str | None, valid: Collection[str], where: str = "") -> None:
    """Raises StreamInvalid, naming the nearest."""
    if word is None or word in valid:
        return
    near = nearest(word, valid)
    listed = f"There are {', '.join(valid)}." if valid else None
    raise StreamInvalid(f"There is no {what} {word!r}{where}.", remedy=f"Did you mean {near!r}?" if near else listed)


def _readable(records: Iterator[Record], faults: list[str]) -> Iterator[Record]:
    """As many as can be read; `faults` gets why there are no more."""
    try:
        yield from records
    except StreamInvalid:
        raise
    except StateError as error:
        faults.append(error.explain())


def columns(text: str) -> tuple[Column, ...]:
    """What to count by, as in `bucket,class`; none of an empty text. Raises StreamInvalid."""
    names = [name.strip() for name in text.split(",")] if text else []
    unknown = next((name for name in names if name not in COLUMNS), None)
    if unknown is not None:
        raise StreamInvalid(f"Failures cannot be counted by {unknown!r}.", remedy=f"They can be by {', '.join(COLUMNS)}.")
    return tuple(column for column in COLUMNS if column in names)


def _page(found: Iterator[Mapping[str, Any]], limit: int) -> dict[str, Any]:
    """One more than asked for is read, to know whether there is a next page."""
    rows = list(islice(found, limit + 1))
    page = rows[:limit]
    errors = [{told: row.get(name) for name, told in _NAMES.items()} for row in page]
    return {"errors": errors, "next": page[-1]["id"] if len(rows) > limit else None}


def _groups(found: Iterable[Mapping[str, Any]], columns: tuple[Column, ...], limit: int) -> dict[str, Any]:
    counts: Counter[tuple[str, ...]] = Counter()
    facts: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in found:  # newest first
        group = tuple(row[column] for column in columns)
        counts[group] += 1
        fact = facts.setdefault(group, {"rescued": 0, "last": row["at"]})
        fact["rescued"] += bool(row["rescued"])
        fact["first"] = row["at"]
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]
    return {"groups": [{**dict(zip(columns, group, strict=True)), "count": count, **facts[group]} for group, count in ranked]}
