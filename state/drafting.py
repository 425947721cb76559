"""A dataset's description where nobody wrote one: drafted from what is known of it, and marked as drafted.

`Drafter` is the seam: whoever turns facts into a paragraph. `by_template` does so without a model; it shows no value of any row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

_NAMED = 6
"""Columns that are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a description may be made of.

    Args:
        columns: in order, with types.
        sources: how many files, objects or queries; `source`: the word for one of them.
        sensitive: columns by class, with the entities found in each.
        merged: whether `rows` is what a query counts, and not the most that it can.
        examples: values by column, of those that anybody may see.
    """

    name: str
    rows: int
    columns: Sequence[tuple[str, str]]
    key: Sequence[str] = ()
    sources: int = 0
    source: str = "file"
    sensitive: Mapping[str, Mapping[str, Sequence[str]]] | None = None
    merged: bool = True
    examples: Mapping[str, Sequence[str]] | None = None


class Drafter(Protocol):
    """Writes descriptions."""

    def __call__(self, facts: Facts) -> str:
        """One or a few sentences."""


def by_template(facts: Facts) -> str:
    """As in: 5 columns, 100,000 rows from 3 files: candidate_id (key), name, …; contains pii in phone and email."""
    if not facts.columns:
        return "nothing yet"
    shown = [f"{name} (key)" if name in facts.key else name for name, _ in facts.columns]
    shown.sort(key=lambda name: not name.endswith(" (key)"))
    more = len(shown) - _NAMED
    names = ", ".join(shown if more <= 0 else [*shown[:_NAMED], f"and {more} more"])
    rows = _count(facts.rows, "row") + ("" if facts.merged else " before merging by key")
    head = f"{_count(len(shown), 'column')}, {rows} from {_count(facts.sources, facts.source)}: {names}"
    held = [f"{kind} in {_listed(list(columns))}" for kind, columns in (facts.sensitive or {}).items() if columns]
    return head + (f"; contains {'; '.join(held)}" if held else "")


def _listed(names: Sequence[str]) -> str:
    if len(names) > _NAMED:
        return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _count(number: int, word: str) -> str:
    if number == 1:
        return f"1 {word}"
    return f"{number:,} {word[:-1] + 'ies' if word.endswith('y') else word + 's'}"
