"""Rows of a source that is no file, as a contract's judge reads them: nobody can read one of them a second time.

A read of several that add up may bring rows again that former reads brought: those that the table has, and those that were set aside. The
first were taken, and are not judged again. The others are read anew where the read has rows of their cursor value, since it has all of that
value; the rest is judged again with it from the texts that quarantine keeps, but for rows whose primary key the read brings: these are
overtaken. So each read ends with all that is set aside, in one ledger. Next: `judge.py`, which asks; `set_aside.py` for the texts;
`extract.py`, which puts it together.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engines.files.present_values import Group
from engines.files.quarantine import Violation
from engines.files.set_aside import SetAside
from engines.files.source import ColumnPlan, PassedOver, RowReading
from engines.files.value_hashes import hash_rows
from engines.files.value_sets import ValueSet
from state.objects import ObjectStore

Rows: TypeAlias = npt.NDArray[np.int64]
_NONE: Rows = np.empty(0, np.int64)


class Overlap(Protocol):
    """What a read brings again of what former ones brought. Asked during a pass, of its batches in order."""

    column: str
    """The cursor, as the source calls it: a read brings all rows of a value, or none."""

    def known(self, batch: pa.RecordBatch) -> Rows:
        """Rows that the table has already, equal in every column, as often as it has them; where it has a key, however often they come."""


@dataclass(frozen=True, slots=True)
class Before:
    """What former reads set aside. shaped: the rows, as the table's present shape has them."""

    rows: SetAside
    shaped: RowReading


class KeptRows:
    """A reading for `Judge`. Of the last batch, `settled`: rows that are not judged; `held`: those of them that go no further."""

    def __init__(
        self,
        reading: RowReading,
        store: ObjectStore,
        overlap: Overlap | None = None,
        cursor: str = "",
        key: Sequence[str] = (),
        before: Before | None = None,
    ) -> None:
        """store: where memory spills. overlap, cursor (as the table calls it), before: of a read that adds to former ones. key: columns by
        which a row replaces another, none where it does not."""
        self._reading, self._store, self._overlap, self._before = reading, store, overlap, before
        self._cursor, self._key = cursor, tuple(key)
        self.passed_over = PassedOver()
        self.settled: Rows = _NONE
        self.held: Rows = _NONE
        self._read = 0
        self._lines: array[int] = array("q")
        self.line_of, self.progress, self.notes = reading.line_of, reading.progress, reading.notes

    def guesses(self) -> Mapping[str, tuple[str, str]]:
        """See `RowReading`."""
        return self._reading.guesses()

    def batches(self, plans: Mapping[str, ColumnPlan]) -> Iterator[pa.RecordBatch]:
        """See `RowReading`. The rows of the source come first."""
        self._read, self._lines, self.settled, self.held = 0, array("q"), _NONE, _NONE
        if self._cursor in plans:  # of a row without one nobody could say whether it was read again
            plans = {**plans, self._cursor: replace(plans[self._cursor], aside=None)}
        if self._before is None:
            yield from self._source(plans, [])
            return
        groups = [group for group in ((self._cursor,), self._key) if group and set(group) <= plans.keys()]
        seen = [(group, ValueSet(self._store)) for group in groups]
        try:
            yield from self._source(plans, seen)
            yield from self._set_aside(plans, self._before, seen)
        finally:
            for _, found in seen:
                found.discard()

    def keeps(self, violations: Iterable[Violation]) -> bool:
        """Whether quarantine has these rows already, for the same reasons, and no others."""
        return self._before is not None and self._before.rows.holds((found.rule, found.reason, found.text) for found in violations)

    def line(self, row: int) -> int | None:
        """The number of a row in the read that brought it, from 1."""
        if row < self._read:
            return row + 1
        found = self._lines[row - self._read]
        return found if found > 0 else None

    def _source(self, plans: Mapping[str, ColumnPlan], seen: Sequence[tuple[Group, ValueSet]]) -> Iterator[pa.RecordBatch]:
        unfit: list[int] = []
        for batch in self._reading.batches({name: _told(plan, 0, unfit.append) for name, plan in plans.items()}):
            for group, found in seen:
                (first, second), whole = hash_rows([batch.column(name) for name in group])
                found.add((first[whole], second[whole]))
            if self._overlap is not None:
                # null stands for a value that is unfit: it is not the null of a row that is known
                self.settled = np.setdiff1d(self._overlap.known(batch), np.array(unfit, np.int64) - self._read)
                # which row of a key is the last one is not known yet
                self.held = _NONE if self._key else self.settled
            unfit.clear()
            self._read += batch.num_rows
            yield batch

    def _set_aside(
        self, plans: Mapping[str, ColumnPlan], before: Before, seen: Sequence[tuple[Group, ValueSet]]
    ) -> Iterator[pa.RecordBatch]:
        for batch in before.shaped.batches({name: _told(plan, self._read, None) for name, plan in plans.items()}):
            self._lines.extend(line or 0 for line in before.rows.lines)
            over = np.zeros(batch.num_rows, np.bool_)
            for group, found in seen:
                hashes, whole = hash_rows([batch.column(name) for name in group])
                over |= whole & found.has(hashes)
            self.settled = self.held = np.flatnonzero(over)
            yield batch


def _told(plan: ColumnPlan, first: int, note: Callable[[int], None] | None) -> ColumnPlan:
    """The plan, telling of values by their rows among all. first: of them."""
    take = plan.aside
    if take is None:
        return plan

    def aside(row: int, value: object) -> None:
        if note is not None:
            note(row)
        take(first + row, value)

    return replace(plan, aside=aside)
