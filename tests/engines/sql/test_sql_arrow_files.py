"""Arrow files that are mapped: the same rows, and buffers where Rust need not copy them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from engines.sql.arrow_files import BATCH_ROWS, mapped, write_arrow

ROWS = 2 * BATCH_ROWS + 4_001
SCHEMA = pa.schema(
    [("text", pa.string_view()), ("number", pa.int64()), ("flag", pa.bool_()), ("short", pa.string_view()), ("again", pa.string_view())]
)


def rows(count: int) -> pa.Table:
    """Long texts and nulls, so that every kind of buffer has a length of its own."""
    return pa.table(
        {
            "text": pa.array([f"a text of {n} that is kept beside its view" if n % 3 else None for n in range(count)], pa.string()),
            "number": np.arange(count),
            "flag": pa.array([n % 2 == 0 for n in range(count)], pa.bool_()),
            "short": pa.array(["x"] * count, pa.string()),
            "again": pa.array([f"another of {n} that is kept beside its view" for n in range(count)], pa.string()),
        }
    )


def amiss(batch: pa.RecordBatch) -> list[str]:
    """Columns of views that do not begin at a multiple of 16 bytes."""
    views = (name for name in batch.schema.names if batch.schema.field(name).type == pa.string_view())
    return [name for name in views if batch.column(name).buffers()[1].address % 16]


@pytest.mark.parametrize("columns", [SCHEMA.names, SCHEMA.names[::-1], SCHEMA.names[1:]])
def test_views_begin_where_they_need_not_be_copied(tmp_path: Path, columns: list[str]) -> None:
    table, schema = rows(ROWS).select(columns), pa.schema([SCHEMA.field(name) for name in columns])
    write_arrow(tmp_path / "t.arrow", schema, table.to_batches(max_chunksize=10_000))
    reader = mapped(tmp_path / "t.arrow")
    batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
    assert [batch.num_rows for batch in batches] == [BATCH_ROWS, BATCH_ROWS, 4_001]
    assert [amiss(batch) for batch in batches] == [[], [], []]
    found = pa.Table.from_batches(batches)
    found.validate(full=True)
    assert found.cast(table.schema).equals(table)


@pytest.mark.parametrize("count", [0, 1, 2_000])
def test_lists_and_few_rows_are_as_they_were(tmp_path: Path, count: int) -> None:
    table = rows(count).append_column("list", pa.array([[n] * (n % 3) for n in range(count)], pa.list_(pa.int64())))
    schema = SCHEMA.append(table.schema.field("list"))
    write_arrow(tmp_path / "t.arrow", schema, table.to_batches())
    assert mapped(tmp_path / "t.arrow").read_all().cast(table.schema).equals(table)
