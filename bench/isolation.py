"""What it costs that queries run in another process: the same statements over the same table, in this process and in a worker, by turns.

    python -m bench.isolation [--rounds 200] [--rows 3500000]

In this process is what a worker does, by its own code: names, plan, the rows within limits as one Arrow stream, as a table. In a worker
is `QueryService.run`, its result read as a table. Bare is neither limits nor stream: DataFusion's batches as they come, reported beside.
Small: an aggregate over 20,000 rows, p50. Large: all columns of `--rows` rows, over 100 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.bars import Bar
from bench.percentiles import milliseconds
from bench.query import AGGREGATE, SEED, SMALL_ROWS, Lake
from bench.report import write
from engines.reading import TableName
from engines.sql.limits import Limits
from engines.sql.pool import PoolSize, WorkerPool
from engines.sql.query_request import QueryRequest
from engines.sql.results import encode
from engines.sql.service import QueryService
from engines.sql.session import Session

LIMITS = Limits(seconds=300.0, memory=8 << 30, rows=100_000_000, bytes=4 << 30)
WARM = 3


def here(session: Session, lake: Lake, name: str, sql: str, *, bare: bool) -> pa.Table:
    """The answer by this process alone."""
    session.names(sql)
    source = lake.resolver.resolve(TableName(name))
    assert source is not None
    with session.frame(sql, {}, [source]) as frame:
        batches = (batch.to_pyarrow() for batch in frame.execute_stream())
        if bare:
            return pa.Table.from_batches(batches, frame.schema())
        return pa.ipc.open_stream(encode(frame.schema(), batches, LIMITS.rows, LIMITS.bytes).ipc).read_all()


async def measure(folder: Path, rounds: int, rows: int) -> dict[str, Any]:
    """Seconds of each round by statement and place."""
    lake = Lake(folder)
    lake.add("small", (), [("base", np.arange(SMALL_ROWS))])
    lake.add("large", (), [("base", part) for part in np.array_split(np.arange(rows), 4)])
    pool = WorkerPool(folder / "scratch", PoolSize(most=1, memory=4 << 30, retire=8 << 30))
    service, session = QueryService(lake.resolver, pool, LIMITS), Session(folder / "spill", 4 << 30)
    await pool.start()
    found: dict[str, Any] = {}
    for name, sql, turns in (("small", AGGREGATE.format("small"), rounds), ("large", "SELECT * FROM large", max(rounds // 20, 3))):
        took: dict[str, list[float]] = {"bare": [], "here": [], "worker": []}
        for turn in range(turns + WARM):
            for place, seconds in took.items():
                began = time.perf_counter()
                if place == "worker":
                    table = (await service.run(QueryRequest(sql))).table()
                else:
                    table = here(session, lake, name, sql, bare=place == "bare")
                if turn >= WARM:
                    seconds.append(time.perf_counter() - began)
                found[f"{name}_bytes"] = table.nbytes
                del table
        found |= {f"{name}_{place}": milliseconds(seconds) for place, seconds in took.items()}
    await pool.close()
    return found


def main() -> None:
    """Measure, and write bench/results/isolation.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--rows", type=int, default=3_500_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as folder:
        figures = asyncio.run(measure(Path(folder), options.rounds, options.rows))
    added = figures["small_worker"]["p50_ms"] - figures["small_here"]["p50_ms"]
    speed = figures["large_here"]["p50_ms"] / figures["large_worker"]["p50_ms"]
    bars = [
        Bar("a worker adds to a small query, p50", "ms", added, 2.0, scale="loop_cpu_seconds"),
        Bar("a result over 100 MB by a worker, of the speed in process", "x", speed, 0.7, at_least=True),
        Bar("the same, of the speed of bare batches", "x", figures["large_bare"]["p50_ms"] / figures["large_worker"]["p50_ms"]),
    ]
    data = f"{SMALL_ROWS} rows of 3 columns; {options.rows} rows, {figures['large_bytes'] >> 20} MiB in Arrow"
    write("isolation", figures, bars=bars, seed=SEED, data=data)


if __name__ == "__main__":
    main()
