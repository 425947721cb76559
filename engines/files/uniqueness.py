"""Which rows of a file say what must be said once: groups of columns whose values together occur nowhere else.

Rows whose values are in the table already, or in a file that the same job took before, are found as they come. Whether a value occurs
twice in the file is known at its end; then the file is read once more, and the rows that have such a value are looked at one by one: the
first of them stays. Rows without a value in one of the columns are never equal to others, as in SQL. An upsert makes unique by itself what
has the whole primary key in it, and there rows of one key may say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engines.files.arrow_values import as_json
from engines.files.present_values import Group, PresentValues
from engines.files.value_hashes import Hashes, Words, hash_rows
from engines.files.value_sets import Suspects, ValueSet, among
from engines.sensitivity.shown import shown
from state.objects import ObjectStore

Rows: TypeAlias = npt.NDArray[np.int64]
_NOTHING: Words = np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True)
class Breach:
    """Rows of a batch, ascending, that break a rule; `why` says it in words, of one of them."""

    rule: str
    rows: Rows
    why: Callable[[int], str]

    def without(self, others: Rows) -> Breach:
        """For the rows but these."""
        return replace(self, rows=np.setdiff1d(self.rows, others, assume_unique=True)) if len(others) else self


class Uniqueness:
    """Of one file, over as many passes as it takes. Not thread-safe."""

    def __init__(
        self, groups: Sequence[Group], store: ObjectStore, present: PresentValues, key: Sequence[str] | None, hidden: Set[str]
    ) -> None:
        """key: rows replace those of equal values in these columns; None where they do not. hidden: see `SourceFile`."""
        self._hidden = hidden
        self._all = tuple(group for group in groups if key is None or not set(key) <= set(group))
        self._store, self._present, self._key = store, present, None if key is None else tuple(key)
        self._groups: tuple[Group, ...] = ()
        self._repeated: dict[Group, Words] = {}
        self._suspects: dict[Group, Suspects] = {}
        self._told: dict[Group, ValueSet] = {}
        self._seen: dict[Group, dict[tuple[int, int], int]] = {}

    def begin(self, groups: Sequence[Group]) -> None:
        """A pass. groups: those whose columns there are."""
        self.discard()
        self._groups = tuple(group for group in self._all if group in groups)
        self._suspects = {group: Suspects(self._store) for group in self._groups}
        self._seen = {group: {} for group in self._groups}
        self._told = {group: ValueSet(self._store) for group in self._groups} if self._present.gathers and self._key is None else {}

    def breaches(self, batch: pa.RecordBatch, bad: Rows) -> Iterator[Breach]:
        """bad: rows that will not be there, so that they say nothing. Raises DiskFull."""
        if not self._groups:
            return
        good = np.ones(batch.num_rows, np.bool_)
        good[bad] = False
        keys = hash_rows([batch.column(name) for name in self._key])[0][0] if self._key else None
        for group in self._groups:
            hashes, whole = hash_rows([batch.column(name) for name in group])
            rows = np.flatnonzero(whole & good)
            first, second = hashes[0][rows], hashes[1][rows]
            there = self._known(group, (first, second))
            again = self._again(group, (first, second), there, None if keys is None else keys[rows])
            if (found := rows[there | again]).size:
                yield Breach(f"unique: {', '.join(group)}", found, _Says(batch, group, frozenset(rows[there].tolist()), self._hidden))

    def doubtful(self) -> bool:
        """At the end of a pass: whether values repeat of which that was not known, so that another pass must tell which rows these are. A
        source that is no file may bring others each time."""
        doubt = False
        for group, suspects in self._suspects.items():
            known = self._repeated.get(group, _NOTHING)
            found = np.union1d(known, suspects.twice())
            doubt |= len(found) > len(known)
            self._repeated[group] = found
        return doubt

    def accept(self) -> None:
        """The values of the last pass are there from now on."""
        self._present.accept(self._told)

    def discard(self) -> None:
        """Removes what was spilled."""
        for suspects in self._suspects.values():
            suspects.discard()
        for told in self._told.values():
            told.discard()

    def _known(self, group: Group, hashes: Hashes) -> npt.NDArray[np.bool_]:
        return np.zeros(len(hashes[0]), np.bool_) if self._key else self._present.group(group).has(hashes)

    def _again(self, group: Group, hashes: Hashes, there: npt.NDArray[np.bool_], keys: Words | None) -> npt.NDArray[np.bool_]:
        """Rows after the first of equal ones, as far as it is known which values there are twice."""
        again = np.zeros(len(there), np.bool_)
        first, second = hashes
        self._suspects[group].add(first[~there])
        if len(self._repeated.get(group, _NOTHING)):
            seen = self._seen[group]
            for place in among(first, self._repeated[group]).tolist():
                value, key = (int(first[place]), int(second[place])), 0 if keys is None else int(keys[place])
                again[place] = not there[place] and (value in seen if keys is None else seen.get(value, key) != key)
                if not there[place]:
                    seen.setdefault(value, key)
        if group in self._told:
            new = ~(there | again)
            self._told[group].add((first[new], second[new]))
        return again


@dataclass(frozen=True, slots=True)
class _Says:
    """Why a row of a batch is not unique. there: rows whose values occur outside the file."""

    batch: pa.RecordBatch
    group: Group
    there: frozenset[int]
    hidden: Set[str]

    def __call__(self, row: int) -> str:
        names = ", ".join(f"`{name}`" for name in self.group)
        values = ", ".join(shown_in(self.batch.column(name), row, name, self.hidden) for name in self.group)
        where = "the table or an earlier file has already" if row in self.there else "an earlier row has already"
        return f"{names} {'is' if len(self.group) == 1 else 'are'} {values}, which {where}"


def shown_in(column: pa.Array, row: int, name: str, hidden: Set[str]) -> str:
    """A value as a reason names it; see `engines/sensitivity/shown.py`."""
    return shown(name, as_json(column[row]), hidden)
