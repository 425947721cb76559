"""What occurs elsewhere than in the file that is judged: in the table, in files that the same job took before it, in other datasets.

Read once a job, when the first row asks. Next: `judge.py`; `engines/sql/scan.py`, which reads tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.files.contract import Reference, Terms
from engines.files.value_hashes import hash_rows
from engines.files.value_sets import ValueSet
from engines.sql.scan import values
from state.objects import ObjectStore

Group = tuple[str, ...]


class PresentValues:
    """A context: leaving it removes what was spilled. Not thread-safe; blocking."""

    def __init__(self, terms: Terms, store: ObjectStore, *, several: bool) -> None:
        """store: where memory spills. several: files are judged one after the other, and must be unique among each other too."""
        self._terms, self._store = terms, store
        self.gathers = several
        self._groups: dict[Group, ValueSet] = {}
        self._references: dict[str, ValueSet] = {}

    def group(self, group: Group) -> ValueSet:
        """Values of these columns in the table's rows that stay, and in what was accepted since."""
        if group not in self._groups:
            found = self._groups[group] = ValueSet(self._store)
            present = self._terms.present
            if present is not None and set(group) <= {name for name, _ in present["columns"]}:
                _add(found, present, group)
        return self._groups[group]

    def reference(self, reference: Reference) -> ValueSet:
        """Values of the column that is referred to."""
        if reference.column not in self._references:
            found = self._references[reference.column] = ValueSet(self._store)
            _add(found, reference.source, (reference.target,))
        return self._references[reference.column]

    def accept(self, values_of: Mapping[Group, ValueSet]) -> None:
        """From now on the values of a file are there, too; takes them over."""
        for group, found in values_of.items():
            self.group(group).absorb(found)

    def __enter__(self) -> PresentValues:
        return self

    def __exit__(self, *_: object) -> None:
        for found in (*self._groups.values(), *self._references.values()):
            found.discard()


def _add(found: ValueSet, source: Mapping[str, Any], columns: Group) -> None:
    for batch in values(source, columns):
        (first, second), whole = hash_rows(batch.columns)
        found.add((first[whole], second[whole]))
