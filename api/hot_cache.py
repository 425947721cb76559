"""GET /catalog/cache: which tables are held ready, at which version, in how many bytes, and how often they were read there.

`system.cache` says the same in SQL. Next: `engines/sql/hot_cache.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from aiohttp import web
from pydantic import Field

from api.bodies import JSON, Document, NoParameters, answer, read_parameters
from api.endpoints import Endpoint
from api.reader import READER, may
from engines.reading import TableName
from engines.sql.hot_cache import Held
from engines.sql.tables import sql_name


class CacheSource(Protocol):
    """The hot cache. From memory."""

    @property
    def most(self) -> int:
        """Bytes that it may hold."""

    def held(self) -> Sequence[Held]:
        """What there is."""


class HeldTable(Document):
    """One table that is held ready."""

    dataset: str
    version: int = Field(description="Of the table; a query of another version reads its Parquet files.")
    rows: int
    bytes: int
    pinned: bool = Field(description="Whether its spec says `cache: {pin: true}`.")
    hits: int = Field(description="Queries that read it here since the daemon started.")


class CacheAnswer(Document):
    """What is held, and for how much there is room."""

    tables: list[HeldTable]
    bytes: int
    limit: int = Field(description="`limits.hotCacheBytes`.")


@dataclass(frozen=True, slots=True)
class CacheRoute:
    """Answers it."""

    cache: CacheSource

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Tables that the reader may know of; the bytes are of all."""
        read_parameters(request, NoParameters)
        held, reader = self.cache.held(), request[READER]
        tables = [row(one) for one in held if may(reader, TableName(sql_name(one.dataset), one.bucket), "describe")]
        return answer({"tables": tables, "bytes": sum(one.bytes for one in held), "limit": self.cache.most})


def row(held: Held) -> dict[str, Any]:
    """As `HeldTable`."""
    return {name: value for name, value in asdict(held).items() if name != "bucket"}


def endpoints(cache: CacheSource) -> tuple[Endpoint, ...]:
    """The one route."""
    return (
        Endpoint(
            "GET",
            "/catalog/cache",
            "Which tables are held ready in memory",
            CacheRoute(cache).handle,
            {JSON: CacheAnswer},
            readers="operators",
        ),
    )
