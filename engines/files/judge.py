"""Applies a contract to the rows of one file, batch by batch, as they are read.

A row may break it by itself, or by what there was before it: a value that is none of its column's type, a required value that is missing,
a range, a check in SQL, a reference. Rows with too few or too many cells are the reader's to find. The rows that remain must be unique
(`uniqueness.py`). Whole columns are judged at once; only rows that break a rule are looked at one by one.

`quarantine` takes the row out of the batch, `warn` leaves it, `reject` refuses the file at its end, with the first line and the number.
Next: `terms.py` for what of a contract means something for a file, `quarantine.py` for what becomes of the rows.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engines.errors import QueryInvalid
from engines.files import notations
from engines.files.contract import Bounds, Reference, Terms
from engines.files.kept_rows import KeptRows
from engines.files.present_values import PresentValues
from engines.files.quarantine import Originals, Spool, Violation
from engines.files.set_aside import row_text
from engines.files.shapes import form
from engines.files.source import ColumnPlan, Reading, Reopen, SourceFile, Word
from engines.files.terms import applicable
from engines.files.types import arrow_type
from engines.files.uniqueness import Breach, Rows, Uniqueness, shown_in
from engines.files.value_hashes import hash_rows
from engines.sensitivity.shown import shown
from engines.sql.row_checks import RowChecks
from state.objects import ObjectStore

_REFERENCE = "reference: "
_NOBODY: Rows = np.empty(0, np.int64)
_BEYOND = 2.0**63


class Judge:
    """One file under one contract, over as many passes as it takes. Not thread-safe."""

    def __init__(
        self,
        terms: Terms,
        source: SourceFile,
        reading: Reading | KeptRows,
        store: ObjectStore,
        present: PresentValues,
        *,
        primary_key: Sequence[str] = (),
        upsert: bool = False,
        declared_only: bool = False,
        tombstone: str | None = None,
    ) -> None:
        """store: where memory spills. present: what occurs elsewhere, shared by the files of a job. upsert: rows replace those of their
        primary key. declared_only: the table's types are guesses, which give way, but for those that the spec names. tombstone: a column
        that is true where a row only deletes another, of which nothing is asked but the key."""
        self._terms, self._source, self._store, self._present = terms, source, store, present
        self.reading = reading
        self.unchanged = False
        """At the end of a pass: whether quarantine has these very rows already."""
        self.sets_aside = terms.on_violation == "quarantine"
        self._key = tuple(primary_key) if self.sets_aside else ()
        self._of_key = frozenset(f"{rule}: {name}" for name in self._key for rule in ("type", "required"))
        self._tombstone = tombstone
        self._required = tuple(dict.fromkeys((*self._key, *terms.required)))
        self._words: frozenset[Word] = frozenset({"spec"} if declared_only else {"spec", "table"})
        self._uniqueness = Uniqueness(terms.unique, store, present, primary_key if upsert else None, source.hidden)
        self._spool = Spool(store)

    def begin(self, plans: Mapping[str, ColumnPlan], known: Mapping[str, str]) -> Mapping[str, ColumnPlan]:
        """A pass; the plans by which it reads. known: the table's columns with their types.

        Raises FileRefused for a contract that these columns cannot satisfy, or that means nothing for them.
        """
        self.discard()
        types = {**known, **{plan.name: plan.type for plan in plans.values()}}
        self._absent = {name: arrow_type(kind) for name, kind in types.items() if name not in plans}
        self._applied = applicable(self._terms, self._required, self._source, plans, types)
        self._plans = plans
        self._checks = self._prepared(types)
        self._spool = Spool(self._store)
        self._uniqueness.begin(self._applied.unique)
        self._counts: Counter[str] = Counter()
        self._first: Violation | None = None
        self._row = self._passed_over = 0
        self._misfits: dict[str, dict[int, object]] = {}
        self._held = 0
        if not self.sets_aside:
            return plans
        return {name: replace(plan, aside=self._taker(plan)) if plan.word in self._words else plan for name, plan in plans.items()}

    def judge(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows that go into the table. Raises FileRefused, DiskFull."""
        whole, unfit, self._misfits = self._completed(batch), self._misfits, {}
        settled, held = (self.reading.settled, self.reading.held) if isinstance(self.reading, KeptRows) else (_NOBODY, _NOBODY)
        deletes = self._deletes(whole)
        exempt = np.union1d(deletes, settled)
        broken = [breach.without(settled if breach.rule in self._of_key else exempt) for breach in self._broken(whole, unfit)]
        breaches = [breach for breach in broken if len(breach.rows)]
        bad = _rows_of(breaches)
        silent = np.union1d(deletes, held)
        again = self._uniqueness.breaches(whole, np.union1d(bad, silent) if self.sets_aside else silent)
        if unique := [breach for found in again if len((breach := found.without(settled)).rows)]:
            breaches += unique
            bad = _rows_of(breaches)
        self._tell(batch, breaches, unfit)
        self._row += batch.num_rows
        self._held += len(held)
        gone = np.union1d(bad, held) if self.sets_aside else held
        if not len(gone):
            return batch
        keep = np.ones(batch.num_rows, np.bool_)
        keep[gone] = False
        return batch.filter(pa.array(keep))

    def finish(self) -> None:
        """The file's end. Raises Reopen where values repeat, so that the next pass can tell which rows are concerned; FileRefused."""
        self._tell(None, [], {})
        if self._uniqueness.doubtful():
            raise Reopen
        self.unchanged = isinstance(self.reading, KeptRows) and self.reading.keeps(self._spool)
        if self._first is not None and self._terms.on_violation == "reject":
            count = self._spool.count
            rows = "1 row breaks" if count == 1 else f"{count:,} rows break"
            where = "" if (line := self.reading.line_of(self._first.row)) is not None else f" (row {self._first.row + 1})"
            remedy = f"Correct the {self._source.noun} or the contract; `onViolation: quarantine` takes the other rows."
            reason = f"{rows} the contract, first `{self._first.rule}`{where}: {self._first.reason}"
            raise self._source.refused(line, reason, remedy=remedy)

    def accept(self) -> None:
        """The file was taken: what it says is there, for the files after it."""
        self._uniqueness.accept()

    @property
    def violations(self) -> Spool:
        """Of the pass that ended."""
        return self._spool

    def originals(self) -> Originals:
        """Of the violations; reads a file again."""
        if isinstance(self.reading, KeptRows):
            return ((violation.line, violation.text) for violation in self._spool)
        return self.reading.originals(violation.row for violation in self._spool)

    @property
    def shown(self) -> str:
        """What quarantine calls the source."""
        return self._source.shown

    @property
    def referred(self) -> bool:
        """Whether a row breaks the contract by what another dataset lacks, so that it may fit once that changes."""
        return any(rule.startswith(_REFERENCE) for rule in self._counts)

    def summary(self) -> str | None:
        """What was found, for people; None for nothing."""
        if self._first is None:
            return None
        count, total = self._spool.count, self._row - self._held + self._passed_over
        line = self.reading.line_of(self._first.row)
        place = f"line {line:,}" if line is not None else f"row {self._first.row + 1:,}"
        rules = ", ".join(f"`{rule}` {number:,}" for rule, number in self._counts.most_common())
        plural = count != 1
        does = f"{'are' if plural else 'is'} in quarantine" if self.sets_aside else f"{'break' if plural else 'breaks'} the contract"
        return f"{self._source.shown}: {count:,} of {total:,} rows {does} ({rules}), first {place}: {self._first.reason}"

    def discard(self) -> None:
        """Removes what was spilled."""
        self._spool.discard()
        self._uniqueness.discard()

    def _prepared(self, types: Mapping[str, str]) -> RowChecks | None:
        if not self._terms.checks:
            return None
        try:
            return RowChecks(self._terms.checks, pa.schema([(name, arrow_type(kind)) for name, kind in types.items()]))
        except QueryInvalid as invalid:
            raise self._source.refused(None, str(invalid), remedy=invalid.remedy) from invalid

    def _taker(self, plan: ColumnPlan) -> Callable[[int, object], None]:
        def take(row: int, value: object) -> None:
            self._misfits.setdefault(plan.name, {})[row] = value

        return take

    def _completed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """With nulls for the columns that the table has and the file lacks."""
        if not self._absent:
            return batch
        columns = [*batch.columns, *(pa.nulls(batch.num_rows, kind) for kind in self._absent.values())]
        return pa.RecordBatch.from_arrays(columns, names=[*batch.schema.names, *self._absent])

    def _broken(self, batch: pa.RecordBatch, unfit: Mapping[str, Mapping[int, object]]) -> Iterator[Breach]:
        for name, values in unfit.items():
            kind = self._plans[name].type

            def why(row: int, name: str = name, kind: str = kind, values: Mapping[int, object] = values) -> str:
                value = values[row + self._row]
                return f"`{name}`: {shown(name, value, self._source.hidden)} is no {kind}{notations.hint(name, kind, value)}"

            yield Breach(f"type: {name}", np.array(sorted(values)) - self._row, why)
        for name in self._applied.required:
            empty = f"`{name}` is empty" + (", and it is in the primary key" if name in self._key else "")
            missing = Breach(f"required: {name}", self._missing(batch, name), partial(_said, empty))
            yield missing.without(np.array(sorted(unfit.get(name, ())), np.int64) - self._row)
        for name, bounds in self._applied.ranges.items():
            yield _outside(batch.column(name), name, bounds, self._source.hidden)
        yield from self._unchecked(batch)
        for reference in self._applied.references:
            yield self._dangling(batch, reference)

    def _deletes(self, batch: pa.RecordBatch) -> Rows:
        """Rows that only delete others."""
        return _places(batch.column(self._tombstone)) if self._tombstone in batch.schema.names else np.empty(0, np.int64)

    def _missing(self, batch: pa.RecordBatch, name: str) -> Rows:
        if name not in batch.schema.names:
            return np.arange(batch.num_rows)
        column = batch.column(name)
        nan = name in self._key and pa.types.is_floating(column.type)
        return _places(pc.is_null(column, nan_is_null=nan)) if column.null_count or nan else np.empty(0, np.int64)

    def _unchecked(self, batch: pa.RecordBatch) -> Iterator[Breach]:
        if self._checks is None:
            return
        try:
            found = self._checks.broken(batch)
        except QueryInvalid as invalid:
            raise self._source.refused(None, str(invalid), remedy=invalid.remedy) from invalid
        for check, broken in zip(self._terms.checks, found, strict=True):

            def why(row: int, check: str = check, errors: Mapping[int, str] = broken.errors) -> str:
                return (
                    f"`{check}` cannot be computed: {_QUOTED.sub(_form_of, errors[row])}" if row in errors else f"`{check}` does not hold"
                )

            yield Breach(f"check: {check}", broken.rows, why)

    def _dangling(self, batch: pa.RecordBatch, reference: Reference) -> Breach:
        column = batch.column(reference.column)
        hashes, filled = hash_rows([column])
        rows = np.flatnonzero(filled & ~self._present.reference(reference).has(hashes))
        name, target, hidden = reference.column, f"{reference.dataset}.{reference.target}", self._source.hidden
        return Breach(
            f"{_REFERENCE}{name}", rows, lambda row: f"`{name}` is {shown_in(column, row, name, hidden)}, which {target} does not have"
        )

    def _tell(self, batch: pa.RecordBatch | None, breaches: Sequence[Breach], unfit: Mapping[str, Mapping[int, object]]) -> None:
        """Notes the rows of a batch, and those that the reader passed over before its last one, in the file's order. None: the end."""
        over = self.reading.passed_over
        places = np.frombuffer(over.rows, np.int64) if len(over.rows) else np.empty(0, np.int64)
        before = places - np.arange(len(places))  # how many rows came through before each of them
        until = len(places) if batch is None else int(np.searchsorted(before, self._row + batch.num_rows - 1, side="right"))
        found: dict[int, list[tuple[str, str]]] = {}
        for number in range(self._passed_over, until):
            found[int(places[number])] = [("columns", over.why(number))]
        self._passed_over = max(until, self._passed_over)
        for breach in breaches:
            shift = np.searchsorted(before, breach.rows + self._row, side="right")
            for row, moved in zip(breach.rows.tolist(), shift.tolist(), strict=True):
                found.setdefault(self._row + row + moved, []).append((breach.rule, breach.why(row)))
        for place in sorted(found):
            broken = found[place]
            violation = Violation(place, broken[0][0], "; ".join(reason for _, reason in broken))
            if isinstance(self.reading, KeptRows) and batch is not None:
                values = {name: those[place] for name, those in unfit.items() if place in those}
                violation = violation._replace(line=self.reading.line(place), text=row_text(batch, place - self._row, values))
            self._counts.update(rule for rule, _ in broken)
            self._first = self._first or violation
            self._spool.add(violation)


