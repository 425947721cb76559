"""SQL conditions over rows that are not in a table yet: which rows of a batch break them. Blocking.

A condition is one boolean expression over the row's own columns. What would make its answer depend on anything else is refused when it is
read: subqueries, aggregates, windows, parameters, and functions that answer differently each time. As in SQL's CHECK, a condition that is
null holds. A value that a condition cannot be computed for (a cast that fails, a division by zero) breaks it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from datafusion import DataFrame, Expr, SessionConfig, SessionContext

from engines.errors import QueryInvalid
from engines.sql.growth import MOST, excess
from engines.sql.problems import CATALOG, translate
from specs.sql_names import words_of

_ROW = "row"
_CLOSED = frozenset({"ScalarSubquery", "Exists", "InSubquery", "AggregateFunction", "WindowFunction", "Placeholder", "Wildcard"})
FICKLE = frozenset({"now", "current_timestamp", "current_date", "current_time", "today", "random", "uuid"})
_QUALIFIED = re.compile(rf"\b{_ROW}\.(?=[\w\"])")
MOST_ERRORS = 256
"""Rows for which a condition could not be computed, each found by halving; beyond that the condition is at fault."""


@dataclass(frozen=True, slots=True)
class Broken:
    """Rows of a batch that break one condition. errors: why it could not be computed, by row, for those of them where that is so."""

    rows: npt.NDArray[np.int64]
    errors: Mapping[int, str] = field(default_factory=dict)


class RowChecks:
    """Conditions, prepared for batches of one schema. Not thread-safe."""

    def __init__(self, conditions: Sequence[str], schema: pa.Schema) -> None:
        """Raises QueryInvalid for one that is no condition over these columns."""
        self._context = SessionContext(SessionConfig().with_target_partitions(1).with_default_catalog_and_schema(CATALOG, "public"))
        self._conditions = tuple(conditions)
        self._errors = 0
        blank = self._frame(pa.RecordBatch.from_pylist([], schema))
        for condition in conditions:
            _check(blank, condition)

    def broken(self, batch: pa.RecordBatch) -> list[Broken]:
        """One answer a condition. Raises QueryInvalid where too many rows cannot be judged."""
        try:
            columns = self._answers(batch, self._conditions)
        except Exception:  # noqa: BLE001 - DataFusion's, of which there is but one kind; found again below, with the row
            return [self._closely(batch, condition) for condition in self._conditions]
        return [Broken(_false(column)) for column in columns]

    def _answers(self, batch: pa.RecordBatch, conditions: Sequence[str]) -> list[Any]:
        frame = self._frame(batch)
        chosen = frame.select(*[frame.parse_sql_expr(condition).alias(f"c{number}") for number, condition in enumerate(conditions)])
        table = pa.Table.from_batches(chosen.collect(), schema=chosen.schema())
        return list(table.columns)

    def _closely(self, batch: pa.RecordBatch, condition: str) -> Broken:
        """By halves, so that only the rows at fault are answered with an error."""
        rows: list[npt.NDArray[np.int64]] = []
        errors: dict[int, str] = {}
        waiting = [(0, batch.num_rows)]
        while waiting:
            first, count = waiting.pop()
            try:
                rows.append(_false(self._answers(batch.slice(first, count), (condition,))[0]) + first)
            except Exception as error:
                if count > 1:
                    half = count // 2
                    waiting += [(first + half, count - half), (first, half)]
                    continue
                self._errors += 1
                errors[first] = _plain(error)
                rows.append(np.array([first]))
                if self._errors > MOST_ERRORS:
                    raise _refused(condition, f"cannot be computed for many rows: {errors[first]}") from error
        return Broken(np.concatenate(rows), errors)

    def _frame(self, batch: pa.RecordBatch) -> DataFrame:
        self._context.deregister_table(_ROW)
        return self._context.from_arrow(pa.Table.from_batches([batch]), _ROW)


def _check(blank: DataFrame, condition: str) -> None:
    try:
        expression = blank.parse_sql_expr(condition)
        _walk(condition, expression)
        if function := excess(expression):
            raise _refused(condition, f"may make more than {MOST:,} times its row of it by {function}()")
        answer = blank.select(expression.alias("c"))
        kind = answer.schema().field(0).type
        answer.collect()
    except QueryInvalid:
        raise
    except Exception as error:
        problem = translate(error)
        if problem.problem == "unknown-table":
            raise _refused(condition, f"reads the table `{problem.message}`, and looks beyond the row") from error
        raise _refused(condition, f"is no condition here: {_plain(error)}") from error
    if not pa.types.is_boolean(kind):
        raise _refused(condition, f"is {kind}, not true or false")


def check_alone(condition: str) -> None:
    """Without any rows: whatever it names is a column, and types say nothing. Raises QueryInvalid for what can be no condition at all."""
    names = {word: pa.nulls(0) for found in words_of(condition) for word in (found, found.lower())}
    blank = SessionContext().from_arrow(pa.table({_ROW: pa.nulls(0), **names}))
    try:
        _walk(condition, blank.parse_sql_expr(condition))
    except QueryInvalid:
        raise
    except Exception as error:
        if any(sign in str(error) for sign in ("ParserError", "Invalid function")):
            raise _refused(condition, f"is no condition: {_plain(error)}") from error


def _walk(condition: str, expression: Expr) -> None:
    """Raises QueryInvalid for what depends on more than the row."""
    kind = expression.variant_name()
    if kind in _CLOSED:
        raise _refused(condition, "looks beyond the row: subqueries, aggregates, windows and parameters are not for checks")
    if kind in ("Column", "Literal"):
        return
    if kind == "ScalarFunction" and expression.rex_call_operator() in FICKLE:
        raise _refused(condition, f"calls {expression.rex_call_operator()}(), so that the same row may fit now and not later")
    for operand in expression.rex_call_operands():
        _walk(condition, operand)


def _false(column: Any) -> npt.NDArray[np.int64]:
    return np.asarray(pc.indices_nonzero(pc.invert(column)), np.int64)


def _plain(error: Exception) -> str:
    problem = translate(error)
    return _QUALIFIED.sub("", f"{problem.message.rstrip('.')}. {problem.remedy or ''}".strip().removesuffix("."))


def _refused(condition: str, reason: str) -> QueryInvalid:
    return QueryInvalid(f"the check `{condition}` {reason}", remedy="Correct it in `contract.checks`.")
