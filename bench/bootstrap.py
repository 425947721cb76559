"""From nothing to Ready: a repository of a thousand datasets of one small CSV each, by the daemon and by an apply in the foreground.

    python -m bench.bootstrap [--resources 1000] [--rounds 3]

The clock runs from the start of the process, imports included, until every object is Ready; each round begins without any state.
What a round leaves behind is removed after the last one: ext4 looks at every inode that was freed within five minutes when it makes a
file, which had later rounds pay a third for the clean-up of earlier ones.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.bars import Bar
from bench.daemon_process import DaemonProcess, environment
from bench.report import write
from bench.repository import with_datasets

_APPLY = """
import asyncio, json, pathlib, sys
from reconciler.foreground import apply_here
from reconciler.place import locate
from reconciler.settings import load_settings
place = locate(pathlib.Path(sys.argv[1]))
settings = load_settings(place.source.settings(place.source.revision()))
ended = asyncio.run(apply_here(place, settings, seconds=600, told=lambda progress: None))
print(json.dumps({"converged": ended.converged, "objects": len(ended.objects), "seconds": ended.seconds}))
"""


def by_daemon(folder: Path, count: int) -> dict[str, Any]:
    """Seconds until all is Ready, of which until the listener is bound, and CPU seconds of the process."""
    repository = with_datasets(folder / "repository", count)
    with DaemonProcess(repository.folder) as daemon:
        listening = time.perf_counter() - daemon.started
        seconds = daemon.until_ready(600)
        return {"seconds": seconds, "until_listening_seconds": listening, "cpu_seconds": daemon.cpu_seconds()}


def by_apply(folder: Path, count: int) -> dict[str, Any]:
    """The same in the foreground, until the process has ended."""
    repository = with_datasets(folder / "repository", count)
    began = time.perf_counter()
    done = subprocess.run(
        (sys.executable, "-P", "-c", _APPLY, str(repository.folder)),
        cwd=repository.folder, env=environment(), check=True, capture_output=True, text=True,
    )  # fmt: skip
    ended = json.loads(done.stdout)
    if not ended["converged"]:
        raise RuntimeError(done.stdout)
    return {"seconds": time.perf_counter() - began, "inside_seconds": ended["seconds"]}


def main() -> None:
    """Measure, and write bench/results/bootstrap.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--resources", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {"daemon": [], "apply": []}
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as folder:
        for number in range(options.rounds):
            for name, run in (("daemon", by_daemon), ("apply", by_apply)):
                found[name].append(run(Path(folder, f"{name}-{number}"), options.resources))
    figures = {name: {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]} for name, runs in found.items()}
    rates = {name: (options.resources - 1) / facts["seconds"] for name, facts in figures.items()}
    bars = [Bar(f"bootstrap by {name}", "datasets/s", rate, 100, 250, "loop_cpu_seconds", at_least=True) for name, rate in rates.items()]
    figures["datasets_per_second"] = {name: round(rate, 1) for name, rate in rates.items()}
    write("bootstrap", figures, bars=bars, data=f"{options.resources} resources, datasets of one CSV of 10 rows each")


if __name__ == "__main__":
    main()
