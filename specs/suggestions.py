"""The nearest valid word to a mistaken one, for "did you mean"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST = 64
_SLIP = 0.8


def nearest(word: str, valid: Iterable[str]) -> str | None:
    """The entry of `valid` closest to `word`, whatever the case, hyphens and underscores; None if none is close."""
    if len(word) > _LONGEST:
        return None
    folded = {_fold(entry): entry for entry in sorted(valid, reverse=True)}
    mistaken = _fold(word)
    close = difflib.get_close_matches(mistaken, folded, n=1, cutoff=0.6)
    if close:
        return folded[close[0]]
    if len(mistaken) <= 2:
        return None
    return min((entry for key, entry in folded.items() if key.startswith(mistaken) or mistaken.startswith(key)), default=None)


def did_you_mean(word: str, valid: Iterable[str]) -> str | None:
    """`did you mean \\`x\\`?`, or None."""
    near = nearest(word, valid)
    return f"did you mean `{near}`?" if near else None


def or_meant(said: str, word: str, valid: Iterable[str]) -> str:
    """What is said of a name that is none of `valid`, as a sentence: `There is no index 'resume'; did you mean \\`resumes\\`?`."""
    hint = did_you_mean(word, valid)
    return f"{said}; {hint}" if hint else f"{said}."


def is_slip(word: str, other: str) -> bool:
    """Whether one is so close to the other that no other place need be thought of: `efsearch`, `bukcet`."""
    return difflib.SequenceMatcher(None, _fold(word), _fold(other)).ratio() >= _SLIP


def _fold(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "")
