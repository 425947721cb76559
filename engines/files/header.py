"""Which row of a CSV or a sheet names its columns, and whether one does. It is the first unless that plainly is one of the rows: a header
read as data spoils a table less than a row that is lost, but both spoil it, so that only what no header would say counts.

That is a date, a time, a decimal number, a truth value or a long number in a column of such, or a count that goes on in the next rows; and
nothing in the first row may be text above a column of numbers or dates. Short whole numbers are no sign: years and classes are headers.

A title stands above a header that names every column with something in it, by texts that differ. Rows of one cell above three columns or
more are titles; others with at most half the cells of the header are only where a name stands above numbers, dates or truth values. What
may as well be a header with an unnamed column is one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from engines.files import notations, shapes

SAMPLED_ROWS, SAMPLED_CELLS = 100, 20_000
"""A sample of a wide file has fewer rows."""
MOST_TITLES = 20
"""Rows above a header."""
_LONG_DIGITS = 5
_YEAR = re.compile("(?:19|20)[0-9]{2}")
_NUMBERS = frozenset({"int64", "float64", "number"})


def why_absent(rows: Sequence[Sequence[str]]) -> str | None:
    """Why the first of some rows of equal width is data; None where it may name the columns."""
    if len(rows) < 2 or not all(rows[0]):
        return None
    sign = None
    for number, (first, *rest) in enumerate(zip(*rows[: max(3, SAMPLED_CELLS // len(rows[0]))], strict=True), start=1):
        kinds = {_kind_of(cell) for cell in rest if cell}
        if not kinds or "string" in kinds or (len(kinds) > 1 and not kinds <= _NUMBERS):
            continue
        kind = _kind_of(first)
        if kind not in kinds and not {kind, *kinds} <= _NUMBERS:
            return None
        sign = sign or _sign(first, kind, rest, number)
    return sign


def titles(rows: Sequence[Sequence[str]]) -> int:
    """How many of some rows, the first of a file, stand above the one that names the columns; "" is an empty cell."""
    if not rows:
        return 0
    for place, row in enumerate(rows[: MOST_TITLES + 1]):
        below = [other for other in rows[place + 1 :] if any(other)]
        named = {number for other in below for number, cell in enumerate(other) if cell}
        if len(named) < 2 or not _names(row, named):
            continue
        filled = max((sum(map(bool, other)) for other in rows[:place]), default=0)
        alone = filled <= 1 and len(named) > 2
        return place if alone or (2 * filled <= len(named) and _above_values(row, below, named)) else 0
    return 0


def _names(row: Sequence[str], columns: AbstractSet[int]) -> bool:
    """Whether a row has a name for each of the columns, and another one for each."""
    cells = [row[number].strip() if number < len(row) else "" for number in columns]
    return all(map(_is_name, cells)) and len(set(cells)) == len(cells) and any(_kind_of(cell) == "string" for cell in cells)


def _is_name(cell: str) -> bool:
    return bool(cell) and (_kind_of(cell) == "string" or _YEAR.fullmatch(cell) is not None)


def _above_values(row: Sequence[str], below: Sequence[Sequence[str]], columns: AbstractSet[int]) -> bool:
    """Whether a text stands above a column of something else."""
    for number in columns:
        kinds = {_kind_of(other[number]) for other in below if number < len(other) and other[number]}
        if "string" not in kinds and _kind_of(row[number]) == "string":
            return True
    return False


def _kind_of(cell: str) -> str:
    kind = shapes.kind_of(cell)
    return (notations.kind_of(cell) or kind).partition(" ")[0] if kind == "string" else kind


def _sign(first: str, kind: str, rest: Sequence[str], number: int) -> str | None:
    """Without the value, which may be anybody's."""
    if kind != "int64":
        return f"its cell {number} is a {kind}, as in the rows below it" if kind != "string" else None
    if len(first) >= _LONG_DIGITS:
        return f"its cell {number} is a long number, as in the rows below it"
    counted = list(rest[:2]) == [str(int(first) + 1), str(int(first) + 2)]
    return f"its cell {number} is counted on in the rows below it" if counted else None
