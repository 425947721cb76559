"""A picture of trials on a terminal: time to the right, recall upwards."""

import math
from collections.abc import Sequence

from reconciler.lakectl.terminal import Terminal

Point = tuple[float, float, bool, bool]
"""Microseconds, recall, whether it serves or has served, whether it is on the front."""

_HEIGHT = 12
_LABEL = 7
"""Columns for recall, at the left."""
_WIDEST = 100
_LEAST_SPAN = 0.02


def plot(points: Sequence[Point], terminal: Terminal) -> list[str]:
    """Lines as wide as the terminal: one mark a trial; time on a logarithmic scale. Those of the front come last, and cover others."""
    if not points:
        return []
    width = min(terminal.width, _WIDEST) - _LABEL
    marks = {"serves": terminal.mark("◆", "@"), "front": terminal.mark("●", "*"), "other": terminal.mark("·", ".")}
    low, high = _recalls([recall for _, recall, _, _ in points])
    left, right = _times([time for time, _, _, _ in points])
    field = [[" "] * width for _ in range(_HEIGHT)]
    for time, recall, serves, on_front in sorted(points, key=lambda point: (point[3], point[2])):
        column = round((math.log(time) - left) / (right - left) * (width - 1))
        line = round((high - recall) / (high - low) * (_HEIGHT - 1))
        field[line][column] = marks["serves" if serves else "front" if on_front else "other"]
    upright, across = terminal.mark("│", "|"), terminal.mark("─", "-")
    lines = [f"{_label(at, low, high)} {upright}{''.join(line).rstrip()}".rstrip() for at, line in enumerate(field)]
    first, last = f"{math.exp(left):,.0f} us", f"{math.exp(right):,.0f} us"
    lines.append(f"{'':{_LABEL - 1}}{terminal.mark('└', '+')}{across * (width - 1)}")
    lines.append(f"{'':{_LABEL}}{first}{last:>{width - 1 - len(first)}}")
    lines.append(f"{'':{_LABEL}}recall@10 by p95: {marks['serves']} served  {marks['front']} front  {marks['other']} others")
    return lines


def _label(at: int, low: float, high: float) -> str:
    """Recall at every fourth line."""
    shown = at % 4 == 0 or at == _HEIGHT - 1
    return f"{high - (high - low) * at / (_HEIGHT - 1):{_LABEL - 2}.3f}" if shown else " " * (_LABEL - 2)


def _recalls(values: Sequence[float]) -> tuple[float, float]:
    high = max(values)
    return min(min(values), high - _LEAST_SPAN), high


def _times(values: Sequence[float]) -> tuple[float, float]:
    """Logarithms, apart at least by a factor of two."""
    left, right = math.log(min(values)), math.log(max(values))
    spare = max(0.0, math.log(2) - (right - left)) / 2
    return left - spare, right + spare
