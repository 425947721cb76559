"""Quantiles of measured seconds, in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p90, p99 and the most."""
    taken = np.asarray(seconds) * 1e3
    quantiles = {f"p{at}_ms": round(float(np.percentile(taken, at)), 3) for at in (50, 90, 99)}
    return {**quantiles, "most_ms": round(float(taken.max()), 3), "count": len(seconds)}