_QUOTED = re.compile(r"'([^']*)'")
"""A value in an error of the query engine."""


def _form_of(quoted: re.Match[str]) -> str:
    return form(quoted[1])


def _outside(column: pa.Array, name: str, bounds: Bounds, hidden: Set[str]) -> Breach:
    """Values beyond a bound, and NaN, which is within none."""
    low, high = -math.inf if bounds.least is None else bounds.least, math.inf if bounds.greatest is None else bounds.greatest

    def why(row: int) -> str:
        value = column[row].as_py()
        beyond = f"below {low:g}" if value < low else f"above {high:g}" if value > high else "within no range"
        return f"`{name}` is {shown_in(column, row, name, hidden)}, {beyond}"

    return Breach(f"range: {name}", _places(pc.invert(_within(column, low, high))), why)


def _within(column: pa.Array, low: float, high: float) -> pa.Array:
    """Null where the value is."""
    if not pa.types.is_integer(column.type):
        numbers = column if pa.types.is_floating(column.type) else pc.cast(column, pa.float64())
        return pc.and_(pc.greater_equal(numbers, low), pc.less_equal(numbers, high))
    if low >= _BEYOND or high < -_BEYOND:
        return pc.not_equal(column, column)
    # as whole numbers, the largest of which float64 does not keep
    least, greatest = math.ceil(max(low, -_BEYOND)), min(math.floor(min(high, _BEYOND)), 2**63 - 1)
    return pc.and_(pc.greater_equal(column, least), pc.less_equal(column, greatest))


def _said(reason: str, _: int) -> str:
    return reason


def _places(mask: pa.Array) -> Rows:
    return np.asarray(pc.indices_nonzero(mask), np.int64)


def _rows_of(breaches: Sequence[Breach]) -> Rows:
    return np.unique(np.concatenate([breach.rows for breach in breaches])) if breaches else np.empty(0, np.int64)
