"""The README shows every figure that has a bar, as `bench/results/` has it; `make golden` writes the table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BEGIN, END = "<!-- figures: begin (written by `make golden` from bench/results) -->\n", "<!-- figures: end -->"
HEAD = "| figure | must | aim | must on this machine | measured | from |\n|---|---|---|---|---|---|\n"


def rows() -> Iterator[str]:
    for path in sorted((ROOT / "bench" / "results").glob("*.json")):
        for bar in json.loads(path.read_text(encoding="utf-8")).get("bars", ()):
            if bar["must"] is not None:
                measured = shown(bar["measured"], bar["unit"]) + (" **missed**" if bar["verdict"] == "MISSED" else "")
                bars = " | ".join(shown(bar[name], bar["unit"]) for name in ("must", "aim", "must_here"))
                yield f"| {bar['figure']} | {bars} | {measured} | [{path.stem}](bench/results/{path.name}) |\n"


def shown(value: float | None, unit: str) -> str:
    """Three digits are what a noisy machine knows."""
    return "" if value is None else f"{value:.3g} {unit}" if value < 1000 else f"{value:,.0f} {unit}"


def test_the_readme_shows_every_figure(golden: Any) -> None:
    table = HEAD + "".join(rows())
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    listed, _, after = rest.partition(END)
    if golden.update:
        README.write_text(f"{before}{BEGIN}{table}{END}{after}", encoding="utf-8")
        return
    assert listed == table, "the README's figures differ from bench/results; if the change is meant, run pytest --update-golden"
