"""Ledgers as system tables: `system.journal` and `system.quarantine` are the Parquet files that every table's commits noted, and every
index's embedding. Pure.

Seen as one table of many files, so that the same views and scans serve them, with the same pruning. A file of the journal is written before
it is known when its change is committed: that is told by its place (`views.py`). Next: `tables.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from state.catalog.data_files import COMPACTION, DataFile
from state.catalog.fold import ObjectState
from state.catalog.schemas import Column, Schema
from state.catalog.tables import Ledger, LedgerKind, Table
from state.timestamps import from_iso


def _schema(text: str) -> Schema:
    parts = [word.partition(":") for word in text.split()]
    return Schema(1, tuple(Column(number, name, kind or "string") for number, (name, _, kind) in enumerate(parts, start=1)))


LEDGER_SCHEMAS: Mapping[LedgerKind, Schema] = {
    "journal": _schema("dataset entity field old new op actor source reason revision version:int64 workspace at:timestamp"),
    "quarantine": _schema("dataset source line:int64 rule reason text at:timestamp key"),
}
SUMMARIES: Mapping[str, str] = {
    "journal": "Changes of existing rows by field; a first load is one row per file with its count.",
    "quarantine": "Rows that violate a contract, or have no vector of use, with their original text.",
}
LEDGER_TABLES = {f"system.{kind}": kind for kind in LEDGER_SCHEMAS}


def ledger_table(kind: LedgerKind, states: Iterable[ObjectState]) -> Table:
    """All ledgers of this kind as one table. states: of Datasets and Indexes. The sequence of each file is `instant_of` it."""
    files = tuple(file for state in states for file in _files(kind, state))
    return Table(f"system.{kind}", version=1, schemas=(LEDGER_SCHEMAS[kind],), files=files)


def _files(kind: LedgerKind, state: ObjectState) -> Iterator[DataFile]:
    for ledger in () if state.table is None else state.table.ledgers:
        if ledger.kind == kind:
            yield DataFile(ledger.ref, "base", instant_of(ledger), ledger.rows, ledger.source, 0, 1)
    aside = None if state.index is None else state.index.aside
    if kind == "quarantine" and aside is not None:
        yield DataFile(aside.ref, "base", 0, aside.rows, state.object, 0, 1)


def instant_of(ledger: Ledger) -> int:
    """When its rows were committed, in milliseconds since 1970; 0 where they say it themselves: those of several commits, and those of a
    quarantine, which may have been judged again."""
    if ledger.kind != "journal" or ledger.source.startswith(COMPACTION):
        return 0
    return round(from_iso(ledger.at).timestamp() * 1000)
