"""A migration drafted from how a file's columns differ from a table's, for somebody to judge; pure.

What a file can do to a table by itself (new columns, types that widen without loss) needs none. A column that the file lacks stays, and is
null in its rows: to give it up is a decision that is not drafted. Next: `files/schema_diff.py`, which finds the differences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from engines.files.schema_diff import Difference
from state.catalog.schemas import Schema

_ROOMY = "decimal(38,10)"
"""Holds every int64 and ten decimals."""


def drafted(differences: Sequence[Difference], schema: Schema, exact: Callable[[str, str], bool]) -> dict[str, Any]:
    """As in a spec, without `from` where nothing is needed. exact: whether a column's values all survive a wider type."""
    rename = {one.name: one.new_name for one in differences if one.kind == "renamed"}
    cast: dict[str, str] = {}
    for one in differences:
        needed = _type(one, exact)
        if needed is not None:
            cast[one.name] = needed
    found = {name: part for name, part in (("rename", rename), ("cast", cast)) if part}
    return {"from": schema.id, **found} if found else {}


def _type(one: Difference, exact: Callable[[str, str], bool]) -> str | None:
    """The type that the column needs to hold both; None where the present one does, or becomes it by itself."""
    if one.kind == "retyped":
        return "string"
    if one.kind not in ("widened", "renamed") or one.was == one.now:
        return None
    if exact(one.name, one.now):
        return one.now if one.kind == "renamed" else None
    return _ROOMY if one.now == "float64" else one.now


def remark(one: Difference, exact: Callable[[str, str], bool]) -> str:
    """What comes of a difference, without a migration or by the drafted one."""
    match one.kind:
        case "added":
            return "it is added by itself"
        case "dropped":
            return f"it stays, and is null in new rows; `drop: [{one.name}]` gives it up"
        case "narrowed":
            return "nothing is needed"
        case "widened" if exact(one.name, one.now):
            return "it is widened by itself"
        case _:
            return "the migration below says so"
