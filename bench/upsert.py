"""What a change of one row costs: until a query sees it, that query's time, and folding a thousand such changes while others read.

    python -m bench.upsert [--rows 1000000] [--edits 40] [--deltas 1000]

One daemon with one table of timesheets, keyed and pinned. A change is a request `row-set`, stored and told as `lakectl row set` does it.
Visible is the time from storing the request to the end of a query that has the new value; queries follow each other without a pause. Then
the catalog is asked until it has a change, and the very next query, an aggregate over all rows, is compared with the same query after as
many questions to the catalog without a change, in turns: after a pause of some 30 ms a query takes longer than back to back, whatever
changed. What it takes over queries back to back is reported beside it. At last a thousand changes are pending and a commit lets the
daemon fold them.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.bars import Bar
from bench.daemon_process import Connection, DaemonProcess
from bench.hot_lake import apply
from bench.ingest import timesheets
from bench.percentiles import milliseconds
from bench.report import write
from bench.repository import BUCKET, Repository, dataset
from state.local_store import LocalStore
from state.requests import Request, RequestQueue
from state.streams.ids import Ulids
from state.timestamps import iso

SEED = 20_250
AGGREGATE = "SELECT approved, count(*) AS n, sum(hours_regular) AS hours FROM timesheets GROUP BY approved ORDER BY approved"
EVERY = 0.02


def spec(compaction: str) -> str:
    """The one dataset."""
    keyed = f", primaryKey: [timesheet_id], write: upsert, cache: {{pin: true}}, compaction: {{{compaction}}}"
    return dataset("timesheets", '"data/*.csv"', "Hours", keyed)


def repository(folder: Path, rows: int) -> Repository:
    """A table that nothing folds yet."""
    made = Repository(folder)
    (folder / "data").mkdir()
    timesheets(folder / "data" / "timesheets.csv", rows)
    files = [("README.md", "# Bench\n"), ("specs/primary.yaml", BUCKET)]
    made.start([*files, ("specs/timesheets.yaml", spec("maxDeltas: 100000, deltaShare: 1"))])
    return made


class Editor:
    """Changes rows of the table as `lakectl row set` does."""

    def __init__(self, folder: Path, rows: int) -> None:
        self._queue = RequestQueue(LocalStore(folder / "lake"))
        self._socket = json.loads((folder / ".lakehouse" / "daemon.json").read_text())["socket"]
        self._ids = Ulids(lambda: datetime.now(UTC))
        self._rows, self._number = rows, 0

    def change(self) -> tuple[str, float]:
        """The key of a row that no change was made of yet, and its new hours."""
        self._number += 1
        key, hours = f"TS-{self._number * 7919 % self._rows:08d}", 100 + self._number / 8
        payload = {"key": key, "set": {"hours_regular": str(hours)}}
        at = iso(datetime.now(UTC))
        self._queue.submit(Request(self._ids(), "row-set", "Dataset/timesheets", "bench", "measured", payload, at=at))
        return key, hours

    def ring(self) -> None:
        """Tells the daemon."""
        with closing(socket.socket(socket.AF_UNIX)) as line:
            line.connect(self._socket)


def ask(connection: Connection, sql: str) -> tuple[float, list[dict[str, Any]]]:
    """Seconds, and the rows."""
    began = time.perf_counter()
    rows = connection.post("/query", {"sql": sql})["rows"]
    return time.perf_counter() - began, rows


def table(connection: Connection) -> dict[str, Any]:
    """As the catalog says."""
    return dict(connection.get("/catalog/datasets/timesheets"))


def steady(connection: Connection, count: int) -> list[float]:
    """Seconds of the aggregate where nothing changes."""
    ask(connection, AGGREGATE)
    return [ask(connection, AGGREGATE)[0] for _ in range(count)]


def visible(connection: Connection, editor: Editor) -> float:
    """Seconds until a query has a change."""
    began = time.perf_counter()
    key, hours = editor.change()
    editor.ring()
    while ask(connection, f"SELECT hours_regular AS h FROM timesheets WHERE timesheet_id = '{key}'")[1] != [{"h": hours}]:
        if time.perf_counter() - began > 30:
            raise TimeoutError(f"{key} is not {hours}")
    return time.perf_counter() - began


def next_queries(connection: Connection, editor: Editor) -> tuple[float, float]:
    """Seconds of the aggregate that comes right after a change, and of one after as many looks at the catalog without a change."""
    version = table(connection)["version"]
    editor.change()
    editor.ring()
    looks = 1
    while table(connection)["version"] == version:
        time.sleep(0.001)
        looks += 1
    changed = ask(connection, AGGREGATE)[0]
    for _ in range(looks):
        table(connection)
        time.sleep(0.001)
    return changed, ask(connection, AGGREGATE)[0]


@contextmanager
def reading(url: str, taken: list[float]) -> Iterator[None]:
    """Asks the aggregate again and again meanwhile."""
    over = threading.Event()

    def run() -> None:
        connection = Connection(url)
        while not over.wait(EVERY):
            taken.append(ask(connection, AGGREGATE)[0])
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def deltas(connection: Connection) -> int:
    """That are pending."""
    return sum(file["role"] == "delta" for file in table(connection)["files"])


def add_deltas(folder: Path, rows: int, count: int) -> None:
    """Files of one row each, exported again; `lakectl apply` reads them while no daemon runs."""
    lines = (folder / "data" / "timesheets.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    for number in range(count):
        (folder / "data" / f"zz-{number:04d}.csv").write_text(lines[0] + lines[1 + number * 7919 % rows], encoding="utf-8")
    apply(folder)


def compaction(made: Repository, daemon: DaemonProcess) -> dict[str, Any]:
    """Seconds of folding so many deltas, and queries before and meanwhile."""
    pending = deltas(daemon.connection)
    before: list[float] = []
    during: list[float] = []
    with reading(daemon.url, before):
        time.sleep(10)
    began = time.perf_counter()
    with reading(daemon.url, during):
        made.commit({"specs/timesheets.yaml": spec(f"maxDeltas: {pending}, deltaShare: 1")})
        daemon.until(lambda: deltas(daemon.connection) == 0, 120, every=0.02)
        took = time.perf_counter() - began
        time.sleep(1)
    return {"deltas": pending, "seconds": round(took, 2), "before": milliseconds(before), "during": milliseconds(during)}


def main() -> None:
    """Measure, and write bench/results/upsert.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--edits", type=int, default=40)
    parser.add_argument("--deltas", type=int, default=1_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as scratch:
        made = repository(Path(scratch, "repository"), options.rows)
        with DaemonProcess(made.folder) as daemon:
            daemon.until_ready(600)
            daemon.until(lambda: bool(daemon.connection.get("/catalog/cache")["tables"]), 120)
            editor = Editor(made.folder, options.rows)
            plain = steady(daemon.connection, options.edits)
            seen = [visible(daemon.connection, editor) for _ in range(options.edits)]
            changed, unchanged = zip(*[next_queries(daemon.connection, editor) for _ in range(options.edits)], strict=True)
            pending = steady(daemon.connection, options.edits)
        add_deltas(made.folder, options.rows, options.deltas)
        with DaemonProcess(made.folder) as daemon:
            daemon.until_ready(600)
            daemon.until(lambda: _held(daemon.connection), 120)
            folding = compaction(made, daemon)
            daemon.until(lambda: _held(daemon.connection), 120)
            plain += steady(daemon.connection, options.edits)
    figures = {
        "visible": milliseconds(seen),
        "query": milliseconds(plain),
        "query_right_after_a_change": milliseconds(changed),
        "query_after_as_many_looks": milliseconds(unchanged),
        "query_with_pending_changes": milliseconds(pending),
        "compaction": folding,
    }
    base = statistics.median(plain)
    bars = [
        Bar("one-row upsert until a query sees it, p50", "ms", statistics.median(seen) * 1e3, 50, None, "loop_cpu_seconds"),
        Bar("the next query after it over one after no change, p50", "x", statistics.median(changed) / statistics.median(unchanged), 1.1),
        Bar("the next query after it over queries back to back, p50", "x", statistics.median(changed) / base, None),
        Bar("a query with pending one-row upserts over one without, p50", "x", statistics.median(pending) / base, 1.1),
        Bar(f"folding {options.deltas} deltas into {options.rows} rows", "s", folding["seconds"], 5, None, "loop_cpu_seconds"),
        Bar("readers' p99 meanwhile over before", "x", folding["during"]["p99_ms"] / folding["before"]["p99_ms"], 2),
    ]
    write("upsert", figures, bars=bars, seed=SEED, data=f"timesheets, {options.rows} rows of 11 columns, keyed, held in the hot cache")


def _held(connection: Connection) -> bool:
    """Whether the present version is in the cache."""
    held = connection.get("/catalog/cache")["tables"]
    return bool(held) and held[0]["version"] == table(connection)["version"]


if __name__ == "__main__":
    main()
