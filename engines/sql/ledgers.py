"""Ledgers as system tables: `system.journal` and `system.quarantine` are the Parquet files that every table's commits noted. Pure.

Seen as one table of many files, so that the same views and scans serve them, with the same pruning. Next: `tables.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from state.catalog.data_files import DataFile
from state.catalog.schemas import Column, Schema
from state.catalog.tables import LedgerKind, Table


def _schema(text: str) -> Schema:
    parts = [word.partition(":") for word in text.split()]
    return Schema(1, tuple(Column(number, name, kind or "string") for number, (name, _, kind) in enumerate(parts, start=1)))


LEDGER_SCHEMAS: Mapping[LedgerKind, Schema] = {
    "journal": _schema("dataset entity field old new op actor source reason revision version:int64 workspace at:timestamp"),
    "quarantine": _schema("dataset source line:int64 rule reason text at:timestamp"),
}
SUMMARIES: Mapping[str, str] = {
    "journal": "Changes of existing rows by field; a first load is one row per file with its count.",
    "quarantine": "Rows that violate a contract, with their original text.",
}
LEDGER_TABLES = {f"system.{kind}": kind for kind in LEDGER_SCHEMAS}


def ledger_table(kind: LedgerKind, tables: Iterable[Table]) -> Table:
    """All ledgers of this kind as one table."""
    ledgers = [ledger for table in tables for ledger in table.ledgers if ledger.kind == kind]
    files = tuple(DataFile(ledger.ref, "base", 0, ledger.rows, ledger.source, 0, 1) for ledger in ledgers)
    return Table(f"system.{kind}", version=1, schemas=(LEDGER_SCHEMAS[kind],), files=files)
