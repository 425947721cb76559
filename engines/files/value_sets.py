"""Which values occur, and which occur more than once, however many there are.

Both keep hashes (`value_hashes.py`) in sorted runs. A full run goes to a staged file of the bucket's disk and is mapped when it is looked
at, so that memory does not depend on the number of values. Looking up one of a million takes some 100 ns: hashes are spread evenly, so
their first bits tell where in a run they are. Next: `judge.py`, the caller.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from engines.files.table_writer import out_of_space
from engines.files.value_hashes import Hashes, Words
from state.objects import ObjectStore

RUN_BYTES = 16 << 20
_TOP = 1 << 64

Mask: TypeAlias = npt.NDArray[np.bool_]
Columns: TypeAlias = tuple[Words, ...]
"""Of equal length: first halves of hashes, by which a run is sorted, and perhaps the second ones."""


class _Run:
    """Sorted by the first column, which may have a directory: where each leading pattern of bits begins, about one value a pattern."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self._directory: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.columns[0])

    def has(self, hashes: Hashes) -> Mask:
        """Which of these are in both columns of one row."""
        first, second = self.columns
        bits = max(1, len(self).bit_length() - 1)
        if self._directory is None:
            bounds = np.arange(1 << bits, dtype=np.uint64) << np.uint64(64 - bits)
            self._directory = np.append(np.searchsorted(first, bounds), len(self))
        patterns = hashes[0] >> np.uint64(64 - bits)
        places, ends = self._directory[patterns], self._directory[patterns + np.uint64(1)]
        found = np.zeros(len(places), np.bool_)
        left = np.flatnonzero(places < ends)
        while len(left):
            at = places[left]
            hit = (first[at] == hashes[0][left]) & (second[at] == hashes[1][left])
            found[left[hit]] = True
            places[left] += 1
            left = left[~hit & (at + 1 < ends[left])]
        return found


class _Runs:
    """Columns in any order, as runs. Not thread-safe."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._waiting: list[Columns] = []
        self._bytes = 0
        self._paths: list[Path] = []
        self.runs: list[_Run] = []

    def add(self, columns: Columns) -> None:
        """Raises DiskFull."""
        self._waiting.append(columns)
        self._bytes += sum(column.nbytes for column in columns)
        if self._bytes >= RUN_BYTES:
            self.seal()

    def seal(self) -> None:
        """Makes a run of what waits. Small runs are merged, so that there are few of them however little comes at once."""
        if not self._bytes:
            return
        waiting, full = self._waiting, self._bytes >= RUN_BYTES
        self._waiting, self._bytes = [], 0
        columns = _sorted(waiting)
        while not full and self.runs and len(self.runs[-1]) <= 2 * len(columns[0]):  # a spilled one is longer
            columns = _sorted([self.runs.pop().columns, columns])
        self.runs.append(_Run(self._spilled(columns) if full else columns))

    def absorb(self, other: _Runs) -> None:
        """Takes over what another one has, which is empty afterwards."""
        other.seal()
        for run in other.runs:
            if isinstance(run.columns[0], np.memmap):
                self.runs.insert(0, run)
            else:
                self.add(run.columns)
        self._paths += other._paths
        other.runs, other._paths = [], []

    def _spilled(self, columns: Columns) -> Columns:
        path, count = self._store.stage(), len(columns[0])
        self._paths.append(path)
        with out_of_space(self._store, path), path.open("wb") as file:
            for column in columns:
                column.tofile(file)
        return tuple(np.memmap(path, np.uint64, "r", number * count * 8, (count,)) for number in range(len(columns)))

    def discard(self) -> None:
        """Removes the files."""
        self.runs = []
        while self._paths:
            self._paths.pop().unlink(missing_ok=True)


class ValueSet:
    """Values that occur somewhere. Not thread-safe."""

    def __init__(self, store: ObjectStore) -> None:
        """store: where runs are staged."""
        self._runs = _Runs(store)

    def add(self, hashes: Hashes) -> None:
        """Takes values; again, which costs memory only. Raises DiskFull."""
        self._runs.add(hashes)

    def has(self, hashes: Hashes) -> Mask:
        """Which of these occur."""
        self._runs.seal()
        found = np.zeros(len(hashes[0]), np.bool_)
        for run in self._runs.runs:
            found |= run.has(hashes)
        return found

    def absorb(self, other: ValueSet) -> None:
        """Takes over the values of another set, which is empty afterwards."""
        self._runs.absorb(other._runs)

    def discard(self) -> None:
        """Removes its files."""
        self._runs.discard()


class Suspects:
    """Finds which values of a file may occur twice, by the first halves of their hashes alone: almost always none, at 8 bytes a row.

    Whoever is told of some looks closely at the rows that have them. Not thread-safe.
    """

    def __init__(self, store: ObjectStore) -> None:
        """store: where runs are staged."""
        self._runs = _Runs(store)

    def add(self, first: Words) -> None:
        """One element a row. Raises DiskFull."""
        self._runs.add((first,))

    def twice(self) -> Words:
        """Those that occur more than once, ascending."""
        found = [np.unique(part[1:][part[1:] == part[:-1]]) for part in self._parts()]
        return np.concatenate(found) if found else np.empty(0, np.uint64)

    def discard(self) -> None:
        """Removes its files."""
        self._runs.discard()

    def _parts(self) -> Iterator[Words]:
        """All of it sorted, by ranges of the hash, so that equal ones meet, about a run's length at a time."""
        self._runs.seal()
        firsts = [run.columns[0] for run in self._runs.runs]
        if len(firsts) == 1:
            yield firsts[0]
            return
        for number in range(len(firsts)):
            low, high = _TOP * number // len(firsts), _TOP * (number + 1) // len(firsts)
            yield np.sort(np.concatenate([first[_place(first, low) : _place(first, high)] for first in firsts]), kind="stable")


def among(first: Words, suspects: Words) -> npt.NDArray[np.int64]:
    """Places of those that are among the suspects (ascending)."""
    places = np.minimum(np.searchsorted(suspects, first), len(suspects) - 1)
    return np.flatnonzero(suspects[places] == first)


def _sorted(parts: Sequence[Columns]) -> Columns:
    columns = parts[0] if len(parts) == 1 else tuple(np.concatenate(halves) for halves in zip(*parts, strict=True))
    if len(columns) == 1:
        return (np.sort(columns[0]),)
    order = np.argsort(columns[0], kind="stable")
    return tuple(column[order] for column in columns)


def _place(run: Words, bound: int) -> int:
    return len(run) if bound >= _TOP else int(np.searchsorted(run, np.uint64(bound)))
