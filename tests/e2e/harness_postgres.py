"""What tests say to a PostgreSQL server, over a connection of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

EMPTY = "DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public"


@dataclass(frozen=True)
class Postgres:
    """dsn: of a database that each test finds empty."""

    dsn: str

    def run(self, statements: str) -> None:
        """Any number of statements without a result."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statements.encode())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query gives."""
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query.encode()).fetchall()
