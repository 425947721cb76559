"""A first look at a data file: its columns, whether its text is worth an index, and a question that shows what is in it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from engines.files.formats import FORMATS, format_of
from engines.files.inference import ColumnGuess, decide_all
from engines.files.opening import open_reading
from engines.files.source import ColumnPlan, Reading, SourceFile
from reconciler.lakectl.errors import UsageInvalid

_LONG_TEXT = 60
_MANY_WORDS = 8
_SAMPLED = 5_000
_FEWEST_GROUPS, _MOST_GROUPS = 2, 50


@dataclass(frozen=True, slots=True)
class Survey:
    """What the file holds. `notes` are sentences on how it is read; `text` is the column of long texts, `group` one of few values."""

    columns: tuple[ColumnGuess, ...]
    notes: tuple[str, ...]
    text: str | None
    group: str | None
    example: str | None


def survey(path: Path) -> Survey:
    """Looks at a sample. Raises UsageInvalid for a format that is not read, FileRefused, FileUnreadable."""
    form = format_of(path.name)
    if form is None or path.suffix.lower() not in FORMATS:
        raise UsageInvalid(f"lakectl try: {path.name} has no format that is read.", remedy=f"Files end in {', '.join(FORMATS)}.")
    reading = open_reading(SourceFile(path, path.name, form))
    columns = decide_all(reading.evidence().items())
    sample = _sample(reading, columns)
    text, example = _long_text(sample) if sample is not None else (None, None)
    return Survey(columns, tuple(reading.notes()), text, _group(sample) if sample is not None else None, example)


def _sample(reading: Reading, columns: tuple[ColumnGuess, ...]) -> pa.RecordBatch | None:
    plans = {
        column.name: ColumnPlan(column.name, "string" if column.type.startswith("list<") else column.type, "guess") for column in columns
    }
    batch = next(iter(reading.batches(plans)), None)
    return batch.slice(0, _SAMPLED) if batch is not None else None


def _long_text(sample: pa.RecordBatch) -> tuple[str | None, str | None]:
    """The column with the longest texts, if they are sentences, and one of them."""
    found: tuple[float, str, str] | None = None
    for name, column in _texts(sample):
        length = pc.mean(pc.utf8_length(column)).as_py() or 0.0
        words = pc.mean(pc.list_value_length(pc.utf8_split_whitespace(column))).as_py() or 0.0
        if length >= _LONG_TEXT and words >= _MANY_WORDS and (found is None or length > found[0]):
            found = (length, name, next(str(value) for value in column.to_pylist() if value))
    return (found[1], found[2]) if found is not None else (None, None)


def _group(sample: pa.RecordBatch) -> str | None:
    """The text column with the fewest values that still tell rows apart."""
    best: tuple[int, str] | None = None
    for name, column in _texts(sample):
        values = pc.count_distinct(column).as_py()
        repeated = values * 2 <= len(column) - column.null_count
        if _FEWEST_GROUPS <= values <= _MOST_GROUPS and repeated and (best is None or values > best[0]):
            best = (values, name)
    return best[1] if best is not None else None


def _texts(sample: pa.RecordBatch) -> list[tuple[str, Any]]:
    pairs = zip(sample.schema.names, sample.columns, strict=True)
    return [(name, column) for name, column in pairs if pa.types.is_string(column.type) and column.null_count < len(column)]
