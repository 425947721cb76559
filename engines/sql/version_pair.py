"""Two versions of one table, as far as they can differ: what has to be read to compare them. Pure.

Files that both have are left out, unless a file that only one of them has may hold rows of the same keys: a key in none of those has the
same row in both. Next: `diff.py`, which compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from engines.errors import QueryInvalid
from engines.sql.source import LakeTable, source_from_dict
from engines.sql.views import touching
from state.catalog.data_files import DataFile
from state.catalog.schemas import Schema
from state.catalog.tables import Table

TELLING = ("string", "int64", "bool", "date")
"""Types of keys that are found by their value: a float may be equal to what it is not, and other than itself."""
FEW = 4
"""One of so many rows, or bytes: where more are in files of one version alone, joining all finds the others as quickly."""
_PASSED_OVER = 8
"""How many times as long a row takes that is laid down, sorted and joined."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two versions of one table, by key. former, later: what of them is read. distinct: whether each key is in a version once."""

    former: LakeTable
    later: LakeTable
    primary_key: tuple[str, ...]
    distinct: bool = True

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {"former": self.former.to_dict(), "later": self.later.to_dict(), "key": list(self.primary_key), "distinct": self.distinct}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError or TypeError for what `to_dict` does not make."""
        former, later = (source_from_dict(data[name]) for name in ("former", "later"))
        assert isinstance(former, LakeTable)
        assert isinstance(later, LakeTable)
        return cls(former, later, tuple(data["key"]), data["distinct"])


def scopes(former: Table, later: Table) -> tuple[Table, Table]:
    """The parts of both in which they can differ. Pure. Raises QueryInvalid where their rows cannot be told apart in the same way."""
    if former.primary_key != later.primary_key:
        keys = [", ".join(table.primary_key) or "none" for table in (former, later)]
        raise QueryInvalid(
            f"The key of `{later.name}` was {keys[0]} in version {former.version} and is {keys[1]} in version {later.version}.",
            remedy="Rows of such versions cannot be compared one by one; export both and compare the files.",
        )
    former, later = _widened(former, later), _widened(later, former)
    ours, theirs = _places(former), _places(later)
    only = [file for place, file in (*ours.items(), *theirs.items()) if (place in ours) != (place in theirs)]
    return _scope(former, later, ours, only), _scope(later, former, theirs, only)


def weight(former: Table, later: Table) -> int:
    """Bytes that comparing two scopes is worth: rows of files that both have are hardly more than passed over, where `suspects.py` can tell
    them by their keys. Pure."""
    ours, theirs = ({file.ref: file.ref.size for file in table.readable} for table in (former, later))
    own = sum(size for ref, size in (*ours.items(), *theirs.items()) if (ref in ours) != (ref in theirs))
    shared = sum(ours.values()) + sum(theirs.values()) - own
    told = later.primary_key and _key_type(later) == _key_type(former) in TELLING
    return own + (shared // _PASSED_OVER if told and own * FEW <= shared else shared)


def _widened(table: Table, other: Table) -> Table:
    """With the columns that only the other has: null in every row."""
    known = {column.name for column in table.columns}
    columns = (*table.columns, *(column for column in other.columns if column.name not in known))
    return replace(table, schemas=(*table.schemas[:-1], Schema(table.schema.id, columns)))


def _places(table: Table) -> dict[tuple[str, str, int], DataFile]:
    return {(file.key, file.role, file.sequence): file for file in table.readable}


def _scope(table: Table, other: Table, files: Mapping[tuple[str, str, int], DataFile], only: Sequence[DataFile]) -> Table:
    own = {file.ref for file in only}
    shared = [file for file in files.values() if file.ref not in own]
    if not table.primary_key:
        shared = []
    elif _key_type(table) == _key_type(other):
        shared = list(touching(table, shared, only))
    chosen = {file.ref for file in shared} | own
    return replace(table, files=tuple(file for file in files.values() if file.ref in chosen))


def _key_type(table: Table) -> str:
    return next((column.type for column in table.columns if column.name == table.primary_key[0]), "")
