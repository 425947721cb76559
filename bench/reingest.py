"""What a look at ten thousand files costs that have not changed: a daemon starts over a table of them, and visits it again.

    python -m bench.reingest [--files 10000]

The first `lakectl apply` reads them all; then `lakectl apply` is run again, where there is nothing to do, beside one over an empty folder:
the difference is what the files cost. Nothing is read of a file whose size and time are those that the catalog has.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from bench.bars import Bar
from bench.hot_lake import apply
from bench.report import write
from bench.repository import BUCKET, Repository, dataset, tiny_csv

ROUNDS = 5


def repository(folder: Path, files: int) -> Repository:
    """One dataset of so many tiny files."""
    made = Repository(folder)
    for number in range(files):
        made.data(f"data/rows/part-{number:05d}.csv", tiny_csv(number))
    made.start(
        [("README.md", "# Bench\n"), ("specs/primary.yaml", BUCKET), ("specs/rows.yaml", dataset("rows", "data/rows/*.csv", "Rows"))]
    )
    return made


def applied(folder: Path) -> float:
    """Seconds of one more `lakectl apply`, the median of some."""
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        apply(folder)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def main() -> None:
    """Measure, and write bench/results/reingest.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as scratch:
        many, one = repository(Path(scratch, "many"), options.files), repository(Path(scratch, "one"), 1)
        began = time.perf_counter()
        apply(many.folder)
        first = time.perf_counter() - began
        apply(one.folder)
        again, alone = applied(many.folder), applied(one.folder)
    figures = {"first_seconds": round(first, 2), "again_seconds": round(again, 3), "again_one_file_seconds": round(alone, 3)}
    bars = [Bar(f"looking again at {options.files} unchanged files", "s", again - alone, 1, None, "loop_cpu_seconds")]
    write("reingest", figures, bars=bars, data=f"{options.files} CSV files of 10 rows in one dataset")


if __name__ == "__main__":
    main()
