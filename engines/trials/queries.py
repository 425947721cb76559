"""Queries that somebody wrote down: a file of JSON Lines, each line `text`, and if known the keys of `relevant` rows and a `filter`.

    {"text": "java developer in Chicago", "relevant": ["CAND-1", "CAND-7"], "filter": "city = 'Chicago'"}

A key is a row's primary key as JSON has it, an array where it has several columns. A line that is no such query refuses the file, with its
number. Next: `truth.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import orjson

from engines.errors import FileChanged, FileRefused, FileUnreadable
from specs.digests import canonical_json
from specs.suggestions import nearest
from state.digest_file import sha256_bytes

MOST_QUERIES = 100_000
MOST_FILTERS = 200
"""Different ones: what each lets through is kept, a bit for every chunk."""
_LONGEST = 100_000  # characters
_FIELDS = ("text", "relevant", "filter")


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for. line: in its file, None where it was made. relevant: keys as written; see `key_forms`."""

    text: str
    line: int | None = None
    relevant: tuple[str, ...] = ()
    filter: str | None = None


def key_forms(written: str) -> tuple[str, ...]:
    """What a row's key may be that was written so: see `engines/row_keys.py`."""
    value = orjson.loads(written)
    array = canonical_json(value if isinstance(value, list) else [value]).decode()
    return (array, value) if isinstance(value, str) else (array,)


def read_queries(path: Path, shown: str, digest: str) -> list[Query]:
    """The queries of a file. shown: its path as the operator calls it; digest: SHA-256 of the content that is meant. Blocking.

    Raises FileRefused with the line, FileUnreadable, FileChanged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileUnreadable(shown, f"cannot be read: {error.strerror}") from error
    if sha256_bytes(content) != digest:
        raise FileChanged(shown, "changed while it was read")
    found: list[Query] = []
    first: dict[tuple[str, str | None], int] = {}
    filters: set[str] = set()
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        query = _query(line, number, shown)
        before = first.setdefault((query.text, query.filter), number)
        if before != number:
            raise FileRefused(shown, number, f"asks the same as line {before}")
        filters |= {query.filter} if query.filter is not None else set()
        if len(filters) > MOST_FILTERS:
            raise FileRefused(shown, number, f"has more than {MOST_FILTERS} different filters so far")
        found.append(query)
        if len(found) > MOST_QUERIES:
            raise FileRefused(shown, number, f"has more than {MOST_QUERIES} queries so far")
    if not found:
        raise FileRefused(shown, None, "has no queries", remedy='Write one a line, as in {"text": "java developer"}.')
    return found


def _query(line: bytes, number: int, shown: str) -> Query:
    def refuse(reason: str, remedy: str | None = None) -> NoReturn:
        raise FileRefused(shown, number, reason, remedy=remedy)

    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise FileRefused(shown, number, f"is no JSON: {error}") from error
    if not isinstance(document, dict):
        refuse("is no JSON object", 'Write it as in {"text": "java developer"}.')
    for name in document:
        if name not in _FIELDS:
            near = nearest(name, _FIELDS)
            refuse(f"has a field `{name}`; there are {', '.join(_FIELDS)}", f"Did you mean `{near}`?" if near else None)
    text, condition = document.get("text"), document.get("filter")
    if not isinstance(text, str) or not text.strip():
        refuse("has no `text`")
    if len(text) > _LONGEST:
        refuse(f"has a text of {len(text):,} characters; {_LONGEST:,} are the most")
    if condition is not None and (not isinstance(condition, str) or not condition.strip()):
        refuse("has a `filter` that is no SQL condition")
    return Query(text, number, tuple(_keys(document.get("relevant"), refuse)), condition)


def _keys(keys: Any, refuse: Any) -> Iterator[str]:
    if keys is None:
        return
    if not isinstance(keys, list):
        refuse("has `relevant` that is no list of keys")
    for key in keys:
        parts = key if isinstance(key, list) else [key]
        if not parts or not all(isinstance(part, str | int | float | bool) for part in parts):
            refuse(f"has a key that is none: {orjson.dumps(key).decode()}", "Write the primary key's value, or an array of several.")
        yield orjson.dumps(key).decode()
