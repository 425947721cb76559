"""A column that came as text because some of its values are none of its type: all others as the type, as if it had been parsed so.

Next: `reading.py`, which asks for text once a value does not fit.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from engines.files.conversion import salvage
from engines.files.types import arrow_type
from engines.postgres.columns import Unfit, Wire, settle


def salvaged(column: pa.Array, how: Wire, aside: Callable[[int, object], None], row: int) -> pa.Array:
    """Of the type, with null for what is none. how: the column would have crossed; aside: told of values, by row; row: of the first."""

    def fitted(first: int, count: int) -> pa.Array:
        return settle(_parsed(column.slice(first, count), how.parsed), how)

    found, places = salvage(len(column), fitted, arrow_type(how.kind), (Unfit, pa.ArrowInvalid))
    for place in places:
        aside(row + place, column[place].as_py())
    return found


def _parsed(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    """As the CSV reader makes it."""
    if pa.types.is_string(kind):
        return texts
    if pa.types.is_boolean(kind):
        if not pc.all(pc.is_in(texts, pa.array(["t", "f", None], pa.string()))).as_py():
            raise pa.ArrowInvalid("neither true nor false")
        return pc.equal(texts, "t")
    return pc.utf8_trim_whitespace(texts).cast(kind)
