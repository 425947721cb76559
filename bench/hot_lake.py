"""A lake that `lakectl apply` made, read in this process by the service that the daemon runs: with the hot cache, and from Parquet.

Whole is `QueryService.run` to a warm worker: names, resolving, transport and the encoded result. Engine is what the worker does of it:
planning, running and encoding, by the same `Session` in this process.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import statistics
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.daemon_process import LAKECTL, environment
from engines.reading import TableName
from engines.sql.hot_builds import HotBuilds
from engines.sql.hot_cache import HotCache
from engines.sql.limits import Limits
from engines.sql.pool import PoolSize, WorkerPool
from engines.sql.query_request import QueryRequest
from engines.sql.results import encode
from engines.sql.service import QueryService
from engines.sql.session import Session
from engines.sql.source import LakeTable
from engines.sql.tables import CatalogTables, sql_name
from state.buckets import Buckets
from state.catalog.catalog import Catalog
from state.catalog.tables import Table
from state.local_store import LocalStore
from state.places import BucketConfig
from state.reader import ObjectReader

LIMITS = Limits(seconds=120, memory=4 << 30, rows=1_000_000, bytes=1 << 28)
THREADS = os.cpu_count() or 1
Side = Callable[[str], Awaitable[pa.Table]]


def apply(folder: Path) -> None:
    """Makes the lake match the specs of a repository. Raises CalledProcessError."""
    done = subprocess.run((*LAKECTL, "apply"), cwd=folder, env=environment(), capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])


class Lake:
    """The tables of a lake, each resolved to its present version."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._catalog = Catalog.open(LocalStore(folder / "lake"))
        buckets = Buckets()
        buckets.attach(BucketConfig("primary", "local", str(folder / "lake")))
        self._files = ObjectReader(buckets, folder / ".bench" / "objects", 1 << 30)
        names = [key.partition("/")[2] for key in self._catalog.objects("Dataset")]
        found = {name: self._catalog.table(name) for name in names}
        self.tables: dict[str, Table] = {sql_name(name): table for name, table in found.items() if table is not None}
        self.cache = HotCache(_made(folder / ".bench" / "hot"), 16 << 30, lambda dataset: True)

    @property
    def rows(self) -> int:
        """Of all files of all tables."""
        return sum(table.rows for table in self.tables.values())

    def files(self, name: str) -> list[str]:
        """The Parquet files of a table."""
        return [str(self.folder / "lake" / file.key) for file in self.tables[name].files]

    def resolver(self, *, hot: bool) -> CatalogTables:
        """From the hot cache, or from Parquet."""
        return CatalogTables(self._catalog, self._files, _NoSystem(), self.folder / ".bench" / "views", hot=self.cache if hot else None)

    @asynccontextmanager
    async def service(self, *, hot: bool) -> AsyncIterator[QueryService]:
        """Warm; with every table held where `hot`."""
        scratch = self.folder / ".bench" / f"spill-{hot}"
        pool = WorkerPool(scratch, PoolSize(most=1, memory=2 << 30, retire=4 << 30))
        await pool.start()
        service = QueryService(self.resolver(hot=hot), pool, LIMITS, hot=self.cache if hot else None)
        names = [table.name for table in self.tables.values()]
        builds = HotBuilds(self.cache, service, WorkerPool(scratch, PoolSize(most=1, warm=0)), LIMITS, lambda: names)
        try:
            if not hot:
                yield service
                return
            async with builds.running():
                await builds.follow([f"Dataset/{name}" for name in names])
                await asyncio.to_thread(self._until_held)
                yield service
        finally:
            await pool.close()

    def _until_held(self) -> None:
        deadline = time.monotonic() + 300
        wanted = {table.name: table.version for table in self.tables.values()}
        while {held.dataset: held.version for held in self.cache.held()} != wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"held: {self.cache.held()}")
            time.sleep(0.1)

    def engine(self, *, hot: bool) -> Side:
        """What a worker does with a statement, in this process."""
        session, resolver = Session(self.folder / ".bench", 2 << 30), self.resolver(hot=hot)

        async def run(sql: str) -> pa.Table:
            sources = [source for name in session.names(sql) if isinstance(source := resolver.resolve(TableName(name)), LakeTable)]
            with session.frame(sql, {}, sources) as frame:
                encoded = encode(frame.schema(), (batch.to_pyarrow() for batch in frame.execute_stream()), LIMITS.rows, LIMITS.bytes)
            return pa.ipc.open_stream(encoded.ipc).read_all()

        return run


