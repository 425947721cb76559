"""Parquet files, a row group at a time.

The file says what its columns are; `types.py` says what a table calls that. Structs and maps become JSON text. A column that the table
knows under another type is taken if every value of the file's type is one of the table's, and refused otherwise, whatever the values:
`1.0` is no int64 today because `1.5` would be none tomorrow. Refuses files that are damaged, encrypted or none. Next: `types.py`,
`source.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engines.errors import FileUnreadable
from engines.files import inference
from engines.files.inference import Evidence
from engines.files.shapes import shorten
from engines.files.source import ColumnPlan, Contradicted, Misfit, SourceFile
from engines.files.types import arrow_type, can_widen, from_arrow, has_structure, is_list

BATCH_ROWS = 65_536


class ParquetReading:
    """One file; see `source.Reading`."""

    def __init__(self, source: SourceFile) -> None:
        """Opens nothing yet."""
        self._source = source
        self._size = source.fingerprint().size
        self._share = 0.0

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
        """See `source.Reading`. Misfits carry a row, no line."""
        with self._opened() as file:
            self._check_types(file.schema_arrow, plans)
            row, total = 0, max(file.metadata.num_rows, 1)
            for group in range(file.metadata.num_row_groups):
                for batch in file.iter_batches(BATCH_ROWS, row_groups=[group]):
                    names = batch.schema.names
                    columns = [_fitted(column, plans[name], row) for name, column in zip(names, batch.columns, strict=True)]
                    row += batch.num_rows
                    self._share = row / total
                    yield pa.RecordBatch.from_arrays(columns, names=names)

    def line_of(self, row: int) -> int | None:
        """A Parquet file has no lines."""
        return None

    def progress(self) -> int:
        """By rows."""
        return int(self._size * self._share)

    def _check_types(self, schema: pa.Schema, plans: Mapping[str, ColumnPlan]) -> None:
        for field in schema:
            plan, kind = plans[field.name], from_arrow(field.type)
            if plan.word == "table" and not pa.types.is_null(field.type) and not can_widen(kind, plan.type):
                remedy = f"Write it as {plan.type}, or say `columns: {{{plan.name}: {_common(kind, plan.type)}}}` in the Dataset's spec."
                raise self._source.refused(
                    None, f"column `{plan.name}` is {kind}, and {plan.type} is the table's type for it", remedy=remedy
                )

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
            raise self._source.refused(None, f"is no readable Parquet file: {error}", remedy=remedy) from error


def _common(one: str, other: str) -> str:
    return "float64" if {one, other} == {"int64", "float64"} else "string"


def _fitted(column: pa.Array, plan: ColumnPlan, row: int) -> pa.Array:
    """The column as its plan's type. Raises Misfit, Contradicted."""
    try:
        return _cast(column, arrow_type(plan.type))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError):
        index = _first_unfit(column, plan)
    value = _python(column[index])
    if plan.word == "guess" and plan.type != "string":
        raise Contradicted({plan.name: ("string", f"text, since {plan.type} cannot keep row {row + index + 1}, {shorten(value)}")})
    raise Misfit(plan, value, None, row + index)


def _python(value: pa.Scalar) -> object:
    try:
        return value.as_py()
    except ValueError:  # nanoseconds
        return value.cast(pa.string()).as_py()


def _cast(column: pa.Array, target: pa.DataType) -> pa.Array:
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.type == target:
        return column
    if pa.types.is_string(target) and (has_structure(column.type) or is_list(column.type)):
        values = column.to_pylist(maps_as_pydicts="lossy")
        return pa.array([None if value is None else orjson.dumps(value, default=str).decode() for value in values], target)
    return pc.cast(column, target)


def _first_unfit(column: pa.Array, plan: ColumnPlan) -> int:
    target = arrow_type(plan.type)
    for index in range(len(column)):
        try:
            _cast(column.slice(index, 1), target)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError):
            return index
    return 0
