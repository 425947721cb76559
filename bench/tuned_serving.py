"""What becomes of answers while a budget tunes the index, and how much CPU its trials take.

    python -m bench.tuned_serving [--texts 100000] [--seconds 120] [--share 0.25] [--idle-seconds 40]

The daemon, its data and its load are those of `bench.serving`. Once an EvalSet has its answers, forty requests a second are sent to the
idle daemon, then for some minutes while a TrialBudget with `cpuShare` builds and measures. CPU is that of the processes of jobs, over every
ten seconds in which the budget works.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from bench.bars import Bar
from bench.corpora import documentation
from bench.daemon_process import Connection, DaemonProcess, cpu_seconds
from bench.percentiles import milliseconds
from bench.report import write
from bench.repository import HEAD, Repository
from bench.search import SEED
from bench.serving import Load, repository

WINDOW = 10.0
EVAL_SET = f"{HEAD}kind: EvalSet\nmetadata: {{name: docs-eval}}\nspec: {{index: docs, generate: {{queries: 500, seed: 7}}}}\n"
_CORES = os.cpu_count() or 1


def budget(share: float, seconds: float) -> str:
    """One that goes on for so long, whatever it finds."""
    limits = f"limits: {{trials: 1000, wallClock: {int(seconds)}s, cpuShare: {share}}}"
    return f"{HEAD}kind: TrialBudget\nmetadata: {{name: docs-tuning}}\nspec: {{index: docs, evalSet: docs-eval, {limits}}}\n"


class Workers:
    """CPU seconds of the daemon's processes of jobs, those included that have ended since."""

    def __init__(self, pid: int) -> None:
        self._daemon = psutil.Process(pid)
        self._seen: dict[int, float] = {}
        self.samples: list[tuple[float, float]] = []

    def look(self) -> None:
        """One sample: the instant, and CPU seconds so far."""
        for process in self._daemon.children():
            try:
                if "engines.jobs.worker" in process.cmdline():
                    self._seen[process.pid] = cpu_seconds(process.pid)
            except (psutil.NoSuchProcess, FileNotFoundError):
                continue
        self.samples.append((time.perf_counter(), sum(self._seen.values())))

    def shares(self) -> list[float]:
        """Of all processors, in every ten seconds."""
        found = []
        for at, (then, before) in enumerate(self.samples):
            later = next(((now, used) for now, used in self.samples[at:] if now - then >= WINDOW), None)
            if later is not None:
                found.append((later[1] - before) / (later[0] - then) / _CORES)
        return found


def measure(daemon: DaemonProcess, made: Repository, load: Load, options: argparse.Namespace) -> dict[str, Any]:
    """Latencies idle and while the budget works, and the shares of CPU that it took."""

    def for_seconds(seconds: float) -> Callable[[], bool]:
        until = time.perf_counter() + seconds
        return lambda: time.perf_counter() < until

    idle = load.run(for_seconds(options.idle_seconds))
    watching, workers = Connection(daemon.url), Workers(daemon.pid)
    made.commit({"specs/docs-tuning.yaml": budget(options.share, options.seconds + 30)})
    daemon.until(lambda: any(row["reason"] == "Tuning" for row in watching.get("/status?kind=TrialBudget")["objects"]), 60)
    going = for_seconds(options.seconds)

    def tuning() -> bool:
        workers.look()
        return going() and daemon.status("TrialBudget", "docs-tuning")["reason"] == "Tuning"

    busy = load.run(tuning)
    watching.close()
    shares = workers.shares()
    found: dict[str, Any] = {"cpu_share": {"asked": options.share, "most": round(max(shares), 4), "least": round(min(shares), 4)}}
    for path in idle:
        found[path] = {"idle": milliseconds(idle[path]), "tuning": milliseconds(busy[path])}
        found[path]["p99_ratio"] = round(found[path]["tuning"]["p99_ms"] / found[path]["idle"]["p99_ms"], 3)
    return found


def main() -> None:
    """Measure, and write bench/results/tuned_serving.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--share", type=float, default=0.25)
    parser.add_argument("--idle-seconds", type=float, default=40)
    options = parser.parse_args()
    texts = documentation()
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as folder:
        made = repository(Path(folder, "repository"), texts[: options.texts])
        with DaemonProcess(made.folder) as daemon:
            daemon.until_ready(1_800)
            made.commit({"specs/docs-eval.yaml": EVAL_SET})
            daemon.until(lambda: any(row["ready"] == "True" for row in daemon.connection.get("/status?kind=EvalSet")["objects"]), 600)
            found = measure(daemon, made, Load(daemon.connection, texts[options.texts : options.texts + 400]), options)
    bars = (
        Bar("CPU of a budget's trials over its share, the most in ten seconds", "x", found["cpu_share"]["most"] / options.share, 1.1),
        *(Bar(f"{path} p99 while a budget tunes, over idle", "x", found[path]["p99_ratio"], 1.5) for path in ("/query", "/search")),
    )
    write("tuned_serving", found, bars=bars, seed=SEED, data=f"{options.texts} of botocore's documentation strings")


if __name__ == "__main__":
    main()
