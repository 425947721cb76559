"""Queries made of texts of the corpus, without a model: what somebody may type who remembers the text, and not the text itself.

Of a long text a stretch of some words is taken. A part of the words is left out, two neighbours change places, and some words get an
error of typing: a letter lost, doubled, or two exchanged. What comes of it depends on the text and the seed alone, and which texts are
taken on their keys and the seed: while a corpus grows, most queries stay the same. A text's own chunk may be the answer; its words may
not be the query, nor its vector the query's, which `truth.py` sees to.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from heapq import nsmallest
from typing import NamedTuple

_STRETCH = (8, 24)  # words that are taken of a long text
_LEFT_OUT = 0.25
_MISTYPED = 0.12
_LEAST_LETTERS = 4  # of a word that is mistyped


class Source(NamedTuple):
    """A chunk that a query may be made of. place: by which they are taken; id: its row in the corpus."""

    place: bytes
    id: int
    text: str


def place(seed: int, key: str, number: int) -> bytes:
    """Where a chunk comes in the order in which they are taken: at random, whatever else there is."""
    return hashlib.blake2b(f"{seed}\0{key}\0{number}".encode(), digest_size=8).digest()


def chosen(sources: Iterable[Source], count: int) -> list[Source]:
    """So many of them, in their order."""
    return nsmallest(count, sources)


def perturbed(text: str, seed: int) -> str | None:
    """A query for the text; None where it has too little to change. Never the text's own words in their order."""
    draw = random.Random(f"{seed}\0{text}")
    words = text.split()
    if not any(char.isalpha() for char in text):
        return None
    if len(words) > _STRETCH[1]:
        length = draw.randint(*_STRETCH)
        first = draw.randrange(len(words) - length + 1)
        words = words[first : first + length]
    if len(words) > 1:
        for _ in range(max(1, round(len(words) * _LEFT_OUT))):
            del words[draw.randrange(len(words))]
    if len(words) > 2:
        at = draw.randrange(len(words) - 1)
        words[at], words[at + 1] = words[at + 1], words[at]
    long = [at for at, word in enumerate(words) if len(word) >= _LEAST_LETTERS and word.isalpha()]
    mistyped = max(round(len(words) * _MISTYPED), 1 if len(words) < 3 else 0)
    for at in draw.sample(long, min(mistyped, len(long))):
        words[at] = _mistyped(words[at], draw)
    query = " ".join(words)
    return query if query and normal(query) != normal(text) else None


def _mistyped(word: str, draw: random.Random) -> str:
    at = draw.randrange(1, len(word) - 1)
    match draw.randrange(3):
        case 0:
            return word[:at] + word[at + 1 :]
        case 1:
            return word[: at + 1] + word[at:]
        case _:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def normal(text: str) -> str:
    """What two texts have in common that are the same but for case and white space."""
    return " ".join(text.split()).casefold()
