"""Profiles: what is known of a table's columns, merged over the contents that it is made of.

Each content's profile is a small JSON object that its ingest wrote (the ledger `profile`). Merged are rows, nulls, the sketch of distinct
values (a bottom-k sketch: the k smallest hashes of all are those of the union), examples, and findings of sensitive data: what any content
holds, the column holds. Of contents that only former versions have, which can still be read, findings alone are told. A profile that cannot
be read now says nothing; the rest is told without it.

It refuses to decide what may be shown to whom. Next: `descriptions.py`, which does; `engines/files/profiling.py`, which writes.
"""

from __future__ import annotations

import base64
import sys
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby, islice
from threading import Lock
from typing import Any, Generic, Protocol, Self, TypeAlias, TypeVar

import orjson

from specs.scalars import Sensitivity
from state.catalog.data_files import COMPACTION, is_content
from state.catalog.tables import Table
from state.errors import StateError
from state.objects import ObjectRef

FORMAT = 1
SKETCH = 512
"""Hashes that a sketch keeps."""
EXAMPLES = 3
_REMEMBERED, _GROWING = 20_000, 64
"""Tables whose profile is kept in memory, and those of them whose sketches are: 4 KiB a column."""
_HASHES = 1 << 64


@dataclass(frozen=True, slots=True)
class Finding:
    """What sensitive thing a column holds. share: of the `sampled` distinct values that match; evidence: a sentence that shows none."""

    entity: str
    sensitivity: Sensitivity
    share: float
    sampled: int
    evidence: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        known = {"entity": self.entity, "class": self.sensitivity, "share": self.share}
        return known | {"sampled": self.sampled, "evidence": self.evidence}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError where a field is missing."""
        return cls(data["entity"], data["class"], data["share"], data["sampled"], data["evidence"])


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """What is known of a column. distinct: values, exact below SKETCH, else with a standard error of 4 %; findings: by entity."""

    rows: int
    nulls: int
    distinct: int | None
    examples: tuple[str, ...] = ()
    findings: Mapping[str, Finding] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sketched:
    """The same, able to be merged. hashes: ascending, the SKETCH smallest; None where nothing was counted."""

    rows: int
    nulls: int
    hashes: array[int] | None
    examples: tuple[str, ...]
    findings: Mapping[str, Finding]

    def merged(self, other: Sketched) -> Sketched:
        """Of both contents together."""
        both = None if self.hashes is None or other.hashes is None else merge(self.hashes, other.hashes)
        hashes = None if both is None else array("Q", islice((value for value, _ in groupby(both)), SKETCH))
        findings = _all_found(self.findings, other.findings)
        examples = tuple(islice(dict.fromkeys((*self.examples, *other.examples)), EXAMPLES)) if not findings else ()
        return Sketched(self.rows + other.rows, self.nulls + other.nulls, hashes, examples, findings)

    def summary(self) -> ColumnProfile:
        """What is told of it."""
        return ColumnProfile(self.rows, self.nulls, self._distinct(), self.examples, self.findings)

    def _distinct(self) -> int | None:
        if self.hashes is None or len(self.hashes) < SKETCH:
            return None if self.hashes is None else len(self.hashes)
        return round((SKETCH - 1) * _HASHES / self.hashes[-1])


def _all_found(one: Mapping[str, Finding], other: Mapping[str, Finding]) -> dict[str, Finding]:
    """By entity."""
    both = {entity: _together(one[entity], other[entity]) for entity in one.keys() & other.keys()}
    return {**other, **one, **both}


def _together(one: Finding, other: Finding) -> Finding:
    """The evidence of the clearer one, the share of both samples."""
    clearer = max((one, other), key=lambda each: (each.share, each.sampled))
    sampled = one.sampled + other.sampled
    share = (one.share * one.sampled + other.share * other.sampled) / sampled if sampled else 0.0
    return Finding(clearer.entity, clearer.sensitivity, round(share, 4), sampled, clearer.evidence)


Findings: TypeAlias = Mapping[str, Mapping[str, Finding]]
"""By column and entity."""


@dataclass(frozen=True, slots=True)
class TableProfile:
    """Columns by name; one that no readable profile knows is not there. complete: each content that the table is bound to was looked at,
    or what it was folded into, and each that former versions have. former: what was found in these and is not in the table any more."""

    columns: Mapping[str, ColumnProfile] = field(default_factory=dict)
    complete: bool = False
    former: Findings = field(default_factory=dict)


def parse(document: bytes) -> Mapping[str, Sketched]:
    """By column. Raises ValueError, KeyError or TypeError for what is no profile of this format."""
    data = orjson.loads(document)
    if data["format"] != FORMAT:
        raise ValueError(f"unknown format {data['format']!r}")
    return {column["name"]: _column(column) for column in data["columns"]}


def source_of(document: bytes) -> str:
    """The digest of the content that it is of. Raises ValueError, KeyError or TypeError for what is no profile."""
    return str(orjson.loads(document)["source"])


def _column(data: Mapping[str, Any]) -> Sketched:
    hashes = None
    if data["sketch"] is not None:
        hashes = array("Q", base64.b64decode(data["sketch"]))
        if sys.byteorder == "big":
            hashes.byteswap()
    findings = {found["entity"]: Finding.from_dict(found) for found in data["findings"]}
    return Sketched(data["rows"], data["nulls"], hashes, tuple(data["examples"]), findings)


def merge_all(profiles: Iterable[Mapping[str, Sketched]]) -> dict[str, Sketched]:
    """Of several contents, by column."""
    merged: dict[str, Sketched] = {}
    for profile in profiles:
        merged |= {name: merged[name].merged(column) if name in merged else column for name, column in profile.items()}
    return merged


class Objects(Protocol):
    """The one reader of objects. Blocking."""

    def read(self, ref: ObjectRef) -> bytes:
        """Raises StateError."""


_T = TypeVar("_T")


class _Newest(Generic[_T]):
    """The newest so many values by table, each with the contents that it is of."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[str, tuple[frozenset[str], _T]] = OrderedDict()

    def get(self, name: str) -> tuple[frozenset[str], _T] | None:
        return self._known.get(name)

    def put(self, name: str, contents: frozenset[str], value: _T) -> None:
        self._known[name] = contents, value
        self._known.move_to_end(name)
        if len(self._known) > self._most:
            self._known.popitem(last=False)


