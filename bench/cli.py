"""What a command costs: CPU seconds of `lakectl version` and of `lakectl status` over a thousand objects.

    python -m bench.cli [--resources 1000] [--runs 15]

CPU is that of the process as the kernel counts it when it ends (wait4), children included; the median of all runs. `status` is measured
beside a daemon, which it asks, and without one, when it reads the lake itself.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from bench.bars import Bar
from bench.daemon_process import LAKECTL, DaemonProcess, environment
from bench.report import write
from bench.repository import with_datasets


def run(folder: Path, *words: str) -> tuple[float, float]:
    """CPU and wall seconds of one command. Raises RuntimeError unless it says yes."""
    began = time.perf_counter()
    with (folder.parent / "lakectl.log").open("w+") as log:
        process = subprocess.Popen((*LAKECTL, *words), cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(f"lakectl {' '.join(words)} ended with {process.returncode}: {(folder.parent / 'lakectl.log').read_text()}")
    return used.ru_utime + used.ru_stime, time.perf_counter() - began


def measure(folder: Path, runs: int, *words: str) -> dict[str, float]:
    """Medians; the first run, which may have to compile, does not count."""
    run(folder, *words)
    taken = [run(folder, *words) for _ in range(runs)]
    cpu, wall = ([one[at] for one in taken] for at in (0, 1))
    return {
        "cpu_seconds": round(statistics.median(cpu), 4),
        "wall_seconds": round(statistics.median(wall), 4),
        "least_cpu_seconds": round(min(cpu), 4),
    }


def main() -> None:
    """Measure, and write bench/results/cli.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--resources", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as folder:
        repository = with_datasets(Path(folder, "repository"), options.resources)
        with DaemonProcess(repository.folder) as daemon:
            daemon.until_ready(300)
            figures = {
                "version": measure(repository.folder, options.runs, "version"),
                "status beside a daemon": measure(repository.folder, options.runs, "status"),
                "status beside a daemon, as JSON": measure(repository.folder, options.runs, "status", "-o", "json"),
            }
        figures["status without a daemon"] = measure(repository.folder, options.runs, "status")
        figures["status without a daemon, as JSON"] = measure(repository.folder, options.runs, "status", "-o", "json")
    bars = [
        Bar(f"lakectl {name}", "s CPU", found["cpu_seconds"], 0.15 if name == "version" else 0.4, None, "loop_cpu_seconds")
        for name, found in figures.items()
    ]
    write("cli", figures, bars=bars, data=f"{options.resources} objects Ready", threads=1)


if __name__ == "__main__":
    main()
