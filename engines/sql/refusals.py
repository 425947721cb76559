"""Why a query has no answer: what a worker says of its problem -> the error that a reader is told. Pure, but for the look at names.

A name that a reader may not see is unknown to it, and suggested to nobody. Next: `problems.py`, where a worker says what went wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from engines.errors import QueryError, QueryForbidden, QueryInvalid, QueryMemory, QueryTooLarge, TableUnknown
from engines.policies.system_tables import SHOWN
from engines.reading import Reader, TableName, decide
from engines.sql.limits import MIB
from engines.sql.problems import LISTING
from specs.errors import LakehouseError
from specs.suggestions import nearest
from state.errors import DiskFull

DATASETS = TableName("system.datasets")
SCHEMA_LISTING = f"`{LISTING}` lists the tables, `SELECT dataset, name, type FROM system.columns` their columns."


def refusal(header: Mapping[str, Any], memory: int) -> LakehouseError:
    """The error of a worker's problem, which is not that a table is unknown. memory: bytes that the query might have."""
    message, remedy = header["message"], header["remedy"]
    match header["problem"]:
        case "forbidden" | "policy":
            return QueryForbidden(message, remedy=remedy)
        case "too-large":
            return QueryTooLarge(message, remedy=remedy)
        case "memory":
            return too_much_memory(memory)
        case "disk":
            return DiskFull("", "the query's scratch files")
        case "storage":
            return QueryError(f"A file of a table cannot be read: {message}", remedy="`lakectl status` tells whether a dataset is damaged.")
        case _:
            return QueryInvalid(message, remedy=remedy)


def unknown(name: str, known: Iterable[TableName], reader: Reader) -> TableUnknown:
    """Of a name that is no table for this reader. known: every table that there is."""
    if name.partition(".")[0] == "information_schema":
        return TableUnknown("There is no information_schema here.", remedy=SCHEMA_LISTING)
    near = nearest_names(name, [str(table) for table in known if _may_name(reader, table)])
    remedy = f"`{LISTING}` lists the tables." if _may_name(reader, DATASETS) else None
    if near:
        remedy = f"Did you mean {' or '.join(f'`{table}`' for table in near)}?"
    return TableUnknown(f"There is no table `{name}`.", remedy=remedy)


def _may_name(reader: Reader, name: TableName) -> bool:
    if name.system and not reader.operator:
        return name.name in SHOWN
    return decide(reader, name, "read").allowed


def nearest_names(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The closest names, closest first; one in another schema counts as close when its last part is."""
    left = set(known)
    found: list[str] = []
    while len(found) < most:
        near = nearest(name, left) or nearest(name, {entry for entry in left if entry.rpartition(".")[2] == name})
        tail = {entry.rpartition(".")[2]: entry for entry in left if "." in entry}
        near = near or tail.get(nearest(name.rpartition(".")[2], tail) or "")
        if near is None:
            break
        found.append(near)
        left.discard(near)
    return found


def too_much_memory(limit: int) -> QueryMemory:
    """limit: bytes."""
    message = f"The query needs more memory than it may have ({limit // MIB} MiB)."
    return QueryMemory(message, remedy="Select fewer rows or columns, or aggregate.")