def _complete(table: Table) -> bool:
    profiled = {ledger.source for ledger in table.ledgers if ledger.kind == "profile"}
    wanted = {binding.digest for binding in table.bindings.values()} - table.folded.keys()
    wanted |= {file.source for file in table.files if file.source.startswith(COMPACTION)}
    removed = (file.source for step in table.former for file in step.removed if not file.lost)
    wanted |= {source for source in removed if is_content(source) or source.startswith(COMPACTION)}
    return bool(profiled) and wanted <= profiled


def _gone(table: Table) -> frozenset[str]:
    """The contents that only former versions have."""
    removed = {file.source for step in table.former for file in step.removed}
    bound = {binding.digest for binding in table.bindings.values()} - table.folded.keys()
    return frozenset(removed - {file.source for file in table.files} - bound)


class Profiles:
    """Thread-safe, blocking. A table that grew lately is merged with what is new of it only."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._told: _Newest[Mapping[str, ColumnProfile]] = _Newest(_REMEMBERED)
        self._growing: _Newest[Mapping[str, Sketched]] = _Newest(_GROWING)
        self._former: _Newest[Mapping[str, Findings]] = _Newest(_REMEMBERED)
        self._lock = Lock()

    def of(self, table: Table) -> TableProfile:
        """The table's columns as far as its profiles can be read."""
        ledgers, gone = [ledger for ledger in table.ledgers if ledger.kind == "profile"], _gone(table)
        columns, whole = self._columns(table.name, {one.ref.sha256: one.ref for one in ledgers if one.source not in gone})
        former, known = self._found_before(table.name, {one.ref.sha256: one.ref for one in ledgers if one.source in gone})
        return TableProfile(columns, whole and known and _complete(table), former)

    def _columns(self, name: str, refs: Mapping[str, ObjectRef]) -> tuple[Mapping[str, ColumnProfile], bool]:
        """Of all contents together, and whether all could be read. refs: by their SHA-256."""
        with self._lock:
            told, growing = self._told.get(name), self._growing.get(name)
        if told is not None and told[0] == refs.keys():
            return told[1], True
        contents, merged = growing if growing is not None and growing[0] <= refs.keys() else (frozenset[str](), {})
        read = dict(self._read(ref for sha256, ref in refs.items() if sha256 not in contents))
        sketched = merge_all([merged, *read.values()])
        columns = {column: found.summary() for column, found in sketched.items()}
        known = contents | read.keys()
        with self._lock:
            self._growing.put(name, known, sketched)
            self._told.put(name, known, columns)
        return columns, known == refs.keys()

    def _found_before(self, name: str, refs: Mapping[str, ObjectRef]) -> tuple[Findings, bool]:
        """What was found in any of these contents, and whether all could be read. refs: by their SHA-256."""
        with self._lock:
            known = self._former.get(name)
        each = {sha256: found for sha256, found in known[1].items() if sha256 in refs} if known is not None else {}
        for sha256, columns in self._read(ref for sha256, ref in refs.items() if sha256 not in each):
            each[sha256] = {column: told.findings for column, told in columns.items() if told.findings}
        with self._lock:
            self._former.put(name, frozenset(each), each)
        found: dict[str, Mapping[str, Finding]] = {}
        for column, findings in (one for content in each.values() for one in content.items()):
            found[column] = _all_found(found.get(column, {}), findings)
        return found, each.keys() == refs.keys()

    def _read(self, refs: Iterable[ObjectRef]) -> Iterator[tuple[str, Mapping[str, Sketched]]]:
        for ref in refs:
            try:
                yield ref.sha256, parse(self._objects.read(ref))
            except (StateError, ValueError, KeyError, TypeError):
                continue
