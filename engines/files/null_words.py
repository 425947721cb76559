"""Texts that people and programs write where there is no value: N/A, NULL, a dash.

They are read as null where a column's other values are no text, as inference finds, since there they can mean nothing else; a column of
texts keeps them as they stand. Where the spec says `nulls`, exactly its words are null, whatever the column is. Refuses to take a number
(-999, 9999) for one. Next: `inference.py`, which counts them; `csv.py` and `json_lines.py`, which read them.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

WORDS = frozenset({"n/a", "na", "#n/a", "null", "none", "nil", "\\n", "-", "--"})
"""In lower case."""
_LONGEST = max(map(len, WORDS))
_SHOWN = 4


def is_word(text: str) -> bool:
    """Whether a text is one of them, in any case."""
    return len(text) <= _LONGEST and text.lower() in WORDS


def without_words(column: pa.Array) -> pa.Array:
    """A column of strings with null in the place of each of them."""
    return _without(column, pc.utf8_lower(column), WORDS)


def without(column: pa.Array, said: frozenset[str]) -> pa.Array:
    """A column of strings with null in the place of each text that the spec calls null, exactly as it is written there."""
    return _without(column, column, said)


def _without(column: pa.Array, compared: pa.Array, words: Iterable[str]) -> pa.Array:
    found = pc.is_in(compared, pa.array(sorted(words), pa.string()))
    return pc.if_else(found, pa.scalar(None, pa.string()), column) if found.true_count else column


def named(words: Iterable[str]) -> str:
    """Them, for a message; they are nobody's data."""
    found = sorted(words)
    shown = ", ".join(f"`{word}`" for word in found[:_SHOWN])
    return f"{shown}{', …' if len(found) > _SHOWN else ''} {'is' if len(found) == 1 else 'are'} read as null"
