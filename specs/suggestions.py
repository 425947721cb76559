"""The nearest valid word to a mistaken one, for "did you mean"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST = 64


def nearest(word: str, valid: Iterable[str]) -> str | None:
    """The entry of `valid` closest to `word`, ignoring case, hyphens and underscores first; None if none is close."""
    if len(word) > _LONGEST:
        return None
    folded = {_fold(entry): entry for entry in sorted(valid, reverse=True)}
    close = difflib.get_close_matches(_fold(word), folded, n=1, cutoff=0.6)
    if close:
        return folded[close[0]]
    starts = sorted(
        entry for key, entry in folded.items() if len(word) > 2 and (key.startswith(_fold(word)) or _fold(word).startswith(key))
    )
    return starts[0] if starts else None


def did_you_mean(word: str, valid: Iterable[str]) -> str | None:
    """`did you mean \\`x\\`?`, or None."""
    near = nearest(word, valid)
    return f"did you mean `{near}`?" if near else None


def _fold(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "")
