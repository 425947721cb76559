"""What a daemon costs that has nothing to do: a thousand resources Ready, one warm query worker, no job worker.

    python -m bench.idle [--resources 1000] [--seconds 60]

Memory is the proportional set size of the whole process tree; CPU that of the tree over the time, workers included.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from bench.bars import Bar
from bench.daemon_process import DaemonProcess
from bench.report import write
from bench.repository import with_datasets


def main() -> None:
    """Measure, and write bench/results/idle.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--resources", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as folder:
        repository = with_datasets(Path(folder, "repository"), options.resources)
        with DaemonProcess(repository.folder) as daemon:
            daemon.until_ready(300)
            # what the bootstrap left in its heap is not what an idle daemon holds: begin anew, and keep that figure too
            after_bootstrap = daemon.tree_pss_mib()
        with DaemonProcess(repository.folder) as daemon:
            daemon.until_ready(300)
            daemon.connection.post("/query", {"sql": "SELECT city, sum(amount) AS total FROM d0001 GROUP BY city"})
            time.sleep(5)
            cpu, began = daemon.tree_cpu_seconds(), time.perf_counter()
            time.sleep(options.seconds)
            share = (daemon.tree_cpu_seconds() - cpu) / (time.perf_counter() - began)
            pss = daemon.tree_pss_mib()
    figures = {"pss_mib": pss, "cpu_share": round(share, 5), "pss_mib_after_bootstrap": after_bootstrap}
    bars = (
        Bar("idle, PSS of the process tree", "MiB", sum(pss.values()), 350, 250),
        Bar("idle, CPU", "% of a core", share * 100, 1, None, "loop_cpu_seconds"),
    )
    write("idle", figures, bars=bars, data=f"{options.resources} resources Ready, one warm query worker")


if __name__ == "__main__":
    main()
