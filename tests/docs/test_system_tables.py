"""The page of system tables lists every one, with the summary that the code has; `make golden` writes the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engines.sql import cache_table, ledgers, models_table
from state.streams.tables import SUMMARIES

PAGE = Path(__file__).parents[2] / "docs/system-tables.md"
BEGIN, END = "<!-- system tables: begin (written by `make golden` from the tables' own summaries) -->\n", "<!-- system tables: end -->"


def test_the_page_lists_every_system_table(golden: Any) -> None:
    known = {f"system.{name}": summary for name, summary in {**SUMMARIES, **ledgers.SUMMARIES}.items()} | {
        cache_table.NAME: cache_table.SUMMARY,
        models_table.NAME: models_table.SUMMARY,
    }
    table = "| table | what it holds |\n|---|---|\n" + "".join(f"| `{name}` | {known[name]} |\n" for name in sorted(known))
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    listed, _, after = rest.partition(END)
    if golden.update:
        PAGE.write_text(f"{before}{BEGIN}{table}{END}{after}", encoding="utf-8")
        return
    assert listed == table, "the page differs from the tables' summaries; if the change is meant, run pytest --update-golden"
