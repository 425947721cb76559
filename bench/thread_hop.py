"""What it costs to run blocking code from the event loop: one hop to a thread, beside a durable put and a whole visit's calls.

    python -m bench.thread_hop [--rounds 2000]

A visit of the loop makes many small calls (stats, reads, a put, an append). `visit_*` times the same twelve calls, ten stats of an object
and two reads, made in one hop and made with a hop each. Next: `docs/adr/0002-sync-inside-async-at-the-edges.md`, which uses the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from anyio import CapacityLimiter, to_thread

from bench.report import write
from state.local_store import LocalStore

STATS, READS = 10, 2


def visit(store: LocalStore) -> None:
    """The calls of a visit that finds nothing to do."""
    for _ in range(STATS):
        store.head("some/object")
    for _ in range(READS):
        store.get("some/object")


async def visit_by_call(store: LocalStore, limiter: CapacityLimiter) -> None:
    """The same with a hop a call."""
    for _ in range(STATS):
        await to_thread.run_sync(store.head, "some/object", limiter=limiter)
    for _ in range(READS):
        await to_thread.run_sync(store.get, "some/object", limiter=limiter)


async def timed(work: Callable[[], Awaitable[object]], rounds: int) -> dict[str, float]:
    """Microseconds of wall time (p50, p99) and of CPU (mean)."""
    seconds = []
    cpu = time.process_time()
    for _ in range(rounds):
        begin = time.perf_counter()
        await work()
        seconds.append(time.perf_counter() - begin)
    cpu = time.process_time() - cpu
    cuts = statistics.quantiles(seconds, n=100)
    return {"p50_us": round(cuts[49] * 1e6, 1), "p99_us": round(cuts[98] * 1e6, 1), "cpu_us": round(cpu / rounds * 1e6, 1)}


async def measure(folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """All of it on one event loop, one at a time."""
    store, limiter = LocalStore(folder), CapacityLimiter(8)
    data = bytes(1024)
    store.put("some/object", data)

    async def here(work: Callable[[], object]) -> None:
        work()

    return {
        "hop": await timed(partial(to_thread.run_sync, int, limiter=limiter), rounds),
        "durable_put_of_1_kib": await timed(partial(here, partial(store.put, "some/object", data)), rounds),
        "visit_without_hop": await timed(partial(here, partial(visit, store)), rounds),
        "visit_in_one_hop": await timed(partial(to_thread.run_sync, visit, store, limiter=limiter), rounds),
        "visit_with_a_hop_a_call": await timed(partial(visit_by_call, store, limiter), rounds),
    }


def main() -> None:
    """Measure, and write bench/results/thread_hop.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=2_000)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        figures = asyncio.run(measure(Path(folder), rounds))
    write("thread_hop", figures, data=f"{STATS} stats and {READS} reads of one object of 1 KiB; {rounds} rounds", threads=2)


if __name__ == "__main__":
    main()
