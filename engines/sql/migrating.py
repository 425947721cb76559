"""A migration tried on the rows there are, before any reader sees it: what types its expressions have, and whether it fits every row.

It reads only what its casts and expressions need, in files that were written before, and writes nothing. A cast fits where reading a value
as the new type and writing it again gives the value back; an expression where it gives a value. The first row that does not fit is named by
file and key. Next: `controllers/dataset/evolving.py`, which decides; `readings.py`, which says how rows are read from then on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datafusion import DataFrame, SessionConfig, SessionContext

from engines.errors import EngineUnsupported
from engines.files.conversion import Unfit, convert
from engines.files.journal import as_text, differ
from engines.files.types import arrow_type, from_arrow
from engines.migrations import Part
from engines.row_keys import FILE_COLUMN, ROW_COLUMN
from engines.sensitivity.shown import shown
from engines.sql.growth import MOST, excess
from engines.sql.problems import QueryProblem, translate, translated
from engines.sql.projection import projected_rows, view_schema
from engines.sql.readings import Reading

BATCH_ROWS = 64 * 1024
_ROW = "row"
_CHANGING = re.compile(r"\b(random|uuid|now|current_date|current_time|current_timestamp|today)\(")
_PLAN = ("Projection:", "TableScan:", "EmptyRelation:")


@dataclass(frozen=True, slots=True)
class Rows:
    """A file to try it on. shown: as the operator calls it; reading: how it is brought under the columns that the migration is over."""

    path: str
    shown: str
    reading: Reading | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {"path": self.path, "shown": self.shown, "reading": self.reading and self.reading.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError for what `to_dict` does not make."""
        reading = data["reading"]
        return cls(data["path"], data["shown"], None if reading is None else Reading.from_dict(reading))


