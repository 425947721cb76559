"""What SQL through a query worker costs over a bare DataFusion call of the same query in the same run, and what the merge of upserts costs.

    python -m bench.query [--rounds 300] [--rows 1000000]

Bare is `SessionContext()`, `register_parquet`, `sql`, `collect` in this process, over the very same folder of files, anew each time as a
request has it; `bench/serving.py` compares the whole of /query with a session that knows the table already. Ours is
`QueryService.run` to a warm worker: names, resolving, limits, transport and rows as JSON values. Both take turns, query by query. The merge
reads `--rows` base rows with a twentieth of them replaced by five deltas, beside the base alone.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datafusion import SessionContext

from bench.bars import Bar
from bench.percentiles import milliseconds
from bench.report import write
from engines.reading import TableName
from engines.row_keys import FILE_COLUMN, ROW_COLUMN
from engines.sql.pool import PoolSize, WorkerPool
from engines.sql.query_request import QueryRequest
from engines.sql.service import QueryService
from engines.sql.source import LakeTable
from engines.sql.tables import CatalogTables
from state.buckets import Buckets
from state.catalog.data_files import DataFile
from state.catalog.schemas import Column, Schema
from state.catalog.tables import Table
from state.digest_file import sha256_bytes
from state.objects import ObjectRef
from state.places import BucketConfig
from state.reader import ObjectReader

SEED = 11
COLUMNS = (("k", "string"), ("city", "string"), ("x", "float64"))
SMALL_ROWS = 20_000
AGGREGATE = "SELECT city, count(*) AS n, avg(x) AS mean FROM {} GROUP BY city ORDER BY city"
POINT = "SELECT k, city, x FROM {} WHERE k = 'K-000000777'"


@dataclass
class Lake:
    """Tables over real objects; plays the catalog."""

    root: Path
    tables: dict[str, Table] = field(default_factory=dict)

    def __post_init__(self) -> None:
        buckets = Buckets()
        self.store = buckets.attach(BucketConfig("bench", "local", str(self.root / "lake")))
        self.resolver = CatalogTables(self, ObjectReader(buckets, self.root / "cache", 1 << 30), self, self.root / "views")

    def table(self, name: str) -> Table | None:
        """See `engines.sql.tables.Tables`."""
        return self.tables.get(name)

    def objects(self, kind: str | None = None) -> Mapping[str, object]:
        """See `engines.sql.tables.Tables`."""
        return {f"Dataset/{name}": table for name, table in self.tables.items()}

    def names(self) -> tuple[str, ...]:
        """No system tables."""
        return ()

    def path(self, name: str) -> Path | None:
        """No system tables."""
        return None

    def add(self, name: str, key: tuple[str, ...], parts: list[tuple[str, np.ndarray[Any, Any]]]) -> None:
        """A table of parts: a role and the numbers of the keys of each."""
        schema = Schema(1, tuple(Column(number, column, kind) for number, (column, kind) in enumerate(COLUMNS, 1)))
        files = tuple(self._file(name, sequence, role, numbers) for sequence, (role, numbers) in enumerate(parts, 1))
        self.tables[name] = Table(name, 1, "bench", key, "upsert" if key else "append", "t", (schema,), files)

    def _file(self, name: str, sequence: int, role: Any, numbers: np.ndarray[Any, Any]) -> DataFile:
        rng = np.random.default_rng(SEED + sequence)
        cities = np.array(["Austin", "Boston", "Chicago", "Dallas", "Erie"])[rng.integers(0, 5, len(numbers))]
        keys = [f"K-{number:09d}" for number in numbers]
        hidden = {FILE_COLUMN: pa.array(["bench"] * len(keys)), ROW_COLUMN: pa.array(numbers)}
        table = pa.table({"k": keys, "city": cities, "x": rng.random(len(numbers)), **hidden})
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd", row_group_size=128 * 1024)
        data = sink.getvalue().to_pybytes()
        reference = ObjectRef("bench", f"{name}/{sequence:04d}.parquet", len(data), sha256_bytes(data))
        self.store.put(reference.key, data)
        return DataFile(reference, role, sequence, len(keys), "bench", 0, 1, (keys[0],), (keys[-1],))


def fill(lake: Lake, rows: int) -> None:
    """Small, the same in twenty files, large, and large with deltas over its first half."""
    lake.add("small", (), [("base", np.arange(SMALL_ROWS))])
    lake.add("twenty", (), [("base", part) for part in np.array_split(np.arange(SMALL_ROWS), 20)])
    base = [("base", part) for part in np.array_split(np.arange(rows), 4)]
    lake.add("large", ("k",), base)
    rng = np.random.default_rng(SEED)
    deltas = [("delta", np.sort(rng.choice(rows // 2, rows // 100, replace=False))) for _ in range(5)]
    lake.add("merged", ("k",), base + deltas)


async def turns(sides: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each side, which take turns in random order."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    order, shuffle = list(sides), random.Random(SEED)
    for number in range(rounds + 5):
        shuffle.shuffle(order)
        for name in order:
            began = time.perf_counter()
            done = sides[name]()
            if asyncio.iscoroutine(done):
                await done
            if number >= 5:
                seconds[name].append(time.perf_counter() - began)
    return {name: milliseconds(taken) for name, taken in seconds.items()}


async def measure(folder: Path, rounds: int, rows: int) -> dict[str, Any]:
    """All figures."""
    lake = Lake(folder)
    fill(lake, rows)
    pool = WorkerPool(folder / "scratch", PoolSize(most=1))
    began = time.perf_counter()
    await pool.start()
    figures: dict[str, Any] = {"worker_start_seconds": round(time.perf_counter() - began, 3)}
    service = QueryService(lake.resolver, pool)
    ours = ours_of(service)
    figures["round_trip"] = (await turns({"ours": ours("SELECT 1 AS x")}, rounds))["ours"]
    for name, table, sql in (("aggregate", "small", AGGREGATE), ("point", "small", POINT), ("aggregate_20_files", "twenty", AGGREGATE)):
        statement = sql.format(table)
        figures[name] = await turns({"bare": bare_of(lake, table, statement), "ours": ours(statement)}, rounds)
    sides = {table: ours(AGGREGATE.format(table)) for table in ("large", "merged")}
    sides |= {f"{table}_point": ours(POINT.format(table)) for table in ("large", "merged")}
    figures["merge"] = await turns(sides, max(rounds // 15, 5))
    figures["worker_memory_mib"] = round(sum(pss_kib(pid) for pid in pool.pids) / 1024, 1)
    await pool.close()
    return figures


def ours_of(service: QueryService) -> Callable[[str], Callable[[], Any]]:
    """The service's side of a statement."""

    async def run(statement: str) -> Any:
        return (await service.run(QueryRequest(statement))).rows()

    return lambda statement: lambda: run(statement)


