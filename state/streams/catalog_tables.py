"""The catalog as tables: what each `system.*` table of the catalog holds, as rows of plain values.

Pure: states and log entries in, tuples out, one value a column. Values of rows (least and greatest keys, statistics of columns) are left
out on purpose: these tables are open to readers from whom the rows themselves are hidden. `system.columns` alone tells some, of columns
that hold nothing sensitive, in datasets that no policy governs; `state/descriptions.py` decides that. `tables.py` writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from state.catalog.entry import Entry
from state.catalog.fold import ObjectState
from state.catalog.log import Unreadable
from state.catalog.records import IndexRecord, Table
from state.descriptions import Describe
from state.lineage import edges
from state.streams.schemas import StreamColumn, columns

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class CatalogTable:
    """A table over the objects of one kind, or of all (None). `rows` gives what one object contributes, given who describes datasets."""

    name: str
    summary: str
    kind: str | None
    columns: tuple[StreamColumn, ...]
    rows: Callable[[ObjectState, Describe], Iterable[Row]]


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()


def _tables(state: ObjectState) -> Iterator[Table]:
    if state.table is not None:
        yield state.table


def _indexes(state: ObjectState) -> Iterator[IndexRecord]:
    if state.index is not None:
        yield state.index


def _objects(state: ObjectState) -> Iterator[Row]:
    managed, held = state.managed, state.suspended
    yield (
        state.object,
        state.object.partition("/")[0],
        state.name,
        managed is not None,
        managed.spec_digest if managed else None,
        managed.deletion if managed else None,
        state.retained,
        held is not None,
        held.by if held else None,
        held.why if held else None,
        held.until if held else None,
        _json({plan: approval.by for plan, approval in state.approvals.items()}),
    )


def _datasets(state: ObjectState, describe: Describe) -> Iterator[Row]:
    for table in _tables(state):
        told = describe(state)
        present = sum(binding.present for binding in table.bindings.values())
        yield (
            table.name,
            table.name.replace("-", "_"),
            table.version,
            table.rows,
            len(table.files),
            table.size,
            len(table.columns),
            table.bucket,
            _json(table.primary_key),
            table.write,
            present,
            len(table.refusals),
            table.schema.id,
            table.snapshot,
            table.transformation,
            table.retained,
            None if table.origin is None else _json(_without_values(table.origin.to_dict())),
            told.owner,
            told.description,
            told.drafted,
            _json(told.tags),
            _json(told.sensitivity),
        )


def _files(state: ObjectState) -> Iterator[Row]:
    for table in _tables(state):
        paths: dict[str, list[str]] = {}
        for binding in table.bindings.values():
            paths.setdefault(binding.digest, []).append(binding.path)
        for position, file in enumerate(table.files):
            yield (
                table.name,
                position,
                file.role,
                file.sequence,
                file.rows,
                file.ref.bucket,
                file.ref.key,
                file.ref.size,
                file.ref.sha256,
                file.source,
                _json(sorted(paths.get(file.source, []))),
                file.first_row,
                file.schema_id,
            )


def _versions(state: ObjectState) -> Iterator[Row]:
    for table in _tables(state):
        for then in table.history():
            yield (table.name, then.version, then.at or None, then.rows, len(then.files), then.schema.id)


def _columns(state: ObjectState, describe: Describe) -> Iterator[Row]:
    for table in _tables(state):
        for position, (column, told) in enumerate(zip(table.columns, describe(state).columns, strict=True)):
            names = {schema.id: found.name for schema in table.schemas for found in schema.columns if found.id == column.id}
            seen = (file.columns.get(names.get(file.schema_id, "")) for file in table.files)
            nulls = [stats.nulls for stats in seen if stats is not None]
            yield (
                table.name,
                position,
                column.name,
                column.type,
                column.id,
                table.schema.id,
                sum(nulls) if nulls else None,
                told.description,
                _json(told.sensitivity),
                told.evidence,
                told.null_share,
                told.distinct,
                None if told.low is None else str(told.low),
                None if told.high is None else str(told.high),
                _json(told.examples),
            )


def _lineage(state: ObjectState) -> Iterator[Row]:
    for edge in edges(state):
        yield (*edge[:4], _json(edge.detail), edge.version, edge.at)
        for position, column in enumerate(table.columns):
            names = {schema.id: found.name for schema in table.schemas for found in schema.columns if found.id == column.id}
            told = (file.columns.get(names.get(file.schema_id, "")) for file in table.files)
            nulls = [stats.nulls for stats in told if stats is not None]
            yield (table.name, position, column.name, column.type, column.id, table.schema.id, sum(nulls) if nulls else None)
