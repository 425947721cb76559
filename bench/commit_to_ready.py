"""How long after a commit an object is Ready for it: one changed dataset among a thousand resources.

    python -m bench.commit_to_ready [--resources 1000] [--commits 200]

Commits alternate between a description, which re-ingests nothing, and a column's type, which reads the file again. The clock starts when
the commit stands (libgit2 in this process), and once more, for fewer commits, when the command `git commit` has returned. It stops at the
first GET /status, asked every 2 ms on one connection, that shows the object Ready for that commit.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

from bench.bars import Bar
from bench.daemon_process import DaemonProcess
from bench.percentiles import milliseconds
from bench.report import write
from bench.repository import Repository, spec_path, tiny_dataset, with_datasets

SEED = 7
_KINDS = ("description", "columns")


def change(number: int, kind: str, turn: int) -> str:
    """The numbered dataset's document, changed in one of two ways and never twice the same."""
    if kind == "description":
        return tiny_dataset(number, f"Turn {turn}")
    return tiny_dataset(number, "As made", ", columns: {amount: string}")


def measure(daemon: DaemonProcess, repository: Repository, numbers: list[int]) -> tuple[dict[str, list[float]], float]:
    """Seconds by kind of change, and the daemon's CPU seconds a commit, the polls' included."""
    seconds: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    before = daemon.cpu_seconds()
    for turn, number in enumerate(numbers):
        kind = _KINDS[turn % 2]
        revision = repository.commit({spec_path(number): change(number, kind, turn)})
        began = time.perf_counter()
        daemon.until_applied("Dataset", f"d{number:04d}", revision)
        seconds[kind].append(time.perf_counter() - began)
    return seconds, (daemon.cpu_seconds() - before) / len(numbers)


def measure_git(daemon: DaemonProcess, repository: Repository, numbers: list[int]) -> list[float]:
    """Seconds after the command `git commit` has returned."""
    seconds = []
    for turn, number in enumerate(numbers):
        repository.stage(spec_path(number), change(number, "description", turn))
        revision = repository.commit_by_git()
        began = time.perf_counter()
        daemon.until_applied("Dataset", f"d{number:04d}", revision)
        seconds.append(time.perf_counter() - began)
    return seconds


def main() -> None:
    """Measure, and write bench/results/commit_to_ready.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--resources", type=int, default=1_000)
    parser.add_argument("--commits", type=int, default=200)
    options = parser.parse_args()
    numbers = list(range(options.resources - 1))
    random.Random(SEED).shuffle(numbers)
    split = min(options.commits, len(numbers) - 40)
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as folder:
        repository = with_datasets(Path(folder, "repository"), options.resources)
        with DaemonProcess(repository.folder) as daemon:
            daemon.until_ready(300)
            measure(daemon, repository, numbers[-20:])
            seconds, cpu = measure(daemon, repository, numbers[:split])
            by_git = measure_git(daemon, repository, numbers[split : split + 20])
    every = milliseconds([second for kind in _KINDS for second in seconds[kind]])
    figures = {
        "all": every,
        **{kind: milliseconds(found) for kind, found in seconds.items()},
        "after_git_commit": milliseconds(by_git),
        "daemon_cpu_ms_a_commit_with_polls": round(cpu * 1e3, 2),
    }
    bars = (
        Bar("commit to Ready, p50", "ms", every["p50_ms"], 100, 50, "loop_cpu_seconds"),
        Bar("commit to Ready, p99", "ms", every["p99_ms"], 300, 150, "loop_cpu_seconds"),
    )
    write("commit_to_ready", figures, bars=bars, seed=SEED, data=f"{options.resources} resources, datasets of one CSV of 10 rows each")


if __name__ == "__main__":
    main()