def bare_of(lake: Lake, table: str, statement: str) -> Callable[[], Any]:
    """The library's side of a statement."""
    source = lake.resolver.resolve(TableName(table))
    assert isinstance(source, LakeTable)
    assert source.base is not None
    folder = source.base.path

    def run() -> Any:
        context = SessionContext()
        context.register_parquet(table, folder)
        return context.sql(statement).collect()

    return run


def pss_kib(pid: int) -> int:
    """Of one process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def main() -> None:
    """Measure, and write bench/results/query.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as folder:
        figures = asyncio.run(measure(Path(folder), options.rounds, options.rows))
    over = {at: figures["aggregate"]["ours"][at] - figures["aggregate"]["bare"][at] for at in ("p50_ms", "p99_ms")}
    figures["aggregate_over_bare"] = {at: round(value, 3) for at, value in over.items()}
    bars = [
        Bar("SQL by a worker, over bare DataFusion, small aggregate, p50", "ms", over["p50_ms"], 4.0, 2.5, "loop_cpu_seconds"),
        Bar("SQL by a worker, over bare DataFusion, small aggregate, p99", "ms", over["p99_ms"]),
        Bar("merge of upserts over the base alone, p50", "x", figures["merge"]["merged"]["p50_ms"] / figures["merge"]["large"]["p50_ms"]),
    ]
    data = f"{SMALL_ROWS} rows of 3 columns; {options.rows} base rows with 5 deltas of a hundredth each"
    write("query", figures, bars=bars, seed=SEED, data=data)


if __name__ == "__main__":
    main()
