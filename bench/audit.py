"""What the audit adds to a query: 200 a second, every other one without it, over one lake in one process.

    python -m bench.audit [--seconds 60] [--rate 200]

A process opens a lake as the daemon does, and answers POST /query on two paths: one through the audit, one past it, by the same service,
workers and tables. Another one, this, sends requests when they are due, whether or not those before were answered, and counts from then.
Neighbours in time take turns on the two paths, so that load from elsewhere meets both alike. Literals differ from query to query.
Beside it: what a row costs the event loop, the commit of a row, and telling the columns of a statement that was not seen before.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import orjson
from aiohttp import web

from api.query import QueryRoute
from api.reader import READER
from bench.bars import Bar
from bench.daemon_process import LAKECTL, ROOT, environment
from bench.http_overhead import Connection
from bench.percentiles import milliseconds
from bench.report import write
from bench.repository import BUCKET, Repository, dataset
from engines.reading import ANONYMOUS
from engines.sql.columns_read import columns_read
from engines.sql.statement_shape import shape
from reconciler.allocator import keep_freed_memory
from reconciler.daemon import TURN
from reconciler.lakectl.here import find_here
from reconciler.lakectl.reading_here import open_here
from reconciler.reading import reading

PATHS = ("/audited", "/bare")
STATEMENT = "SELECT city, count(*) AS orders, sum(amount) AS total FROM orders WHERE amount > {amount} GROUP BY city ORDER BY city LIMIT 5"
ROWS = 2_000
CONNECTIONS = 16
SEED = 11


def lake(folder: Path) -> None:
    """A lake with one small table."""
    made = Repository(folder)
    rng = random.Random(SEED)
    made.data("data/orders.csv", "id,city,amount\n" + "".join(f"{n},city {n % 40},{rng.random() * 100:.2f}\n" for n in range(ROWS)))
    made.start([("specs/primary.yaml", BUCKET), ("specs/orders.yaml", dataset("orders", "data/orders.csv", "Orders"))])
    subprocess.run((*LAKECTL, "--repo", str(folder), "apply"), env=environment(), check=True, stdout=subprocess.DEVNULL)


async def serve(folder: Path) -> None:
    """Both paths, until the process ends; prints the port."""
    state, settings = open_here(find_here(folder, None))
    threading.Thread(target=state.streams.run, args=(threading.Event(), print), daemon=True).start()

    @web.middleware
    async def anybody(request: web.Request, handler: Any) -> Any:
        request[READER] = ANONYMOUS
        return await handler(request)

    async with reading(state, settings) as readers:
        app = web.Application(middlewares=[anybody])
        for path, service in zip(PATHS, (readers.queries, readers.queries.queries), strict=True):
            app.router.add_post(path, QueryRoute(service, settings.limits.query_rows).handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()


@dataclass(slots=True)
class Sender:
    """Open loop: each request leaves on a free connection when it is due."""

    port: int
    free: asyncio.Queue[Connection]
    taken: dict[str, list[float]]

    async def one(self, path: str, body: bytes, due: float) -> None:
        """Its seconds from when it was due."""
        connection = await self.free.get()
        await connection.post(path, body)
        self.taken[path].append(time.perf_counter() - due)
        self.free.put_nowait(connection)


async def send(port: int, rate: float, seconds: float) -> dict[str, list[float]]:
    """Seconds by path."""
    sender = Sender(port, asyncio.Queue(), {path: [] for path in PATHS})
    for _ in range(CONNECTIONS):
        sender.free.put_nowait(Connection(port, *await asyncio.open_connection("127.0.0.1", port)))
    rng = random.Random(SEED)
    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(int(rate * seconds)):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            body = orjson.dumps({"sql": STATEMENT.format(amount=round(rng.random() * 100, 3))})
            tasks.create_task(sender.one(PATHS[number % 2], body, due))
    return sender.taken


@contextmanager
def server(folder: Path) -> Iterator[int]:
    """The port of a process that serves."""
    command = (sys.executable, "-m", "bench.audit", "--serve", str(folder))
    process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


def of_a_statement() -> Mapping[str, float]:
    """Microseconds of telling what a statement reads, the first time and its shape alone."""
    sql, tables = STATEMENT.format(amount=5), {"orders": ("id", "city", "amount")}
    columns_read(sql, shape(sql, "answered"), tables)
    shapes, reads = [], []
    for _ in range(200):
        began = time.perf_counter()
        said = shape(sql, "answered")
        shapes.append(time.perf_counter() - began)
        columns_read(sql, said, tables)
        reads.append(time.perf_counter() - began)
    return {"shape_us": round(median(shapes) * 1e6, 1), "columns_first_time_us": round(median(reads) * 1e6, 1)}


def compared(taken: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Milliseconds of both, and what the audit adds at p50 and p99."""
    audited, bare = (milliseconds(taken[path]) for path in PATHS)
    added = {f"adds_{quantile}": round(audited[quantile] - bare[quantile], 3) for quantile in ("p50_ms", "p99_ms")}
    return {"audited": audited, "bare": bare, **added}


def main() -> None:
    """Measure, and write bench/results/audit.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--serve", type=Path)
    options = parser.parse_args()
    if options.serve is not None:
        keep_freed_memory()  # as the daemon does, which gives threads their turn so, too
        sys.setswitchinterval(TURN)
        asyncio.run(serve(options.serve))
        return
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as name:
        folder = Path(name) / "lake"
        lake(folder)
        with server(folder) as port:
            asyncio.run(send(port, options.rate, min(5.0, options.seconds)))  # workers are warm
            taken = asyncio.run(send(port, options.rate, options.seconds))
    figures = compared(taken) | {"statement": of_a_statement()}
    bars = (
        Bar(f"audit, adds to a query at {options.rate:g}/s, p50", "ms", figures["adds_p50_ms"], 1, None, "loop_cpu_seconds"),
        Bar(f"audit, adds to a query at {options.rate:g}/s, p99", "ms", figures["adds_p99_ms"]),
    )
    data = f"{options.rate:g} queries/s for {options.seconds:g} s over {ROWS:,} rows, every other one past the audit"
    write("audit", figures, bars=bars, seed=SEED, data=data)


if __name__ == "__main__":
    main()
