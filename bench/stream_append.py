"""Durable appends by many threads, beside a bare loop that writes the same bytes to the same disk.

    python -m bench.stream_append [--writers 64] [--events 800] [--rounds 3]

Each writer appends one event after the other and waits until it is on the disk, as a visit that records a status does. The bare loop is one
thread that writes a line and calls fdatasync, for each event (what no sharing would give), and again for as many events at a time as
there are writers (what the disk allows). Rounds take turns, so that load from elsewhere meets all alike.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.bars import Bar
from bench.percentiles import milliseconds
from bench.report import Stopwatch, write
from state.local_store import LocalStore
from state.streams.stream import Streams
from state.streams.wal import wal_paths

STREAMS = ("events", "audit")
"""One without and one with chained checksums."""
EVENTS: dict[str, dict[str, Any]] = {
    "events": {
        "kind": "Dataset", "name": "candidates", "object": "Dataset/candidates", "type": "Normal", "reason": "Succeeded",
        "message": "20,000 rows from 2 files, version 3", "revision": "4f1c0de" + "0" * 33, "actor": "daemon",
    },
    "audit": {
        "reader": "anonymous", "action": "query", "statement": "SELECT city, count(*) FROM candidates GROUP BY city",
        "tables": ["candidates"], "versions": {"candidates": 3}, "rows": 40, "bytes": 1800, "duration_ms": 4.2, "outcome": "done",
    },
}  # fmt: skip


def appended(folder: Path, stream: str, writers: int, events: int) -> dict[str, Any]:
    """All writers at once, through `Streams.append`."""
    streams = Streams(LocalStore(folder / "lake"), folder / "wal", lambda: datetime.now(UTC))
    streams.append(stream, EVENTS[stream])  # the file is made
    seconds: list[list[float]] = [[] for _ in range(writers)]
    gate = threading.Barrier(writers + 1)

    def work(taken: list[float]) -> None:
        gate.wait()
        for _ in range(events):
            began = time.perf_counter()
            streams.append(stream, EVENTS[stream])
            taken.append(time.perf_counter() - began)

    threads = [threading.Thread(target=work, args=(taken,)) for taken in seconds]
    for thread in threads:
        thread.start()
    gate.wait()
    with Stopwatch() as watch:
        for thread in threads:
            thread.join()
    size = sum(path.stat().st_size for path in wal_paths(folder / "wal"))
    streams.close()
    count = writers * events
    figures = {"events_per_second": round(count / watch.wall), "cpu_us_an_event": round(watch.cpu / count * 1e6, 1)}
    return figures | milliseconds([one for taken in seconds for one in taken]) | {"bytes_an_event": round(size / (count + 1))}


def bare(path: Path, size: int, together: int, rounds: int) -> dict[str, Any]:
    """One thread: so many lines of so many bytes in one write, then fdatasync."""
    data = b"x" * (size - 1) + b"\n"
    seconds = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        with Stopwatch() as watch:
            for _ in range(rounds):
                began = time.perf_counter()
                os.write(descriptor, data * together)
                os.fdatasync(descriptor)
                seconds.append(time.perf_counter() - began)
    finally:
        os.close(descriptor)
    return {"events_per_second": round(together * rounds / watch.wall)} | milliseconds(seconds)


def median(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each figure."""
    return {name: round(statistics.median(found[name] for found in rounds), 3) for name in rounds[0]}


def main() -> None:
    """Measure, and write bench/results/stream_append.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--writers", type=int, default=64)
    parser.add_argument("--events", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {}
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as name:
            folder = Path(name)
            for stream in STREAMS:
                figures = appended(folder / f"{stream}-{number}", stream, options.writers, options.events)
                found.setdefault(stream, []).append(figures)
            size = found["events"][-1]["bytes_an_event"]
            found.setdefault("bare_each", []).append(bare(folder / "each", size, 1, 5_000))
            found.setdefault("bare_together", []).append(bare(folder / "together", size, options.writers, 500))
    figures = {name: median(rounds) for name, rounds in found.items()}
    events = figures["events"]
    figures["share_of_bare_together"] = round(events["events_per_second"] / figures["bare_together"]["events_per_second"], 3)
    bars = (
        Bar("stream append, 64 writers", "events/s", events["events_per_second"], 20_000, None, "loop_cpu_seconds", at_least=True),
        Bar("stream append, 64 writers, p99", "ms", events["p99_ms"], 20, None, "loop_cpu_seconds"),
        Bar("stream append with chained checksums", "events/s", figures["audit"]["events_per_second"]),
    )
    data = f"{options.writers} threads x {options.events} events of {events['bytes_an_event']} bytes, medians of {options.rounds} rounds"
    write("stream_append", figures, bars=bars, data=data, threads=options.writers)


if __name__ == "__main__":
    main()
