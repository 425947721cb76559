"""A row that is set by hand, held against the contract before anything is written. Blocking.

The rules are those of a read (`judge.py`), as far as they look at what the edit changes: a row that was taken may refer to what has gone
since, and its phone number can be corrected all the same. Checks look at the whole row. Next: `edit.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from engines.errors import EditRefused, FileRefused
from engines.files.contract import Terms
from engines.files.judge import Judge
from engines.files.kept_rows import KeptRows
from engines.files.present_values import PresentValues
from engines.files.source import ColumnPlan, SourceFile
from engines.files.value_hashes import hash_rows
from engines.sql.scan import values
from state.catalog.schemas import Column
from state.objects import ObjectStore

_REMEDY = "Give values that fit, or change the contract; `onViolation: warn` takes such rows and tells of them."


def judge_row(name: str, terms: Terms, columns: Sequence[Column], row: pa.RecordBatch, store: ObjectStore) -> str | None:
    """A sentence on what a row breaks where the contract only tells of that, None where it fits. name: of the row; row: of these columns;
    store: where memory spills. Raises EditRefused."""
    plans = {column.name: ColumnPlan(column.name, column.type, "table") for column in columns}
    source = SourceFile(Path(), name, "rows")
    lenient = replace(terms, on_violation="warn")
    with PresentValues(lenient, store, several=False) as present:
        reading = KeptRows(_One(row), store)
        judge = Judge(lenient, source, reading, store, present)
        try:
            judge.begin(plans, {})
            for batch in reading.batches(plans):
                judge.judge(batch)
            found = next(iter(judge.violations), None)
        except FileRefused as refused:
            raise EditRefused(f"{name} cannot be judged: {refused.reason}.", remedy=refused.remedy) from refused
        finally:
            judge.discard()
    if found is None:
        return None
    told = f"the contract, `{found.rule}`: {found.reason}"
    if terms.on_violation != "warn":
        raise EditRefused(f"{name} would break {told}.", remedy=_REMEDY)
    return f"{name} breaks {told}"


def touched(terms: Terms, changed: Collection[str], primary_key: Collection[str]) -> Terms:
    """What of a contract an edit of these columns can break. A group that has the whole key in it is unique by the key."""
    unique = (group for group in terms.unique if not set(group).isdisjoint(changed) and not set(group) >= set(primary_key))
    return replace(
        terms,
        required=tuple(name for name in terms.required if name in changed),
        unique=tuple(unique),
        ranges={name: bounds for name, bounds in terms.ranges.items() if name in changed},
        references=tuple(reference for reference in terms.references if reference.column in changed),
    )


def occurrences(source: Mapping[str, Any], column: str, value: pa.Array) -> int:
    """How many rows have the one value in a column, compared as references are. source: what `LakeTable.to_dict` gives."""
    (first, second), _ = hash_rows([value])
    found = 0
    for batch in values(source, (column,)):
        hashes, filled = hash_rows(batch.columns)
        found += int(np.count_nonzero(filled & (hashes[0] == first[0]) & (hashes[1] == second[0])))
    return found


@dataclass(frozen=True, slots=True)
class _One:
    """The row as a reading."""

    row: pa.RecordBatch

    def guesses(self) -> Mapping[str, tuple[str, str]]:
        """Nothing is guessed."""
        return {}

    def batches(self, plans: Mapping[str, ColumnPlan]) -> Iterator[pa.RecordBatch]:
        """It alone."""
        yield self.row

    def line_of(self, row: int) -> int | None:
        """It is in no file."""
        return None

    def progress(self) -> int:
        """It is one."""
        return 0

    def notes(self) -> tuple[str, ...]:
        """Nothing is found out."""
        return ()
