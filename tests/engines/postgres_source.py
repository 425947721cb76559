"""Reads of a PostgreSQL database into a folder, for the tests of it as a source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from harness_postgres import Postgres

from engines.files.extract import Extract, ExtractTask
from engines.files.ingest_task import IngestTask
from engines.postgres.connection import Server
from engines.postgres.extract import read
from engines.postgres.task import PostgresTask
from state.places import BucketConfig
from state.secrets import Secret


class Source:
    """Reads queries of one database into a bucket below a folder."""

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        self.folder, self.postgres = folder, postgres
        self.target = BucketConfig("primary", "local", str(folder))

    def task(self, query: str, **more: Any) -> PostgresTask:
        rows = IngestTask("runs", "", "postgres:query", "token", "rows", self.target, "datasets/runs", "t")
        return PostgresTask(ExtractTask(rows), "kb", query, query, **more)

    def read(self, query: str, **more: Any) -> Extract:
        return self.run(self.task(query, **more))

    def run(self, task: PostgresTask) -> Extract:
        return read(task, self.server(), lambda done, total: None)

    def server(self) -> Server:
        return Server(Secret("kb", {"dsn": self.postgres.dsn}))

    def server_type(self, expression: str) -> str:
        """As PostgreSQL writes it."""
        with self.server().snapshot() as snapshot:
            return snapshot.describe(f"SELECT {expression}")[0].type

    def table(self, made: Extract) -> pa.Table:
        assert made.rows.refused == {}
        parts = [pq.read_table(self.folder / part.key) for parts in made.rows.files.values() for part in parts]
        return pa.concat_tables(parts).drop_columns(["_file", "_row"])

    def rows(self, made: Extract) -> list[dict[str, Any]]:
        assert made.rows.refused == {}
        return self.table(made).to_pylist() if any(made.rows.files.values()) else []


def types(made: Extract) -> dict[str, str]:
    assert made.rows.schema is not None
    return {column.name: column.type for column in made.rows.schema.columns}


def refused(made: Extract) -> str:
    assert made.rows.files == {}
    ((_, reason),) = made.rows.refused.values()
    return reason
