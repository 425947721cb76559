"""What every benchmark leaves behind: its figures, and all that is needed to judge them later.

`write(name, figures, …)` adds machine, versions, threads, date, load, seed, data and calibration, prints the document and writes it to
`bench/results/<name>.json`. `Stopwatch` takes wall and CPU seconds side by side, since contention doubles the one and not the other.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.bars import Bar
from bench.calibrate import REFERENCE, calibrate

RESULTS = Path(__file__).parent / "results"
BEFORE = "BENCH_CALIBRATION"
"""The variable that holds the calibration of before."""
PACKAGES = (
    "pyarrow",
    "numpy",
    "datafusion",
    "hnswlib",
    "numkong",
    "lancedb",
    "optuna",
    "faiss-cpu",
    "usearch",
    "obstore",
    "aiohttp",
    "pydantic",
    "duckdb",
    "psycopg",
    "adbc-driver-postgresql",
    "connectorx",
)


def write(
    name: str,
    figures: Mapping[str, Any],
    *,
    bars: Sequence[Bar] = (),
    seed: int | None = None,
    data: str = "",
    threads: int | None = None,
) -> Path:
    """figures: JSON-able, units in the names. data: what was measured on, in words. threads: that the measured code may use."""
    calibration = around()
    document = {
        "name": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "bars": [bar.judged(calibration) for bar in bars],
        "figures": figures,
        "data": data,
        "seed": seed,
        "threads": threads if threads is not None else os.cpu_count(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "machine": machine(),
        "versions": versions(),
        "calibration": {"measured": calibration, "reference": REFERENCE},
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    text = json.dumps(document, indent=2)
    path.write_text(text + "\n", encoding="utf-8")
    print(text)
    return path


def around() -> dict[str, float]:
    """The calibration now, or its mean with that of before, where `python -m bench` took one: a shared machine changes meanwhile."""
    after = calibrate()
    before = json.loads(os.environ.get(BEFORE, "null")) or after
    return {name: round((before[name] + value) / 2, 4) for name, value in after.items()}


def machine() -> dict[str, Any]:
    """Cores, memory, processor and system."""
    model = next((line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"processor": model, "cores": os.cpu_count(), "memory_gib": round(memory / 2**30, 1), "system": platform.platform()}


def versions() -> dict[str, str]:
    """Python's, and those of the libraries that figures depend on, as far as they are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def peak_rss_mib() -> float:
    """The most memory this process ever held. (getrusage's figure would begin with that of the process that started it.)"""
    line = next(line for line in _lines("/proc/self/status") if line.startswith("VmHWM:"))
    return round(int(line.split()[1]) / 1024, 1)


@dataclass
class Stopwatch:
    """Wall and CPU seconds of a block, all threads of the process included."""

    wall: float = 0.0
    cpu: float = 0.0

    def __enter__(self) -> Self:
        self._started = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.wall, self.cpu = time.perf_counter() - self._started[0], time.process_time() - self._started[1]


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
