"""Events as Parquet: the line of each as it was acknowledged, byte for byte, and beside it the stream's columns.

    line: binary        the event; what readers of events get back
    id, at, …           the declared columns of the day, as `system.*` has them, for SQL and for whoever opens the file elsewhere

Keeping the line costs half the file and spares every guess: columns that a later version adds, fields that this one does not
know, JSON as text, the order of fields and the spelling of numbers all come back. A file's columns are what it was written
with; where they are not today's, the rows are made of the lines again.

pyarrow is imported here: whoever may do without imports this late. Read next: `compaction.py`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from state.streams.arrow import arrow_schema, from_lines
from state.streams.schemas import StreamColumn

LINE = "line"
ROW_GROUP = 8192


def encode(lines: Sequence[bytes], columns: Sequence[StreamColumn]) -> bytes:
    """The object's bytes; for one version of pyarrow they depend on the arguments alone. lines: at least one, ordered by id."""
    table = from_lines(lines, columns).append_column(pa.field(LINE, pa.binary(), nullable=False), pa.array(lines, pa.binary()))
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=ROW_GROUP, compression="zstd", use_dictionary=_repeated(table))
    return sink.getvalue()


def _repeated(table: pa.Table) -> list[str]:
    """Columns of which a dictionary saves something: ids and lines are all different."""
    return [name for name in table.column_names if name not in ("id", LINE) and table[name].type != pa.float64()]


def records(data: bytes) -> list[tuple[str, bytes]]:
    """Each event's id and its line, in the order of the file. Raises ValueError."""
    table = _read(data, ["id", LINE])
    return list(zip(table["id"].to_pylist(), table[LINE].to_pylist(), strict=True))


def rows(data: bytes, columns: Sequence[StreamColumn]) -> pa.Table:
    """The events as these columns. Raises ValueError."""
    wanted = arrow_schema(columns)
    kept = [field for field in pq.read_schema(pa.BufferReader(data)) if field.name != LINE]
    if [(field.name, field.type) for field in kept] == [(field.name, field.type) for field in wanted]:
        return _read(data, wanted.names).cast(wanted)
    return from_lines(_read(data, [LINE])[LINE].to_pylist(), columns)


def disagreeing(data: bytes, columns: Sequence[StreamColumn]) -> list[str]:
    """Ids of the rows whose columns are not those of their lines. Raises ValueError."""
    table = _read(data, None)
    known = [column for column in columns if column.name in table.column_names]
    wanted = from_lines(table[LINE].to_pylist(), known)
    pairs = [(table[column.name], wanted[column.name]) for column in known]
    wrong = {at for one, other in pairs if not one.equals(other) for at in _differing(one, other)}
    found: list[str] = [str(table["id"][at]) for at in sorted(wrong)]
    return found


def _differing(one: pa.ChunkedArray, other: pa.ChunkedArray) -> list[int]:
    return [at for at, (a, b) in enumerate(zip(one.to_pylist(), other.to_pylist(), strict=True)) if a != b]


def _read(data: bytes, names: list[str] | None) -> pa.Table:
    """Raises ValueError for what is no such file."""
    try:
        return pq.read_table(pa.BufferReader(data), columns=names, use_threads=False)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise ValueError(str(error)) from error
