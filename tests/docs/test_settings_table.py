"""The README lists every setting with its default and meaning, as `reconciler/settings.py` has them; `make golden` writes the table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from reconciler.settings import Settings, WorkSettings

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- settings: begin (written by `make golden` from reconciler/settings.py) -->\n", "<!-- settings: end -->"
MACHINE = {WorkSettings.model_fields["job_workers"].alias: "one a core"}
"""Defaults that depend on the machine, in words."""
SHARES = ("maxPrune", "recallShare")


def rows(model: BaseModel, prefix: str = "") -> Iterator[str]:
    for name, field in type(model).model_fields.items():
        alias, value = field.alias or name, getattr(model, name)
        if isinstance(value, BaseModel):
            yield from rows(value, f"{prefix}{alias}.")
        else:
            yield f"| `{prefix}{alias}` | {MACHINE.get(alias) or shown(alias, value)} | {field.description} |\n"


def shown(alias: str, value: Any) -> str:
    """A default as a person would write it."""
    if value is None:
        return "for ever"
    if value == ():
        return "none"
    if alias.lower().endswith("bytes") and value:
        size, unit = next((value >> bits, unit) for bits, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB"), (0, "bytes")) if value >> bits)
        return f"{value} ({size} {unit})"
    if isinstance(value, float) and alias not in SHARES:
        return f"{value:g}s"
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_the_readme_lists_every_setting(golden: Any) -> None:
    table = "| setting | default | meaning |\n|---|---|---|\n" + "".join(rows(Settings()))
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    listed, _, after = rest.partition(END)
    if golden.update:
        README.write_text(f"{before}{BEGIN}{table}{END}{after}", encoding="utf-8")
        return
    assert listed == table, "the README's settings differ from reconciler/settings.py; if the change is meant, run pytest --update-golden"
