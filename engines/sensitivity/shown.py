"""How a message names a value: as it stands, or by its form alone where its column is sensitive, or may be.

A message is kept longer and read by more people than a row: it becomes an event, a line of a log, a comment in git. What is not known of a
column yet is taken from its name and from the value itself, and a doubt hides it. Next: `finding.py`, which looks at many values.
"""

from __future__ import annotations

from collections.abc import Iterator, Set

from engines.files.shapes import form, shorten
from engines.sensitivity.entities import ENTITIES, said
from engines.sensitivity.finding import LONGEST

EVERY_COLUMN = "*"


def shown(column: str, value: object, hidden: Set[str] = frozenset()) -> str:
    """hidden: columns whose values are not to be shown, EVERY_COLUMN for all."""
    if column in hidden or EVERY_COLUMN in hidden or _may_be_sensitive(column, str(value)[:LONGEST]):
        return f"a value of the form {form(value)}"
    return shorten(value)


def _may_be_sensitive(column: str, value: str) -> bool:
    named = said(column)
    return bool(named.entities) or named.persons or any(_matches(value))


def _matches(value: str) -> Iterator[bool]:
    for entity in ENTITIES:
        match = entity.pattern.search(value) if entity.pattern is not None else None
        yield match is not None and (entity.check is None or entity.check(match[0].strip()))
