"""Rows of a source that is no file, as quarantine keeps them: texts that can be judged again, since no second read finds them as they were.

A text is a JSON object of all columns, each value as exactly as JSON has it or else as a string; a value that was none of its column's type
is there as the source gave it. `SetAside` reads such texts back as rows, for a read that does not bring them itself. Next: `kept_rows.py`.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from engines.files.arrow_values import as_json
from engines.files.source import ColumnPlan, Misfit
from engines.files.types import arrow_type

BATCH_ROWS = 8_192
_UNREADABLE = (ValueError, TypeError, OverflowError, InvalidOperation, pa.ArrowException)


def row_text(batch: pa.RecordBatch, row: int, unfit: Mapping[str, object]) -> str:
    """A row of a batch. unfit: its values that are none of their columns' types, by column."""
    columns = zip(batch.schema.names, batch.columns, strict=True)
    values = {name: unfit[name] if name in unfit else _finite(as_json(column[row])) for name, column in columns}
    return orjson.dumps(values, default=str).decode()


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return [_finite(part) for part in value] if isinstance(value, list) else value


class SetAside:
    """The rows of ledgers, see `source.RowReading`. `lines`: where those of the last batch stood in the read that brought them."""

    def __init__(self, ledgers: Sequence[Path], *, current: bool = True) -> None:
        """ledgers: as `quarantine.py` writes them, of one shape. current: by what other datasets hold now."""
        self._ledgers, self._current = tuple(ledgers), current
        self.lines: list[int | None] = []

    def guesses(self) -> Mapping[str, tuple[str, str]]:
        """The names alone tell something: the types are the table's."""
        for _, values in self._rows():
            return dict.fromkeys(values, ("string", "set aside before"))
        return {}

    def batches(self, plans: Mapping[str, ColumnPlan]) -> Iterator[pa.RecordBatch]:
        """A column that a text lacks is null. Raises Misfit."""
        rows, first = self._rows(), 0
        while chunk := list(islice(rows, BATCH_ROWS)):
            self.lines = [line for line, _ in chunk]
            columns = [_column([values.get(name) for _, values in chunk], plan, first) for name, plan in plans.items()]
            yield pa.RecordBatch.from_arrays(columns, names=list(plans))
            first += len(chunk)

    def line_of(self, row: int) -> int | None:
        """Each is of a read of its own."""
        return None

    def progress(self) -> int:
        """They are few."""
        return 0

    def notes(self) -> tuple[str, ...]:
        """Nothing is found out."""
        return ()

    def holds(self, rows: Iterable[tuple[str, str, str]]) -> bool:
        """Whether these (rule, reason, text), in any order, are what one ledger keeps."""
        if not self._current or len(self._ledgers) != 1:
            return False
        with pq.ParquetFile(self._ledgers[0]) as file:
            batches = file.iter_batches(BATCH_ROWS, columns=["rule", "reason", "text"])
            kept = _sum(row for batch in batches for row in zip(*(column.to_pylist() for column in batch.columns), strict=True))
        return kept == _sum(rows)

    def _rows(self) -> Iterator[tuple[int | None, dict[str, Any]]]:
        for path in self._ledgers:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(BATCH_ROWS, columns=["line", "text"]):
                    yield from zip(batch.column("line").to_pylist(), map(orjson.loads, batch.column("text").to_pylist()), strict=True)


def _sum(rows: Iterable[tuple[str, ...]]) -> int:
    """Of a number for each row, which tells sets of rows apart."""
    return sum(int.from_bytes(hashlib.blake2b(orjson.dumps(row), digest_size=16).digest()) for row in rows)


def _column(values: list[Any], plan: ColumnPlan, first: int) -> pa.Array:
    """first: the row of the first value."""
    target, read = arrow_type(plan.type), _reader(plan.type)
    try:
        return pa.array([None if value is None else read(value) for value in values], target)
    except _UNREADABLE:  # one of them: it is looked for
        return _one_by_one(values, plan, first, target, read)


def _one_by_one(values: list[Any], plan: ColumnPlan, first: int, target: pa.DataType, read: Callable[[Any], Any]) -> pa.Array:
    found: list[pa.Array] = []
    for at, value in enumerate(values):
        try:
            found.append(pa.array([None if value is None else read(value)], target))
        except _UNREADABLE:
            if plan.aside is None:
                raise Misfit(plan, value, None, first + at) from None
            plan.aside(first + at, value)
            found.append(pa.nulls(1, target))
    return pa.concat_arrays(found) if found else pa.array([], target)


def _reader(kind: str) -> Callable[[Any], Any]:
    """What makes a value of JSON one that Arrow takes for the type; raises one of _UNREADABLE."""
    if kind.startswith("list<"):
        inner = _reader(kind.removeprefix("list<").removesuffix(">").strip())
        return lambda value: [None if part is None else inner(part) for part in _of(list, value)]
    return _READERS.get(kind, _decimal)


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(value)
    return value


def _float(value: Any) -> float:
    if type(value) not in (int, float) and value not in ("nan", "inf", "-inf"):
        raise TypeError(value)
    return float(value)


def _decimal(value: Any) -> Decimal:
    found = Decimal(_of(str, value))
    if not found.is_finite():
        raise ValueError(value)
    return found


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "string": lambda value: value if isinstance(value, str) else orjson.dumps(value).decode(),
    "bool": lambda value: _of(bool, value),
    "int64": lambda value: _of(int, value),
    "float64": _float,
    "date": lambda value: date.fromisoformat(_of(str, value)),
    "timestamp": lambda value: datetime.fromisoformat(_of(str, value)).replace(tzinfo=None),
    "binary": lambda value: base64.b64decode(_of(str, value), validate=True),
}