class _NoSystem:
    def names(self) -> tuple[str, ...]:
        return ()

    def path(self, name: str) -> Path | None:
        return None


def whole(service: QueryService) -> Side:
    """The service's side of a statement."""

    async def run(sql: str) -> pa.Table:
        return (await service.run(QueryRequest(sql))).table()

    return run


def peer(connection: Any) -> Side:
    """DuckDB's side of a statement."""

    async def run(sql: str) -> pa.Table:
        return connection.sql(sql).to_arrow_table()

    return run


async def turns(sides: Mapping[str, Side], queries: Mapping[str, str], rounds: int, seed: int) -> dict[str, dict[str, float]]:
    """Median milliseconds by query and side, which take turns in random order. Raises ValueError where results differ."""
    order, shuffle, found = list(sides), random.Random(seed), {}
    for name, sql in queries.items():
        taken: dict[str, list[float]] = {side: [] for side in sides}
        for number in range(rounds + 2):
            shuffle.shuffle(order)
            results = {}
            for side in order:
                began = time.perf_counter()
                results[side] = await sides[side](sql)
                if number >= 2:
                    taken[side].append((time.perf_counter() - began) * 1e3)
            if number == 0:
                _check(name, results)
        found[name] = {side: round(statistics.median(times), 3) for side, times in taken.items()}
        print(name, found[name], flush=True)
    return found


def geometric(found: Mapping[str, Mapping[str, float]], side: str, over: str) -> float:
    """Geometric mean over all queries of one side's time over another's."""
    return round(float(np.exp(np.mean([np.log(times[side] / times[over]) for times in found.values()]))), 3)


def most(found: Mapping[str, Mapping[str, float]], side: str, over: str) -> float:
    """The greatest of the ratios."""
    return round(max(times[side] / times[over] for times in found.values()), 3)


def _check(name: str, results: Mapping[str, pa.Table]) -> None:
    (first, wanted), *others = ((side, _rows(table)) for side, table in results.items())
    for side, rows in others:
        if len(rows) != len(wanted):
            raise ValueError(f"{name}: {first} has {len(wanted)} rows and {side} {len(rows)}")
        for one, other in zip(wanted, rows, strict=True):
            if not all(map(_same, one, other)):
                raise ValueError(f"{name}: {first} has {one} and {side} {other}")


def _rows(table: pa.Table) -> list[tuple[Any, ...]]:
    """In an order that does not hang on the last digits of numbers."""
    columns = [[_plain(value) for value in column.to_pylist()] for column in table.columns]
    return sorted(zip(*columns, strict=True), key=lambda row: [f"{value:.3g}" if isinstance(value, float) else str(value) for value in row])


def _plain(value: Any) -> Any:
    """Texts without padding, dates as text, all numbers as floats: the engines type them differently."""
    if isinstance(value, str):
        return value.rstrip()
    if value is None or isinstance(value, bool):
        return value
    return value.isoformat()[:10] if hasattr(value, "isoformat") else float(value)


def _same(one: Any, other: Any) -> bool:
    """Means of decimals have four digits more than the decimals in the one engine, all digits in the other."""
    return one == other or (isinstance(one, float) and isinstance(other, float) and math.isclose(one, other, rel_tol=1e-4))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
