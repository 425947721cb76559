"""Derived datasets: the job that runs a query over other datasets and keeps its rows as a table. Blocking.

Which tables the statement touches is asked of the planner, as for every query; that the reader may see them was decided by whoever
resolved them (`deriving.py`). The job has a process of its own, where a statement that explodes takes nothing else along; what it spills
goes to a folder of the target's machine. Next: `session.py`, `engines/files/extract.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from engines.errors import SourceRefused, SourceUnavailable
from engines.files.arrow_values import as_json, check_years
from engines.files.conversion import salvage
from engines.files.extract import extract
from engines.files.ingest_task import Progress
from engines.files.source import ColumnPlan, Contradicted, Misfit
from engines.files.types import arrow_type, can_widen, from_arrow, has_structure, is_list
from engines.sql.deriving import DerivedTask
from engines.sql.problems import QueryProblem
from engines.sql.session import Session
from engines.sql.source import TableSource, source_from_dict
from state.buckets import job_store
from state.catalog.tables import Origin
from state.errors import DiskFull
from state.staging import scratch

MEMORY = 1 << 30
"""Bytes that the operators of a query may hold before they spill."""
_UNFIT = (pa.ArrowInvalid, pa.ArrowNotImplementedError)


def run(arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """A `DerivedTask` in, an `Extract` out, both as JSON. Raises SourceUnavailable and what storing raises."""
    task = DerivedTask.from_dict(arguments)
    origin = Origin(reads=task.sql, inputs=task.inputs)
    with scratch(job_store(task.rows.rows.target)) as folder:
        reading = QueryReading(Session(folder, MEMORY), task.sql, [source_from_dict(source) for source in task.sources])
        return extract(task.rows, reading, lambda: origin, progress).to_dict()


class QueryReading:
    """The rows of one statement; see `engines.files.source.Reading`. Raises SourceRefused for what the statement is not."""

    def __init__(self, session: Session, sql: str, sources: list[TableSource]) -> None:
        """sources: all that it may touch."""
        self._session, self._sql, self._sources = session, sql, sources
        self._rows = 0

    def guesses(self) -> Mapping[str, tuple[str, str]]:
        """By the statement's plan."""
        with _telling():
            self._check_names()
            with self._session.frame(self._sql, {}, self._sources) as frame:
                schema = frame.schema()
        return {field.name: (from_arrow(field.type), "the query gives it") for field in schema}

    def batches(self, plans: Mapping[str, ColumnPlan]) -> Iterator[pa.RecordBatch]:
        """See `Reading`. Misfits carry a row, no line."""
        self._rows = 0
        with _telling(), self._session.frame(self._sql, {}, self._sources) as frame:
            for field in frame.schema():
                _check(plans[field.name], from_arrow(field.type))
            for piece in frame.execute_stream():
                batch = piece.to_pyarrow()
                columns = [_fitted(batch.column(at), plans[name], self._rows) for at, name in enumerate(batch.schema.names)]
                self._rows += batch.num_rows
                if batch.num_rows:
                    yield pa.RecordBatch.from_arrays(columns, names=batch.schema.names)

    def line_of(self, row: int) -> int | None:
        """A result has no lines."""
        return None

    def notes(self) -> tuple[str, ...]:
        """Nothing is found out."""
        return ()

    def progress(self) -> int:
        """Rows."""
        return self._rows

    def _check_names(self) -> None:
        """What the words of the query do not show would not wake it."""
        unknown = [name for name in self._session.names(self._sql) if name not in {source.name for source in self._sources}]
        for name in unknown:
            if "." in name:
                raise SourceRefused(f"the query reads `{name}`", remedy="A derived dataset is made of datasets; name no system table.")
            remedy = "Name it after FROM or JOIN, without its schema, as a spec's name with underscores."
            raise SourceRefused(f"the query reads `{name}`, which is no dataset that it is known to refer to", remedy=remedy)


@contextmanager
def _telling() -> Iterator[None]:
    """Problems of queries as ours."""
    try:
        yield
    except QueryProblem as problem:
        if problem.problem == "disk":
            raise DiskFull("", "the query's scratch files") from problem
        if problem.problem == "storage":
            raise SourceUnavailable("the datasets", problem.message, remedy=problem.remedy) from problem
        message = f"there is no table `{problem.message}`" if problem.problem == "unknown-table" else problem.message
        raise SourceRefused(message, remedy=problem.remedy) from problem


def _check(plan: ColumnPlan, kind: str) -> None:
    if plan.word == "table" and not can_widen(kind, plan.type):
        remedy = f"Cast it in the query, or say `columns: {{{plan.name}: string}}` in the Dataset's spec."
        raise SourceRefused(f"column `{plan.name}` is {kind}, and {plan.type} is the table's type for it", remedy=remedy)


def _fitted(column: pa.Array, plan: ColumnPlan, row: int) -> pa.Array:
    """As the plan's type. Raises Misfit, Contradicted."""
    target = arrow_type(plan.type)
    try:
        return _as(column, target)
    except _UNFIT:
        if plan.aside is not None:
            fitted, places = salvage(len(column), lambda first, count: _as(column.slice(first, count), target), target, _UNFIT)
            for place in places:
                plan.aside(row + place, as_json(column[place]))
            return fitted
        index = next((at for at in range(len(column)) if not _fits(column.slice(at, 1), target)), 0)
    value = as_json(column[index])
    if plan.word == "guess" and plan.type != "string":
        raise Contradicted({plan.name: ("string", f"text, since {plan.type} cannot keep {value}")})
    raise Misfit(plan, value, None, row + index)


def _fits(column: pa.Array, target: pa.DataType) -> bool:
    try:
        _as(column, target)
    except _UNFIT:
        return False
    return True


def _as(column: pa.Array, target: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(target) and (has_structure(column.type) or is_list(column.type)):
        return pa.array([None if value is None else orjson.dumps(value).decode() for value in map(as_json, column)], target)
    fitted = column if column.type == target else pc.cast(column, target)
    check_years(fitted)
    return fitted
