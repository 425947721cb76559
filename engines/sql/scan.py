"""A table's rows with their keys, for a job that reads all of it in its own process. Blocking; the same merge as every query.

The order is the same each time for one TableSource: files as committed, then the merged deltas by key. That is why one partition reads, and
partitions of a union one after the other. It refuses SQL from outside: only columns are chosen here.
Next: `session.py`, `engines/row_keys.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from engines.errors import EngineError, FilterInvalid, QueryInvalid
from engines.row_keys import row_keys
from engines.sql.problems import QueryProblem
from engines.sql.projection import plain_schema
from engines.sql.readings import quote
from engines.sql.session import Session
from engines.sql.source import LakeTable, TableSource, source_from_dict

KEY = "key"


def scan(source: TableSource | Mapping[str, Any], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Batches with `key`, the row's key as a string, and the columns, texts as plain strings. source: or what its `to_dict` gave.

    Raises QueryInvalid for an unknown column, or one named `key`; EngineError if a file cannot be read.
    """
    table = source_from_dict(source) if isinstance(source, Mapping) else source
    if KEY in columns:
        raise QueryInvalid("A column named `key` cannot be scanned beside the rows' keys.", remedy="Rename it in the dataset.")
    primary_key = table.primary_key if isinstance(table, LakeTable) else ()
    session = Session(partitions=1)
    try:
        with session.identities(table, None, primary_key, columns) as frame:
            for stream in frame.execute_stream_partitioned():
                for batch in stream:
                    yield _keyed(batch.to_pyarrow(), primary_key, columns)
    except QueryProblem as problem:
        raise _told(problem) from problem


def values(source: TableSource | Mapping[str, Any], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Batches of the columns alone. Raises as `scan` does."""
    table = source_from_dict(source) if isinstance(source, Mapping) else source
    session = Session(partitions=1)
    try:
        with session.identities(table, None, table.primary_key if isinstance(table, LakeTable) else (), columns) as frame:
            for stream in frame.select(*map(quote, columns)).execute_stream_partitioned():
                for batch in stream:
                    found = batch.to_pyarrow()
                    yield found.cast(plain_schema(found.schema))
    except QueryProblem as problem:
        raise _told(problem) from problem


def _told(problem: QueryProblem) -> EngineError:
    kind = QueryInvalid if problem.problem == "invalid" else EngineError
    return kind(problem.message, remedy=problem.remedy)


def rows_where(source: Mapping[str, Any], columns: Sequence[str], condition: str | None) -> Iterator[pa.RecordBatch]:
    """The rows that satisfy a condition, without their keys, of what a TableSource's `to_dict` gave. Raises as `scan` does.

    condition: one boolean expression over the columns, written by us.
    """
    table = source_from_dict(source)
    primary_key = table.primary_key if isinstance(table, LakeTable) else ()
    try:
        with Session(partitions=1).identities(table, condition, primary_key, columns) as frame:
            for stream in frame.execute_stream_partitioned():
                for batch in stream:
                    chosen = batch.to_pyarrow().select(list(columns))
                    yield chosen.cast(plain_schema(chosen.schema))
    except QueryProblem as problem:
        raise EngineError(problem.message, remedy=problem.remedy) from problem


def keys_where(source: Mapping[str, Any], condition: str) -> pa.Array:
    """The keys of the rows that satisfy somebody's condition, a string array; as the query service's `keys`, in this process.

    Raises FilterInvalid for what is no condition over the columns, EngineError if a file cannot be read.
    """
    table = source_from_dict(source)
    primary_key = table.primary_key if isinstance(table, LakeTable) else ()
    try:
        with Session(partitions=1).identities(table, condition, primary_key) as frame:
            found = [row_keys(batch.to_pyarrow(), primary_key) for batch in frame.execute_stream()]
    except QueryProblem as problem:
        if problem.problem == "storage":
            raise EngineError(problem.message, remedy=problem.remedy) from problem
        message = "A filter may not read tables." if problem.problem == "unknown-table" else problem.message
        raise FilterInvalid(message, remedy=problem.remedy) from problem
    return pa.chunked_array(found, pa.string()).combine_chunks()


def _keyed(batch: pa.RecordBatch, primary_key: Sequence[str], columns: Sequence[str]) -> pa.RecordBatch:
    chosen = batch.select(list(columns))
    chosen = chosen.cast(plain_schema(chosen.schema))
    return pa.RecordBatch.from_arrays([row_keys(batch, primary_key), *chosen.columns], names=[KEY, *columns])
