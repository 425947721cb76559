"""How much of an object of the catalog a reader sees: nothing, that it is there, or all that is told of it. Pure; asks `decide`.

What is told of a table (rows, bytes, examples, messages) is of all its rows, so whoever does not see all of them is told names alone.
"""

from __future__ import annotations

from engines.reading import IndexName, Reader, TableName, decide
from engines.sql.tables import sql_name
from state.catalog.fold import ObjectState


def dataset_seen(reader: Reader, name: str, state: ObjectState | None) -> bool:
    """Whether the reader may know of the Dataset. state: None where nothing is recorded of it."""
    return decide(reader, _table(name, state), "describe").allowed


def dataset_whole(reader: Reader, name: str, state: ObjectState | None) -> bool:
    """Whether it may know all of it, each row and value."""
    return decide(reader, _table(name, state), "read").whole


def index_seen(reader: Reader, state: ObjectState) -> bool:
    """Whether the reader may know of the Index."""
    return decide(reader, IndexName(state.name, None if state.index is None else state.index.bucket), "describe").allowed


def index_whole(reader: Reader, state: ObjectState) -> bool:
    """Whether it may know all of it, each row that it is of. Of which it is that, too, is known of a declared one only."""
    if reader.operator:
        return index_seen(reader, state)
    about = {} if state.managed is None else state.managed.about
    dataset = about.get("dataset")
    if not isinstance(dataset, str) or not index_seen(reader, state):
        return False
    return decide(reader, TableName(sql_name(dataset), reader.bucket), "search").whole


def _table(name: str, state: ObjectState | None) -> TableName:
    return TableName(sql_name(name), None if state is None or state.table is None else state.table.bucket)
