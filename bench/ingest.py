"""CSV to Parquet: ours against the bare pyarrow loop, what a tiny file costs, and memory against file size.

    python -m bench.ingest [--rows 1000000] [--rounds 5] [--small]

The peer is `pyarrow.csv.open_csv` -> `ParquetWriter` (zstd) over the same file, in turns with ours, at its defaults and at the block
size that suits it best here; the bar is judged by the faster of the two. Ours guesses types, checks every value, hashes the object and
stores it durably, all of it measured. Memory is the peak of a fresh process for each size up to 1 GB, which `--small` leaves out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq

from bench import report
from bench.bars import Bar
from engines.files.batch import Batch, BatchResult, ingest_batch
from engines.files.ingest import run
from engines.files.ingest_task import IngestResult, IngestTask, Write
from engines.files.journal import Cause
from engines.files.journalling import JournalTask
from state.buckets import open_store
from state.places import BucketConfig

SEED = 20_250
TINY_ROWS, TINY_FILES = 20, 400
_HEADER = "timesheet_id,placement_id,candidate_id,week_ending,hours_regular,hours_overtime,bill_rate,pay_rate,approved,approved_by,notes\n"
_CHUNK = 100_000


def timesheets(path: Path, rows: int, *, seed: int = SEED) -> None:
    """A timesheets export of about 92 bytes a row: ids, dates, amounts, flags, names, mostly empty notes."""
    with path.open("w", encoding="utf-8") as file:
        file.write(_HEADER)
        for first in range(0, rows, _CHUNK):
            file.writelines(_lines(np.random.default_rng(seed + first), first, min(_CHUNK, rows - first)))


def _lines(rng: np.random.Generator, first: int, count: int) -> Iterator[str]:
    weeks = [(date(2019, 1, 6) + timedelta(weeks=week)).isoformat() for week in range(300)]
    columns = zip(
        rng.integers(1, 50_000, count).tolist(),
        rng.integers(1, 100_000, count).tolist(),
        rng.integers(0, 300, count).tolist(),
        (rng.integers(0, 161, count) / 4).tolist(),
        (rng.integers(0, 60, count) / 4).tolist(),
        (rng.integers(3_000, 15_000, count) / 100).tolist(),
        (rng.integers(2_000, 9_000, count) / 100).tolist(),
        rng.random(count).tolist(),
        rng.integers(0, 500, count).tolist(),
        strict=True,
    )
    for number, (placement, candidate, week, hours, overtime, bill, pay, chance, manager) in enumerate(columns, first):
        approved, notes = "true" if chance < 0.9 else "false", "worked remotely, see ticket" if chance > 0.7 else ""
        notes = f'"{notes}"' if notes else ""
        yield (
            f"TS-{number:08d},PL-{placement:06d},CAND-{candidate:06d},{weeks[week]},{hours},{overtime},{bill},{pay},{approved},"
            f"Manager {manager},{notes}\n"
        )


def bare(path: Path, target: Path, block_bytes: int | None) -> None:
    """The loop that anyone would write."""
    options = pyarrow.csv.ReadOptions(block_size=block_bytes)
    with (
        pyarrow.csv.open_csv(path, read_options=options) as reader,
        pq.ParquetWriter(target, reader.schema, compression="zstd") as writer,
    ):
        for batch in reader:
            writer.write_batch(batch)


class Ours:
    """Our ingest into a local bucket."""

    def __init__(self, lake: Path) -> None:
        self._target = BucketConfig("bench", "local", str(lake))
        self._store = open_store(self._target)

    def run(self, path: Path, write: Write = "append", key: tuple[str, ...] = ()) -> IngestResult:
        """One file."""
        return run(self._task(path, write, key), store=self._store)

    def keyed(self, path: Path, key: tuple[str, ...]) -> BatchResult:
        """One file as a keyed dataset takes it, with all that a commit of it needs: the journal as well."""
        cause = Cause("timesheets", 1, "bench", "first load", "0" * 40)
        return ingest_batch(
            Batch((self._task(path, "upsert", key),), JournalTask(cause, self._target, f"datasets/{path.stem}")), None, self._store
        )

    def _task(self, path: Path, write: Write, key: tuple[str, ...]) -> IngestTask:
        return IngestTask(
            "timesheets", str(path), path.name, "0" * 64, "csv", self._target, f"datasets/{path.stem}", write, write=write, primary_key=key
        )


def compare(folder: Path, rows: int, rounds: int) -> dict[str, object]:
    """All contenders in turns; medians, and ratios of medians of the same rounds."""
    path, lake = folder / "timesheets.csv", Ours(folder / "lake")
    timesheets(path, rows)
    contenders = {
        "bare": lambda: bare(path, folder / "bare.parquet", None),
        "bare_16_mib_blocks": lambda: bare(path, folder / "bare16.parquet", 16 << 20),
        "ours_append": lambda: lake.run(path),
        "ours_upsert": lambda: lake.run(path, "upsert", ("timesheet_id",)),
        "ours_keyed_and_journal": lambda: lake.keyed(path, ("timesheet_id",)),
    }
    taken: dict[str, list[report.Stopwatch]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, contender in contenders.items():
            with report.Stopwatch() as watch:
                contender()
            if number:  # the first round warms up
                taken[name].append(watch)
    wall = {name: statistics.median(watch.wall for watch in watches) for name, watches in taken.items()}
    cpu = {name: statistics.median(watch.cpu for watch in watches) for name, watches in taken.items()}
    return {
        "rows": rows,
        "csv_bytes": path.stat().st_size,
        "rounds": rounds,
        "wall_seconds": {name: round(value, 3) for name, value in wall.items()},
        "cpu_seconds": {name: round(value, 3) for name, value in cpu.items()},
        "append_over_bare": round(wall["ours_append"] / wall["bare"], 3),
        "append_over_best_bare": round(wall["ours_append"] / min(wall["bare"], wall["bare_16_mib_blocks"]), 3),
        "upsert_over_bare": round(wall["ours_upsert"] / wall["bare"], 3),
        "keyed_and_journal_over_best_bare": round(wall["ours_keyed_and_journal"] / min(wall["bare"], wall["bare_16_mib_blocks"]), 3),
        "parquet_bytes": {
            "bare": (folder / "bare.parquet").stat().st_size,
            "ours_append": sum(part.ref.size for part in lake.run(path).files),
        },
    }


def tiny(folder: Path) -> dict[str, float]:
    """CPU and wall ms for one file of 20 rows, out of many files, in one warm process."""
    paths = [folder / f"tiny{number}.csv" for number in range(TINY_FILES)]
    for number, path in enumerate(paths):
        timesheets(path, TINY_ROWS, seed=number)
    lake = Ours(folder / "tiny")
    lake.run(paths[0])
    with report.Stopwatch() as watch:
        for path in paths[1:]:
            lake.run(path)
    each = TINY_FILES - 1
    return {"rows": TINY_ROWS, "cpu_ms": round(watch.cpu / each * 1e3, 2), "wall_ms": round(watch.wall / each * 1e3, 2)}


def memory(folder: Path, sizes: tuple[int, ...]) -> dict[str, dict[str, float]]:
    """Peak RSS in MiB of a fresh process that ingests a file of about so many MB, by write mode."""
    found: dict[str, dict[str, float]] = {}
    for megabytes in sizes:
        path = folder / f"memory{megabytes}.csv"
        timesheets(path, megabytes * 10_400)
        for mode in ("append", "upsert"):
            command = [sys.executable, "-m", "bench.ingest", "--one", str(path), "--lake", str(folder / "lake"), "--write", mode]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found.setdefault(mode, {})[f"{megabytes}_mb"] = json.loads(done.stdout)["peak_rss_mib"]
        path.unlink()
    return found


def main() -> None:
    """Runs everything, or, for `memory`, one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--lake", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--write", default="append", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        key = ("candidate_id", "timesheet_id") if arguments.write == "upsert" else ()
        rows = Ours(arguments.lake).run(arguments.one, arguments.write, key).rows
        print(json.dumps({"rows": rows, "peak_rss_mib": report.peak_rss_mib()}))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures: dict[str, Any] = {
            "timesheets": compare(folder, arguments.rows, arguments.rounds),
            "tiny_file": tiny(folder),
            "peak_rss_mib": memory(folder, (10, 100) if arguments.small else (10, 100, 1_000)),
        }
    bars = [Bar("CSV to Parquet, append, over the bare loop at its best", "x", figures["timesheets"]["append_over_best_bare"], 1.4)]
    keyed = figures["timesheets"]["keyed_and_journal_over_best_bare"]
    bars.append(Bar("CSV to Parquet, keyed, with journal, over the bare loop at its best", "x", keyed, 1.8))
    for mode, peaks in figures["peak_rss_mib"].items():
        *_, tenth, whole = peaks.values()  # the smallest does not fill the buffers
        bars.append(Bar(f"peak memory of {mode}, a file over one of a tenth", "x", whole / tenth))
    report.write("ingest", figures, bars=bars, seed=SEED, data=f"generated timesheets, {arguments.rows} rows of 11 columns")


if __name__ == "__main__":
    main()