@dataclass(frozen=True, slots=True)
class MigrateTask:
    """columns: (name, type) that the migration is over; parts: what it makes of them; key: the primary key, by the former names."""

    dataset: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]
    parts: tuple[Part, ...]
    files: tuple[Rows, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {
            "dataset": self.dataset,
            "columns": [list(column) for column in self.columns],
            "key": list(self.key),
            "parts": [asdict(part) for part in self.parts],
            "files": [rows.to_dict() for rows in self.files],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError for what `to_dict` does not make."""
        columns = tuple((name, kind) for name, kind in data["columns"])
        parts, files = (tuple(Part.from_dict(part) for part in data["parts"]), tuple(Rows.from_dict(rows) for rows in data["files"]))
        return cls(data["dataset"], columns, tuple(data["key"]), parts, files)


@dataclass(frozen=True, slots=True)
class Tried:
    """types: of the columns whose expression alone knew. fault: why it does not fit, a sentence; None where it does."""

    types: Mapping[str, str]
    fault: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {"types": dict(self.types), "fault": self.fault}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError for what `to_dict` does not make."""
        return cls(data["types"], data["fault"])


class RowUnfit(Exception):
    """index: of the row, from 0; reason: of the misfit, a clause that names column and value."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(index, reason)
        self.index = index
        self.reason = reason


def run(arguments: Mapping[str, Any], progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """What the job does: a `MigrateTask` in, a `Tried` out, both as JSON. Blocking. Raises what reading a file raises."""
    task = MigrateTask.from_dict(arguments)
    try:
        types = types_of(task.parts, task.columns)
    except ValueError as error:
        return Tried({}, str(error)).to_dict()
    sizes = [Path(rows.path).stat().st_size for rows in task.files]
    for number, rows in enumerate(task.files):
        fault = next(faults(task, rows), None)
        if fault is not None:
            return Tried(types, fault).to_dict()
        if progress is not None:
            progress(sum(sizes[: number + 1]), sum(sizes))
    return Tried(types).to_dict()


def types_of(parts: Sequence[Part], columns: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Of each part that does not know its own. Raises ValueError with a sentence for what is no expression over single rows."""
    frame = SessionContext().from_arrow(view_schema(columns).empty_table(), _ROW)
    return {part.name: _type_of(part, frame) for part in parts if part.computed}


def _type_of(part: Part, frame: DataFrame) -> str:
    where = f"the expression of `{part.name}`"
    try:
        parsed = frame.parse_sql_expr(part.sql)
        chosen = frame.select(parsed.alias(part.name))
        lines = chosen.logical_plan().display_indent().splitlines()
        if any(not line.strip().startswith(_PLAN) for line in lines):
            raise ValueError(f"{where} looks beyond its row: windows, subqueries and `unnest` are not allowed")
        if found := _CHANGING.search(parsed.canonical_name().lower()):
            raise ValueError(f"{where} calls {found[1]}(), which gives something else each time")
        if function := excess(parsed):
            raise ValueError(f"{where} may make more than {MOST:,} times its row of it by {function}()")
        chosen.collect()
        kind = chosen.schema().field(0).type
    except ValueError:
        raise
    except Exception as error:
        if "AggregateFunction" in str(error):
            raise ValueError(f"{where} looks beyond its row: it aggregates") from error
        problem = translate(error)
        message = "it may not read tables" if problem.problem == "unknown-table" else problem.message.rstrip(".")
        said = " ".join(filter(None, (message + ".", problem.remedy)))
        raise ValueError(f"{where}: {said.replace(f'{_ROW}.', '')}".rstrip(".")) from error
    return part.type or _ours(kind, where)


def _ours(kind: pa.DataType, where: str) -> str:
    found = from_arrow(kind)
    if found == "string" and not (pa.types.is_string(kind) or pa.types.is_string_view(kind) or pa.types.is_large_string(kind)):
        raise ValueError(f"{where} gives {kind}, which no column can be; cast it, as in CAST(… AS VARCHAR)")
    return found


def faults(task: MigrateTask, rows: Rows) -> Iterator[str]:
    """Rows of a file that do not fit, in words; of several faults of one row, one."""
    if not any(part.computed or part.cast for part in task.parts):
        return
    before = 0
    for batch in _batches(task, rows):
        for unfit in unfit_rows(batch, task.parts, task.columns):
            yield f"{_row_name(batch, unfit.index, before, task.key)} of {rows.shown}: {unfit.reason}"
        before += batch.num_rows


def unfit_rows(rows: pa.Table, parts: Sequence[Part], columns: Sequence[tuple[str, str]]) -> Iterator[RowUnfit]:
    """One after the other; the first is found without looking at those after it."""
    begun = 0
    while begun < rows.num_rows:
        try:
            try_rows(rows.slice(begun), parts, columns)
        except RowUnfit as unfit:
            yield RowUnfit(begun + unfit.index, unfit.reason)
            begun += unfit.index + 1
        else:
            return


def _batches(task: MigrateTask, rows: Rows) -> Iterator[pa.Table]:
    """The rows in the columns that the migration is over: those that are needed, and what names a row."""
    names = [name for name, _ in task.columns]
    if not any(part.computed for part in task.parts):
        casts = {part.cast for part in task.parts}
        names = [name for name in names if name in casts or name in task.key]
    hidden = [] if task.key else [FILE_COLUMN, ROW_COLUMN]
    schema = view_schema([(name, kind) for name, kind in task.columns if name in names])
    with pq.ParquetFile(rows.path, pre_buffer=False) as file:
        there = set(file.schema_arrow.names)
        wanted = None if rows.reading is not None else [name for name in (*names, *hidden) if name in there]
        for batch in file.iter_batches(BATCH_ROWS, columns=wanted):
            found = pa.Table.from_batches([batch])
            if rows.reading is not None:
                found = projected_rows(found, rows.reading, view_schema(task.columns), [name for name in hidden if name in there])
            yield _filled(found, schema, hidden)


def _filled(rows: pa.Table, schema: pa.Schema, hidden: Sequence[str]) -> pa.Table:
    there, count = set(rows.column_names), rows.num_rows
    columns = {field.name: rows[field.name].cast(field.type) if field.name in there else pa.nulls(count, field.type) for field in schema}
    return pa.table(columns | {name: rows[name] for name in hidden if name in there})


def _row_name(rows: pa.Table, index: int, before: int, key: Sequence[str]) -> str:
    """By its key, or by its number in the source."""
    if not key:
        number = rows[ROW_COLUMN][index].as_py() if ROW_COLUMN in rows.column_names else before + index
        return f"row {number + 1}"
    values = [as_text(rows[name].slice(index, 1).combine_chunks().cast(_plain(rows[name].type)))[0].as_py() for name in key]
    return f"row {', '.join(map(str, values))}"


def _plain(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_string_view(kind) else kind


def try_rows(rows: pa.Table, parts: Sequence[Part], columns: Sequence[tuple[str, str]]) -> None:
    """Raises RowUnfit for the first row that a cast loses something of, or an expression fails on. rows: as far as they are needed."""
    kinds = dict(columns)
    found: list[RowUnfit] = []
    for part in parts:
        if part.cast is not None and part.type is not None:
            found += _lost(rows[part.cast].combine_chunks(), kinds[part.cast], part)
    first = min(found, key=lambda unfit: unfit.index, default=None)
    computed = [part for part in parts if part.computed]
    before = rows if first is None else rows.slice(0, first.index)
    if computed and before.num_rows:
        _try_expressions(before, computed)
    if first is not None:
        raise first


def _lost(column: pa.Array, source: str, part: Part) -> list[RowUnfit]:
    assert part.type is not None
    index = first_loss(column.cast(arrow_type(source)), part.type)
    if index is None:
        return []
    value = shown(part.cast or "", as_text(column.slice(index, 1).cast(arrow_type(source)))[0].as_py())
    return [RowUnfit(index, f"`{part.cast}` is {value}, which is no {part.type} without loss")]


def first_loss(column: pa.Array, target: str) -> int | None:
    """The first value that is another one, or none, as a value of the target type."""
    kind = arrow_type(target)
    if target == "string" and not pa.types.is_binary(column.type):
        return None
    if pa.types.is_string(column.type):
        try:
            convert(column, target, strict=True)
        except Unfit as unfit:
            return unfit.index
        except EngineUnsupported:
            return 0
        return None
    try:
        there = _cast(column, kind)
        lost = differ(there.cast(column.type, safe=False), column)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return _first(column, kind)
    where = pc.indices_nonzero(lost)
    return int(where[0].as_py()) if len(where) else None


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_integer(column.type) and pa.types.is_decimal(kind):
        # Arrow asks for room for any integer; from a decimal it looks at the values
        column = pc.cast(column, pa.decimal128(38, min(kind.scale, 19)))
    return pc.cast(column, kind, safe=pa.types.is_decimal(kind))  # only a safe cast minds a decimal's digits


def _first(column: pa.Array, kind: pa.DataType) -> int | None:
    for index in range(len(column)):
        try:
            one = column.slice(index, 1)
            if differ(_cast(one, kind).cast(column.type, safe=False), one)[0].as_py():
                return index
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return index
    return None


def _try_expressions(rows: pa.Table, parts: Sequence[Part]) -> None:
    problem = _problem(rows, parts)
    if problem is None:
        return
    low, high = 0, rows.num_rows
    while high - low > 1:
        middle = (low + high) // 2
        found = _problem(rows.slice(low, middle - low), parts)
        low, high, problem = (low, middle, found) if found is not None else (middle, high, problem)
    for part in parts:
        found = _problem(rows.slice(low, 1), [part])
        if found is not None:
            raise RowUnfit(low, f"the expression of `{part.name}` fails: {found.message.rstrip('.')}")
    raise RowUnfit(low, f"an expression fails: {problem.message.rstrip('.')}")


def _problem(rows: pa.Table, parts: Sequence[Part]) -> QueryProblem | None:
    frame = SessionContext(SessionConfig().with_target_partitions(1)).from_arrow(rows)
    try:
        with translated():
            for _ in frame.select(*(frame.parse_sql_expr(part.sql).alias(part.name) for part in parts)).execute_stream():
                pass
    except QueryProblem as problem:
        return problem
    return None
