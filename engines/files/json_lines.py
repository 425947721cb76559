"""JSON: one object a line (NDJSON), or objects one after another or in a top-level array, over as many lines as they like.

The columns are the union of all objects' keys, in order of appearance; a missing key is null. The whole file is surveyed before it is
converted, since the last record may bring a key or a kind that no sample has. Objects within a record are columns with dotted names
(`flattening.py`), arrays are lists; what is within an array stays as it is, an object as JSON text. Numbers that float64 cannot keep are
not rounded: their column is text. Next: `json_objects.py` for the parsing, `inference.py` for how kinds become a type.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from decimal import Decimal
from itertools import islice
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from engines.files import encodings, inference, null_words
from engines.files.conversion import Unfit, convert, salvage
from engines.files.flattening import TwoOfOneName, flattened
from engines.files.inference import Evidence
from engines.files.json_objects import read_objects
from engines.files.shapes import form
from engines.files.source import ColumnPlan, Contradicted, Misfit, PassedOver, SourceFile
from engines.files.types import arrow_type

BATCH_ROWS = 8_192
BATCH_BYTES = 8 << 20
KEPT_BYTES = 1 << 20
"""A file up to this size is parsed once and kept; a larger one is parsed once to survey and once to convert."""
Record = tuple[int, dict[str, Any]]
"""The line on which an object begins, and the object."""


class JsonReading:
    """One file; see `source.Reading`."""

    def __init__(
        self,
        source: SourceFile,
        records: Callable[[], Iterator[tuple[int, dict[str, Any], int]]] | None = None,
        *,
        whole: Set[str] = frozenset(),
        typed: bool = True,
    ) -> None:
        """records: begins anew with the file's records and what each took of it, if they are not plainly there. whole: names of objects
        that are one column. typed: whether a text is meant as one, as it is where null can be written, too. Raises FileRefused for an
        encoding that is unknown."""
        self._source = encodings.resolved(source) if records is None else source
        self._begin = records or (lambda: read_objects(self._source))
        self._whole = whole
        self._typed = typed
        self.passed_over = PassedOver()
        self._kept: list[Record] | None = None
        self._read = 0

    def guesses(self) -> Mapping[str, tuple[str, str]]:
        """By survey of the whole file."""
        return {guess.name: (guess.type, guess.reason) for guess in inference.decide_all(self.evidence().items())}

    def evidence(self, limit: int | None = None) -> Mapping[str, Evidence]:
        """What the first `limit` records (all of them by default) show, by column. Raises FileRefused."""
        records: Iterator[Record] | list[Record] = islice(self._records(), limit)
        if limit is None and self._source.fingerprint().size <= KEPT_BYTES:
            self._kept = records = list(records)
        found: dict[str, Evidence] = {}
        for _, record in records:
            for name, value in record.items():
                if (evidence := found.get(name)) is None:
                    evidence = found[name] = Evidence(void=self._void(name))
                evidence.add_json(value)
        return found

    def batches(self, plans: Mapping[str, ColumnPlan]) -> Iterator[pa.RecordBatch]:
        """See `source.Reading`."""
        row = 0
        for chunk in self._chunks():
            columns = [_column(chunk, plan, row, self._void(plan.name)) for plan in plans.values()]
            yield pa.RecordBatch.from_arrays(columns, names=list(plans)) if plans else _blank(len(chunk))
            row += len(chunk)

    def _void(self, name: str) -> frozenset[str] | None:
        """The texts that are null in a column; None where these are words for null, if its other values are no texts."""
        said = self._source.options.nulls_of(name)
        return frozenset() if said is None and self._typed else said

    def line_of(self, row: int) -> int | None:
        """By reading again."""
        return next((line for line, _ in islice(self._records(), row, None)), None)

    def originals(self, rows: Iterable[int]) -> Iterator[tuple[int | None, str]]:
        """See `source.Reading`."""
        numbered = enumerate(self._begin())
        for row in rows:
            yield next((line, as_text(record) or "") for number, (line, record, _) in numbered if number == row)

    def progress(self) -> int:
        """Bytes parsed in this pass."""
        return self._read

    def notes(self) -> tuple[str, ...]:
        """None: JSON says what it is."""
        return ()

    def _chunks(self) -> Iterator[list[Record]]:
        """Records by BATCH_ROWS, or fewer that take BATCH_BYTES of the file: an object in memory is several times its text."""
        if self._kept is not None:
            yield from (self._kept[start : start + BATCH_ROWS] for start in range(0, len(self._kept), BATCH_ROWS))
            return
        chunk: list[Record] = []
        begun = 0
        for record in self._records():
            chunk.append(record)
            if len(chunk) >= BATCH_ROWS or self._read - begun >= BATCH_BYTES:
                yield chunk
                chunk, begun = [], self._read
        if chunk:
            yield chunk

    def _records(self) -> Iterator[Record]:
        self._read = 0
        for line, record, taken in self._begin():
            self._read += taken
            try:
                yield line, flattened(record, self._whole)
            except TwoOfOneName as twice:
                remedy = "Rename one of them."
                raise self._source.refused(line, f"two values are named `{twice.name}`", remedy=remedy) from None


def _column(chunk: Sequence[Record], plan: ColumnPlan, row: int, void: frozenset[str] | None) -> pa.Array:
    values = [record.get(plan.name) for _, record in chunk]
    if void:
        values = [None if isinstance(value, str) and value in void else value for value in values]
    elif void is None and plan.type != "string" and plan.word != "spec":
        values = [None if isinstance(value, str) and null_words.is_word(value) else value for value in values]
    try:
        return _array(values, plan)
    except Unfit as unfit:
        if plan.aside is not None:
            column, places = salvage(
                len(values), lambda first, count: _array(values[first : first + count], plan), arrow_type(plan.type), (Unfit,)
            )
            for place in places:
                plan.aside(row + place, as_text(values[place]))
            return column
        if plan.word == "guess":
            why = f"text, since row {row + unfit.index + 1} is of the form {form(unfit.value)}"
            raise Contradicted({plan.name: ("string", why)}) from None
        raise Misfit(plan, unfit.value, chunk[unfit.index][0], row + unfit.index) from None


def _array(values: list[Any], plan: ColumnPlan) -> pa.Array:
    """Raises Unfit."""
    target, kinds = arrow_type(plan.type), set(map(type, values)) - {type(None)}
    if plan.type == "string":
        return pa.array(values if kinds <= {str} else [as_text(value) for value in values], target)
    if pa.types.is_list(target):
        return _lists(values, plan)
    if kinds <= _NATIVE.get(plan.type, frozenset()):
        if plan.type != "int64" or all(value is None or -(10**18) < value < 10**18 for value in values):
            return pa.array(values, target)
    elif plan.word != "spec" and plan.type in _NATIVE and kinds - _ALLOWED[plan.type]:
        index = next(index for index, value in enumerate(values) if value is not None and type(value) not in _ALLOWED[plan.type])
        raise Unfit(index, str(as_text(values[index])))
    return convert(pa.array([as_text(value) for value in values], pa.string()), plan.type, strict=plan.word != "spec")


_NATIVE: dict[str, frozenset[type]] = {"int64": frozenset({int}), "float64": frozenset({float}), "bool": frozenset({bool})}
_ALLOWED: dict[str, frozenset[type]] = {**_NATIVE, "float64": frozenset({float, int, Decimal})}


def _lists(values: list[Any], plan: ColumnPlan) -> pa.Array:
    """All elements as one column of the lists' own type. Raises Unfit."""
    odd = next((index for index, value in enumerate(values) if not isinstance(value, list | None)), None)
    if odd is not None:
        raise Unfit(odd, str(as_text(values[odd])))
    lengths = [0 if value is None else len(value) for value in values]
    ends = np.cumsum(lengths)
    elements = [element for value in values if value is not None for element in value]
    try:
        inner = _array(elements, replace(plan, type=plan.type.removeprefix("list<").removesuffix(">").strip()))
    except Unfit as unfit:
        index = int(np.searchsorted(ends, unfit.index, side="right"))
        raise Unfit(index, str(as_text(values[index]))) from None
    offsets = pa.array(np.concatenate(([0], ends)), pa.int32())
    return pa.ListArray.from_arrays(offsets, inner, mask=pa.array([value is None for value in values], pa.bool_()))


def as_text(value: object) -> str | None:
    """A JSON value as a text column keeps it: texts as they are, everything else as compact JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        return str(value)
    try:
        return orjson.dumps(value).decode()
    except (TypeError, orjson.JSONEncodeError):  # integers beyond 64 bits, and numbers kept as Decimal
        return _every_digit(value)


def _every_digit(value: object) -> str:
    """Compact JSON with numbers as long as they are; MAX_DEPTH bounds the recursion."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{_every_digit(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_every_digit, value)) + "]"
    return str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)


def _blank(count: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_struct_array(pa.array([{}] * count, pa.struct([])))
