"""Rows of every schema under every other: what expressions and ids make of them, against a model of plain rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.files.types import arrow_type
from engines.migrations import draft, schema_of
from engines.sql.projection import projected_rows, view_schema
from engines.sql.readings import readable_under, reading, under
from specs.kinds.dataset_rules import Migration
from state.catalog.schemas import Column, Schema, extend_schema
from state.catalog.tables import Table

OPERATIONS = st.lists(st.tuples(st.sampled_from(["add", "rename", "drop", "cast", "compute"]), st.integers(0, 9)), max_size=4)


@dataclass
class World:
    """A table's schemas, and what each step does to a row (column id -> value)."""

    schemas: tuple[Schema, ...] = (Schema(1, (Column(1, "a", "int64"), Column(2, "b", "int64"))),)
    count: int = 2

    def __post_init__(self) -> None:
        self.steps: list[tuple[int, Any]] = []

    def step(self, kind: str, choice: int) -> None:
        present = self.schemas[-1]
        column = present.columns[choice % len(present.columns)]
        self.count += 1
        name, said = f"c{self.count}", None
        known = max(column.id for schema in self.schemas for column in schema.columns) + 1
        if kind == "add":
            self.schemas += (extend_schema(present, [(name, "int64")], known, schema_id=present.id + 1),)
            self.steps.append((present.id + 1, lambda row: row))
            return
        if kind == "rename":
            said, effect = {"rename": {column.name: name}}, lambda row: row
        elif kind == "drop" and len(present.columns) > 1:
            said, effect = {"drop": [column.name]}, lambda row: {id_: value for id_, value in row.items() if id_ != column.id}
        elif kind == "cast":
            said = {"cast": {column.name: "string"}}
            effect = lambda row: {**row, column.id: None if row.get(column.id) is None else str(row[column.id])}  # noqa: E731
        else:
            said = {"expression": {name: f"concat('x', CAST({column.name} AS VARCHAR))"}}
            effect = lambda row: {**row, known: f"x{'' if row.get(column.id) is None else row[column.id]}"}  # noqa: E731
        parts = draft(Migration.model_validate({"from": present.id, **said}), present, ())
        self.schemas += (schema_of(parts, {name: "string"}, present, known, present.id + 1, ()),)
        self.steps.append((present.id + 1, effect))

    def expected(self, schema: Schema, row: dict[int, Any], wanted: Schema) -> dict[str, Any]:
        if wanted.id >= schema.id:
            for number, effect in self.steps:
                row = effect(row) if schema.id < number <= wanted.id else row
            return {column.name: row.get(column.id) for column in wanted.columns}
        types = {column.id: column.type for column in schema.columns}
        found = {column.name: row.get(column.id) for column in wanted.columns}
        for column in wanted.columns:
            if found[column.name] is not None and types[column.id] != column.type:
                found[column.name] = int(found[column.name])
        return found


def written(schema: Schema, seed: int) -> dict[int, Any]:
    return {column.id: None if (seed + column.id) % 4 == 0 else seed * 10 + column.id for column in schema.columns} | {
        column.id: f"{seed * 10 + column.id}" for column in schema.columns if column.type == "string"
    }


def read(world: World, schema: Schema, row: dict[int, Any], wanted: Schema) -> dict[str, Any]:
    given_columns = [(column.name, column.type) for column in schema.columns]
    arrays = [pa.array([row[column.id]], arrow_type(column.type)) for column in schema.columns]
    rows = pa.Table.from_arrays(arrays, names=[name for name, _ in given_columns])
    found = reading(world.schemas, schema.id, wanted)
    if found is None:  # by name, missing columns are null
        return {column.name: rows[column.name][0].as_py() if column.name in rows.column_names else None for column in wanted.columns}
    (only,) = projected_rows(rows, found, view_schema([(column.name, column.type) for column in wanted.columns])).to_pylist()
    return dict(only)


@settings(max_examples=12, deadline=None)
@given(operations=OPERATIONS)
def test_every_schema_under_every_other(operations: list[tuple[str, int]]) -> None:
    world = World()
    for kind, choice in operations:
        world.step(kind, choice)
    for number, schema in enumerate(world.schemas):
        row = written(schema, number + 1)
        for wanted in world.schemas:
            assert read(world, schema, row, wanted) == world.expected(schema, row, wanted), (schema, wanted)


def test_a_table_that_was_made_anew_is_not_read_under_what_it_was_before() -> None:
    first, second = Schema(1, (Column(1, "a", "int64"),)), Schema(2, (Column(2, "a", "int64"), Column(3, "b", "int64")))
    table = Table("t", 3, schemas=(first, second), primary_key=("a",))
    assert list(readable_under(table)) == [2]
    with pytest.raises(KeyError):
        under(table, 1)
    renamed = Schema(3, (replace(second.columns[0], name="key"), second.columns[1]))
    assert under(replace(table, schemas=(first, second, renamed), primary_key=("key",)), 2).primary_key == ("a",)
