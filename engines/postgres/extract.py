"""The job that reads a PostgreSQL table or query into parts of a table. Blocking.

It asks for the secret by name, so that neither job nor result holds it. Next: `reading.py`, `engines/files/extract.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from engines.files.extract import Extract, extract
from engines.files.ingest_task import Progress
from engines.files.types import arrow_type
from engines.postgres.columns import settle, wire
from engines.postgres.connection import Server, quoted
from engines.postgres.reading import Cursor, PostgresReading
from engines.postgres.task import PostgresTask
from engines.postgres.window import Window
from engines.sql.scan import rows_where
from state.catalog.tables import Origin
from state.secrets import secrets_here


def run(arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """A `PostgresTask` in, an `Extract` out, both as JSON. Raises SecretMissing, SourceUnavailable and what storing raises."""
    return read(PostgresTask.from_dict(arguments), Server(secrets_here().get(arguments["secret"])), progress).to_dict()


def read(task: PostgresTask, server: Server, progress: Progress) -> Extract:
    """See `run`."""
    ordered = task.rows.rows.write == "upsert"
    cursor = Cursor(task.cursor, task.last, task.overlap, ordered) if task.cursor is not None else None
    reading = PostgresReading(server, task.query, cursor, lambda lower, kind: _window(task, lower, kind))

    def origin() -> Origin:
        return Origin(place=server.place, reads=task.reads, cursor=reading.cursor or "", step=int(reading.cut))

    return extract(task.rows, reading, origin, progress, reading if cursor is not None else None)


def _window(task: PostgresTask, lower: str | None, kind: str) -> Window:
    """The rows of the table from the lower bound on; all of them where it forgot how far it had read."""
    if task.held is None or task.cursor is None or task.rows.rows.schema is None:
        return Window()
    column = task.rows.rows.schema.column(task.cursor)
    comparable = column is not None and column.type == kind
    condition = _at_least(task.cursor, lower, kind) if lower is not None and comparable else None
    until = _scalar(task.last, kind) if task.last is not None and comparable else None
    names = [column.name for column in task.rows.rows.schema.columns]
    return Window(rows_where(task.held, names, condition), task.cursor, until, keyed=task.rows.rows.write == "upsert")


def _at_least(column: str, value: str, kind: str) -> str:
    """A condition in our SQL: the same value as the server's text, in the type that the files have."""
    text = str(_scalar(value, kind).cast(pa.string()).as_py()).replace("'", "''")
    return f"{quoted(column)} >= arrow_cast('{text}', '{_ARROW.get(kind) or _decimal(kind)}')"


_ARROW = {
    "string": "Utf8", "int64": "Int64", "float64": "Float64", "bool": "Boolean", "date": "Date32",
    "timestamp": "Timestamp(Microsecond, None)",
}  # fmt: skip


def _decimal(kind: str) -> str:
    found = arrow_type(kind)
    return f"Decimal128({found.precision}, {found.scale})"


def _scalar(text: str, kind: str) -> pa.Scalar:
    """What the server wrote, as our type."""
    zoned = kind == "timestamp" and text.endswith("+00")
    how = wire("timestamp with time zone" if zoned else "", kind)
    return settle(pa.array([text]).cast(how.parsed), how)[0]
