"""How fast this machine is, in the four ways that a bar in seconds scales by: `python -m bench.calibrate`.

Bars are stated for a machine with the figures in `REFERENCE`; every benchmark records these beside its own.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

REFERENCE = {"loop_cpu_seconds": 0.18, "float32_sum_gb_per_second": 6.8, "sgemm_gflop_per_second": 190.0, "fdatasync_ms": 0.07}
_LOOPS = 3_000_000
_FLOATS = 64 << 20
_ORDER = 1_500
_SYNCS = 200


def calibrate(folder: Path | None = None) -> dict[str, float]:
    """The four figures, best of three each. folder: on the disk that is measured, by default that of temporary files."""
    return {
        "loop_cpu_seconds": round(_best(_loop), 4),
        "float32_sum_gb_per_second": round(_FLOATS * 4 / _best(_sum_of(np.ones(_FLOATS, np.float32))) / 1e9, 2),
        "sgemm_gflop_per_second": round(2 * _ORDER**3 / _best(_product_of(np.ones((_ORDER, _ORDER), np.float32))) / 1e9, 1),
        "fdatasync_ms": round(_fdatasync(folder) * 1e3, 3),
    }


def _best(measure: Callable[[], float]) -> float:
    return min(measure() for _ in range(3))


# names of a module, not of a function, whose variables are three times as fast: so was the reference measured
_PLAIN = compile(f"x = 0\nfor i in range({_LOOPS}):\n    x += i\n", "<loop>", "exec")


def _loop() -> float:
    started = time.process_time()
    exec(_PLAIN, {})
    return time.process_time() - started


def _sum_of(values: np.ndarray) -> Callable[[], float]:
    def measure() -> float:
        started = time.perf_counter()
        values.sum()
        return time.perf_counter() - started

    return measure


def _product_of(matrix: np.ndarray) -> Callable[[], float]:
    def measure() -> float:
        started = time.perf_counter()
        matrix @ matrix
        return time.perf_counter() - started

    return measure


def _fdatasync(folder: Path | None) -> float:
    """Median seconds for a 4 KiB append to reach the disk."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        taken = []
        for _ in range(_SYNCS):
            file.write(bytes(4096))
            file.flush()
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - started)
    return sorted(taken)[_SYNCS // 2]


if __name__ == "__main__":
    print(json.dumps({"measured": calibrate(), "reference": REFERENCE}, indent=2))
