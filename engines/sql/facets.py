"""Facets of a search: how often each value of a column comes among the rows that it could find, whatever is looked for.

Which rows those are the daemon says, by their keys: an index lacks rows whose texts are empty, or that came since. Counted are the values
that the reader is shown, in the worker, in the same reading that tells which rows pass the filter, so that hits and facets are of one
version. Next: `worker.py`, `service.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from engines.files.types import has_structure, is_list
from engines.row_keys import FILE_COLUMN, ROW_COLUMN, row_keys
from engines.sql.json_rows import json_rows, type_name
from engines.sql.problems import QueryProblem, no_column
from engines.sql.projection import plain_schema

MOST_FACETS = 8
MOST_VALUES = 10
"""Of a facet: the most frequent ones."""
LONGEST_NAME = 1_000
_FACET = "__facet_"


@dataclass(frozen=True, slots=True)
class Facet:
    """Of a column. values: the most frequent ones, as JSON has them, and how many rows have each, those first that more have, then by
    value, null last. rows: that were counted; distinct: values that they have, null among them."""

    values: tuple[tuple[Any, int], ...]
    rows: int
    distinct: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        values = [{"value": value, "count": count} for value, count in self.values]
        return {"values": values, "rows": self.rows, "distinct": self.distinct}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Facet:
        """Of what `to_dict` gave."""
        return cls(tuple((one["value"], one["count"]) for one in data["values"]), data["rows"], data["distinct"])


@dataclass(frozen=True, slots=True)
class Counted:
    """facets: by column, in the order in which they were asked for; keys: of the rows that were counted, a string array; None where no
    filter chose them."""

    facets: Mapping[str, Facet]
    keys: pa.Array | None


def facet_name(number: int) -> str:
    """Under which the column of a facet is read, since a row's key may be made of the same one."""
    return f"{_FACET}{number}"


def check_facets(columns: Sequence[str], shown: pa.Schema) -> None:
    """shown: the columns that the reader sees. Raises QueryProblem for what is none of them, or has more than one value a row."""
    types = {field.name: field.type for field in shown if field.name not in (FILE_COLUMN, ROW_COLUMN)}
    for name in columns:
        if name not in types:
            problem = no_column(name, list(types))
            raise QueryProblem("facet", problem.message, problem.remedy)
        if is_list(types[name]) or has_structure(types[name]):
            message = f"There is no facet of `{name}`, which is {type_name(types[name])}."
            raise QueryProblem("facet", message, "Name a column that has one value a row.")


def counted(
    batches: Iterable[pa.RecordBatch], primary_key: Sequence[str], columns: Sequence[str], reach: pa.Array
) -> tuple[dict[str, Facet], pa.Array]:
    """The facets, and the keys of the rows that were counted, a string array.

    batches: the columns of keys, and of each facet under its `facet_name`; reach: keys of the only rows that count.
    """
    names = [facet_name(number) for number in range(len(columns))]
    kept: list[pa.Table] = []
    for batch in batches:
        rows = pa.Table.from_batches([batch]).select(names)
        kept.append(rows.cast(plain_schema(rows.schema)).add_column(0, "key", row_keys(batch, primary_key)))
    if not kept:
        return dict.fromkeys(columns, Facet((), 0, 0)), pa.array([], pa.string())
    rows = pa.concat_tables(kept)
    rows = rows.filter(pc.is_in(rows["key"], value_set=reach))  # once: each call makes a hash table of all keys
    facets = {column: _facet(rows[name]) for column, name in zip(columns, names, strict=True)}
    return facets, rows["key"].combine_chunks()


def _facet(column: pa.ChunkedArray) -> Facet:
    if pa.types.is_floating(column.type):  # JSON has but null for what is not finite; a zero may have a sign
        column = pc.add(pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type)), pa.scalar(0, column.type))
    found = pc.value_counts(column)
    counts = pa.table({"value": found.field("values"), "count": found.field("counts")})
    order = pc.sort_indices(counts, sort_keys=[("count", "descending"), ("value", "ascending")])
    most = json_rows(counts.take(order[:MOST_VALUES]))
    return Facet(tuple((one["value"], one["count"]) for one in most), len(column), len(counts))
