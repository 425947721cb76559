"""How the columns of a file differ from those of the table it is for, in words: added, dropped, widened, narrowed, retyped, renamed.

That a column was renamed nobody says; a column that is gone and a new one of its type are taken for one if their names are alike or they
share values. Only shared values are sure enough to hold a file back. Samples are of the first rows, values as text. Next: `batch.py`, which
refuses what would be a new column by mistake; `lakectl migrate preview`, which drafts a migration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import islice
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engines.files.journal import as_text
from engines.files.source import ColumnPlan, RowReading
from engines.sql.readings import Reading as Projection
from engines.widening import widens

SAMPLED_ROWS = 5_000
SHARED, SHARE = 3, 0.5
"""Of a column that was renamed: at least so many values that the former one has, and such a share of its own."""
_ALIKE = 0.6

Kind = Literal["added", "dropped", "renamed", "widened", "narrowed", "retyped"]


@dataclass(frozen=True, slots=True)
class Seen:
    """A column as far as it was looked at. values: different ones, as text."""

    name: str
    type: str
    values: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Difference:
    """One column. was and now: types; new_name and shared (how many of how many sampled values) of a renamed one; by: a model that takes it
    for renamed, where neither names nor values say so."""

    kind: Kind
    name: str
    was: str = ""
    now: str = ""
    new_name: str = ""
    shared: tuple[int, int] = (0, 0)
    by: str = ""

    @property
    def sure(self) -> bool:
        """Of a renamed one: whether its values say so."""
        return self.shared[0] >= SHARED and self.shared[0] >= SHARE * self.shared[1] and self.was != "bool"

    @property
    def words(self) -> str:
        """In a line."""
        match self.kind:
            case "added":
                return f"{self.name} is new ({self.now})"
            case "dropped":
                return f"{self.name} is gone"
            case "renamed":
                evidence = f"{self.shared[0]:,} of {self.shared[1]:,} sampled values are the same" if self.sure else "the names are alike"
                evidence = f"{self.by} takes it for that" if self.by else evidence
                return f"{self.name} seems to be called {self.new_name} now: {evidence}"
            case "widened":
                return f"{self.name} becomes {self.now} ({self.was} before), which has room for every {self.was}"
            case "narrowed":
                return f"{self.name} is {self.now}, which the table's {self.was} has room for"
            case "retyped":
                return f"{self.name} is {self.now}, and was {self.was}"


def differences(former: Sequence[Seen], new: Sequence[Seen]) -> tuple[Difference, ...]:
    """In the table's order, then what is new in the file's."""
    now = {column.name: column for column in new}
    known = {column.name for column in former}
    renamed = _renamed([c for c in former if c.name not in now], [c for c in new if c.name not in known])
    found: list[Difference] = []
    for column in former:
        if column.name in renamed:
            found.append(renamed[column.name])
        elif column.name not in now:
            found.append(Difference("dropped", column.name, column.type))
        elif (kind := _retyped(column.type, now[column.name].type)) is not None:
            found.append(Difference(kind, column.name, column.type, now[column.name].type))
    taken = {difference.new_name for difference in renamed.values()}
    found += [Difference("added", c.name, now=c.type) for c in new if c.name not in known and c.name not in taken]
    return tuple(found)


def _retyped(was: str, now: str) -> Kind | None:
    if was == now:
        return None
    return "widened" if widens(was, now) else "narrowed" if widens(now, was) or was == "string" else "retyped"


def _renamed(gone: Sequence[Seen], new: Sequence[Seen]) -> dict[str, Difference]:
    """The best pairs first, each column in one."""
    pairs = []
    for former in gone:
        for column in new:
            if column.type != former.type and not widens(former.type, column.type):
                continue
            shared = len(column.values & former.values), len(column.values)
            difference = Difference("renamed", former.name, former.type, column.type, column.name, shared)
            alike = likeness(former.name, column.name)
            if difference.sure or alike >= _ALIKE:
                pairs.append((difference.sure, shared[0] / max(shared[1], 1) + alike, difference))
    found: dict[str, Difference] = {}
    taken: set[str] = set()
    for _, _, difference in sorted(pairs, key=lambda pair: (*pair[:2], pair[2].name, pair[2].new_name), reverse=True):
        if difference.name not in found and difference.new_name not in taken:
            found[difference.name] = difference
            taken.add(difference.new_name)
    return found


def likeness(one: str, other: str) -> float:
    """Of two names, in [0, 1], whatever their case and separators."""
    plain, others = (name.lower().replace("_", "").replace("-", "").replace(" ", "") for name in (one, other))
    return SequenceMatcher(None, plain, others).ratio()


def seen_in_file(reading: RowReading, guesses: Mapping[str, tuple[str, str]]) -> tuple[Seen, ...]:
    """The file's columns, with values of its first batch. Raises FileRefused."""
    plans = {name: ColumnPlan(name, kind, "guess") for name, (kind, _) in guesses.items()}
    first = next(iter(reading.batches(plans)), None)
    rows = None if first is None else first.slice(0, SAMPLED_ROWS)
    return tuple(Seen(name, kind, frozenset() if rows is None else _values(rows.column(name))) for name, (kind, _) in guesses.items())


def seen_in_rows(rows: pa.Table, columns: Iterable[tuple[str, str]]) -> tuple[Seen, ...]:
    """A table's columns, with the values of some of its rows."""
    there = set(rows.column_names)
    return tuple(Seen(name, kind, _values(rows[name].combine_chunks()) if name in there else frozenset()) for name, kind in columns)


def first_rows(path: str, reading: Projection | None, columns: Sequence[tuple[str, str]]) -> pa.Table:
    """Of a part, in the table's columns as far as it has them."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        rows = pa.Table.from_batches(list(islice(file.iter_batches(SAMPLED_ROWS), 1)), file.schema_arrow)
    if reading is None:
        return rows
    from engines.sql.projection import projected_rows, view_schema

    return projected_rows(rows, reading, view_schema(columns))


def _values(column: pa.Array) -> frozenset[str]:
    # lists are not told apart by Arrow, their texts are
    texts = as_text(column.drop_null())
    return frozenset(text for text in pc.unique(texts).to_pylist() if text)
