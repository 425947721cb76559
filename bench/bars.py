"""Figures against the bars that an issue states: scaled to this machine, judged, and printed as a table.

A bar in CPU-bound seconds grows by how much slower the plain loop runs here than on the reference machine; ratios and bytes do not scale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bench.calibrate import REFERENCE

Scale = Literal["loop_cpu_seconds", "float32_sum_gb_per_second", "sgemm_gflop_per_second", "fdatasync_ms"]
_RATES = frozenset({"float32_sum_gb_per_second", "sgemm_gflop_per_second"})
_HEAD = ("figure", "must", "aim", "measured", "verdict")


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of the table.

    must, aim: None where none is stated. at_least: the bar is a floor, not a ceiling. scale: the calibration that the bar moves with;
    None for ratios and bytes.
    """

    figure: str
    unit: str
    measured: float
    must: float | None = None
    aim: float | None = None
    scale: Scale | None = None
    at_least: bool = False

    def judged(self, calibration: Mapping[str, float]) -> dict[str, Any]:
        """JSON-able: the bars as stated and as they stand on this machine, and the verdict."""
        factor = self._factor(calibration)
        must, aim = ((None if bar is None else bar / factor if self.at_least else bar * factor) for bar in (self.must, self.aim))
        return {
            "figure": self.figure,
            "unit": self.unit,
            "must": self.must,
            "aim": self.aim,
            "must_here": must and round(must, 4),
            "aim_here": aim and round(aim, 4),
            "measured": round(self.measured, 4),
            "verdict": self._verdict(must, aim),
        }

    def _factor(self, calibration: Mapping[str, float]) -> float:
        """How much slower this machine is than the reference, in the way that counts here."""
        if self.scale is None:
            return 1.0
        here, there = calibration[self.scale], REFERENCE[self.scale]
        return there / here if self.scale in _RATES else here / there

    def _verdict(self, must: float | None, aim: float | None) -> str:
        if aim is not None and self._within(aim):
            return "aim reached"
        if must is None:
            return "report" if aim is None else "below aim"
        return "reached" if self._within(must) else "MISSED"

    def _within(self, bar: float) -> bool:
        return self.measured >= bar if self.at_least else self.measured <= bar


def table(judged: Iterable[Mapping[str, Any]]) -> str:
    """One line a figure; bars as they stand on this machine."""
    rows = [_HEAD]
    for bar in judged:
        numbers = (f"{bar[name]:.4g}" if bar[name] is not None else "-" for name in ("must_here", "aim_here"))
        rows.append((bar["figure"], *numbers, f"{bar['measured']:.4g} {bar['unit']}", bar["verdict"]))
    widths = [max(len(row[at]) for row in rows) for at in range(len(_HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
