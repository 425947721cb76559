"""Whether the first row of a CSV names its columns. It does unless it plainly is one of the rows: a header read as data spoils a table
less than a row that is lost, but both spoil it, so that only what no header would say counts.

That is a date, a time, a decimal number, a truth value or a long number in a column of such, or a count that goes on in the next rows; and
nothing in the first row may be text above a column of numbers or dates. Short whole numbers are no sign: years and classes are headers.
"""

from __future__ import annotations

from collections.abc import Sequence

from engines.files import notations, shapes

SAMPLED_ROWS, SAMPLED_CELLS = 100, 20_000
"""A sample of a wide file has fewer rows."""
_LONG_DIGITS = 5
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
