"""Parquet files, a row group at a time.

The file says what its columns are; `types.py` says what a table calls that. Structs and maps become JSON text. A column that the table
knows under another type is taken if every value of the file's type is one of the table's, and refused otherwise, whatever the values:
`1.0` is no int64 today because `1.5` would be none tomorrow. Refuses files that are damaged, encrypted or none. Next: `types.py`,
`source.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engines.errors import FileUnreadable
from engines.files import inference
from engines.files.arrow_values import as_json, check_years
from engines.files.conversion import salvage
from engines.files.inference import Evidence
from engines.files.shapes import form
from engines.files.source import ColumnPlan, Contradicted, Misfit, PassedOver, SourceFile
from engines.files.types import arrow_type, can_widen, from_arrow, has_structure, is_list

BATCH_ROWS = 65_536
BATCH_BYTES = 16 << 20


class ParquetReading:
    """One file; see `source.Reading`."""

    def __init__(self, source: SourceFile) -> None:
        """Opens nothing yet."""
        self._source = source
        self._size = source.fingerprint().size
        self._share = 0.0
        self.passed_over = PassedOver()

    def guesses(self) -> Mapping[str, tuple[str, str]]:
        """By the file's own schema."""
        return {guess.name: (guess.type, guess.reason) for guess in inference.decide_all(self.evidence().items())}

    def evidence(self) -> Mapping[str, Evidence]:
        """What the file says about itself, by column. Raises FileRefused for two columns of one name."""
        with self._opened() as file:
            schema = file.schema_arrow
        for name, count in Counter(schema.names).items():
            if count > 1:
                raise self._source.refused(None, f"two columns are named `{name}`", remedy="Rename one of them.")
        found = {name: Evidence() for name in schema.names}
        for field in schema:
            found[field.name].add_type(from_arrow(field.type))
        return found

    def batches(self, plans: Mapping[str, ColumnPlan]) -> Iterator[pa.RecordBatch]:
        """See `source.Reading`. Misfits carry a row, no line. After the first contradiction the rest is only examined."""
        with self._opened() as file:
            self._check_types(file.schema_arrow, plans)
            found = self._too_narrow(file.schema_arrow, plans)
            row, total = 0, max(file.metadata.num_rows, 1)
            for batch in self._file_batches(file):
                columns = _columns(batch, plans, row, found)
                row += batch.num_rows
                self._share = row / total
                if not found:
                    yield pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
        if found:
            raise Contradicted(found)

    def originals(self, rows: Iterable[int]) -> Iterator[tuple[int | None, str]]:
        """See `source.Reading`."""
        with self._opened() as file:
            batches, first = self._file_batches(file), 0
            batch = next(batches, None)
            for row in rows:
                while batch is not None and row >= first + batch.num_rows:
                    first += batch.num_rows
                    batch = next(batches, None)
                assert batch is not None
                values = {name: as_json(column[row - first]) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
                yield None, orjson.dumps(values).decode()

    def line_of(self, row: int) -> int | None:
        """A Parquet file has no lines."""
        return None

    def progress(self) -> int:
        """By rows."""
        return int(self._size * self._share)

    def notes(self) -> tuple[str, ...]:
        """None: a Parquet file says what it is."""
        return ()

    def _file_batches(self, file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
        for group in range(file.metadata.num_row_groups):
            yield from file.iter_batches(_rows_at_once(file.metadata.row_group(group)), row_groups=[group])

    def _check_types(self, schema: pa.Schema, plans: Mapping[str, ColumnPlan]) -> None:
        for field in schema:
            plan, kind = plans[field.name], from_arrow(field.type)
            if plan.word == "table" and not pa.types.is_null(field.type) and not can_widen(kind, plan.type):
                remedy = f"Write it as {plan.type}, or say `columns: {{{plan.name}: {_common(kind, plan.type)}}}` in the Dataset's spec."
                raise self._source.refused(
                    None, f"column `{plan.name}` is {kind}, and {plan.type} is the table's type for it", remedy=remedy
                )

    def _too_narrow(self, schema: pa.Schema, plans: Mapping[str, ColumnPlan]) -> dict[str, tuple[str, str]]:
        """Guesses, made over other files, that the type here does not bear out, whatever the values."""
        kinds = {field.name: from_arrow(field.type) for field in schema if not pa.types.is_null(field.type)}
        return {
            name: (_common(kind, plans[name].type), f"the files say {kind} and {plans[name].type}")
            for name, kind in kinds.items()
            if plans[name].word == "guess" and not can_widen(kind, plans[name].type)
        }

    @contextmanager
    def _opened(self) -> Iterator[pq.ParquetFile]:
        try:
            # Without pre_buffer: it would hold what is read ahead of every row group.
            with pq.ParquetFile(self._source.path, pre_buffer=False) as file:
                yield file
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise FileUnreadable(self._source.shown, f"cannot be read: {error.strerror}") from error
            remedy = "Write the file again, whole and unencrypted."
            cause = " ".join(str(error).split()).rstrip(". ")
            raise self._source.refused(None, f"is no readable Parquet file: {cause}", remedy=remedy) from error


def _common(one: str, other: str) -> str:
    return "float64" if {one, other} == {"int64", "float64"} else "string"


def _rows_at_once(group: pq.RowGroupMetaData) -> int:
    """So many rows of a group that a batch keeps to BATCH_BYTES, whatever a row takes."""
    return max(1, min(BATCH_ROWS, int(BATCH_BYTES * group.num_rows / max(group.total_byte_size, 1))))


def _columns(batch: pa.RecordBatch, plans: Mapping[str, ColumnPlan], row: int, found: dict[str, tuple[str, str]]) -> list[pa.Array]:
    """The columns as their plans' types. A guess that a value contradicts is noted in `found`. Raises Misfit."""
    columns = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        plan = plans[name]
        if name in found:
            continue
        try:
            columns.append(_fitted(column, arrow_type(plan.type)))
        except _MISFITS:
            if plan.aside is not None:
                columns.append(_salvaged(column, plan, plan.aside, row))
                continue
            index = _first_unfit(column, plan)
            value = _shown(column[index])
            if plan.word != "guess" or plan.type == "string":
                raise Misfit(plan, value, None, row + index) from None
            found[name] = ("string", f"text, since {plan.type} cannot keep row {row + index + 1}, of the form {form(value)}")
    return columns


def _salvaged(column: pa.Array, plan: ColumnPlan, aside: Callable[[int, object], None], row: int) -> pa.Array:
    kind = arrow_type(plan.type)
    fitted, places = salvage(len(column), lambda first, count: _fitted(column.slice(first, count), kind), kind, _MISFITS)
    for place in places:
        aside(row + place, _shown(column[place]))
    return fitted


_MISFITS = (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError)


def _shown(value: pa.Scalar) -> object:
    try:
        return value.as_py()
    except (ValueError, OverflowError):  # nanoseconds, and years beyond 9999
        return as_json(value)


def _fitted(column: pa.Array, target: pa.DataType) -> pa.Array:
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(target) and (has_structure(column.type) or is_list(column.type)):
        return pa.array([None if value is None else orjson.dumps(value).decode() for value in map(as_json, column)], target)
    if pa.types.is_string(target) and pa.types.is_timestamp(column.type):
        check_years(column)  # Arrow has no text for such an instant
    fitted = column if column.type == target else pc.cast(column, target)
    check_years(fitted)
    return fitted


def _first_unfit(column: pa.Array, plan: ColumnPlan) -> int:
    target = arrow_type(plan.type)
    for index in range(len(column)):
        try:
            _fitted(column.slice(index, 1), target)
        except _MISFITS:
            return index
    return 0
