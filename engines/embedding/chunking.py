"""Long texts into chunks that a model can take in, each an exact substring of the text.

A chunk holds at most `tokens` tokens and begins about `overlap` tokens before the end of the one before it. Where it ends is moved back,
by a quarter of its length at most, to the end of a paragraph, else of a sentence, else of a word; where the next begins is moved forward to
the begin of a word. White space at a chunk's ends is left off, and a chunk of nothing else is none.

Counted in the tokens of the whole text; a chunk tokenized by itself may differ by one where it begins inside a word. It reads no markup:
paragraphs are blank lines; `structure.py` does. Next: `engines/vectors/corpus.py` cuts and embeds a dataset.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from engines.errors import BuildFailed

JOINT = "\n\n"  # between the text columns of one row: a paragraph's end, so that chunks prefer to end there
_SENTENCE_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f][\"')\]\u201d\u2019]*(?=\s)|(?=\n)")
_WORD_END = re.compile(r"\S(?=\s)")
_SPACE = re.compile(r"\s")
By: TypeAlias = Literal["tokens", "structure"]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of one row's text. number: from 0 within the row. start: where it begins in the row's joined text, in characters."""

    row_key: str
    number: int
    text: str
    start: int


@dataclass(frozen=True, slots=True)
class Chunking:
    """How texts are cut: at most `tokens` tokens a chunk, about `overlap` of them shared with the one before; by tokens alone, or by the
    structure of Markdown.

    Raises BuildFailed unless 1 <= tokens and 0 <= overlap < tokens.
    """

    tokens: int = 256
    overlap: int = 32
    by: By = "tokens"

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise BuildFailed(f"chunk.tokens must be at least 1, not {self.tokens}.")
        if not 0 <= self.overlap < self.tokens:
            raise BuildFailed(f"chunk.overlap must be at least 0 and less than chunk.tokens ({self.tokens}), not {self.overlap}.")


class Tokens(Protocol):
    """What chunking asks of a model."""

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """Each token's begin and end in the text, in characters, ascending."""


def join(values: Iterable[str | None]) -> str:
    """One text of a row's text columns, in the order the spec names them; null and blank values are left out."""
    return JOINT.join(value for value in values if value and not value.isspace())


def chunks(row_key: str, text: str, chunking: Chunking, model: Tokens) -> Iterator[Chunk]:
    """The chunks of one row's joined text, in order; none for a blank text."""
    for number, (start, end) in enumerate(spans(text, chunking, model)):
        yield Chunk(row_key, number, text[start:end], start)


def spans(text: str, chunking: Chunking, model: Tokens) -> Iterator[tuple[int, int]]:
    """Where the chunks begin and end in the text, in characters: not blank, without white space at their ends."""
    # A token covers at least one byte, and one may stand for the text's begin: a short text need not be tokenized to be known as short.
    if len(text) * 4 < chunking.tokens or len(text.encode()) < chunking.tokens:
        windows: Iterable[tuple[int, int]] = ((0, len(text)),)
    else:
        windows = _windows(text, chunking, model.offsets(text))
    last_end = -1
    for begin, stop in windows:
        piece = text[begin:stop]
        stripped = piece.strip()
        start = begin + len(piece) - len(piece.lstrip())
        end = start + len(stripped)
        if stripped and end > last_end:  # a piece inside the one before it says nothing new
            yield start, end
            last_end = end


def _windows(text: str, chunking: Chunking, offsets: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    starts = [start for start, _ in offsets]
    size, overlap = chunking.tokens, chunking.overlap
    # Never back so far that the next window could begin where this one did.
    slack = min(size // 4, (size - overlap) // 2)
    first, begin = 0, 0
    while len(offsets) - first > size:
        hard = starts[first + size]
        cut = _cut(text, max(starts[first + size - slack], begin + 1), hard) if slack else hard
        cut = max(cut, begin + 1)  # one character may be more tokens than a chunk has
        if cut >= len(text):
            break
        yield begin, cut
        following = bisect_left(starts, cut)
        back = max(following - overlap, first + 1)
        begin = cut if following <= back else _word_begin(text, max(starts[back], begin + 1), cut)
        first = max(bisect_right(starts, begin) - 1, first + 1)
    yield begin, len(text)


def _cut(text: str, low: int, high: int) -> int:
    """The best place in [low, high] to end a chunk: before a blank line, behind a sentence, behind a word, else high."""
    paragraph = text.rfind("\n\n", low, high + 2)
    if paragraph >= 0:
        return paragraph
    for pattern in (_SENTENCE_END, _WORD_END):
        ends = [match.end() for match in pattern.finditer(text, low, high + 1)]
        if ends:
            return ends[-1]
    return high


def _word_begin(text: str, low: int, high: int) -> int:
    """Where the first word at or after low begins, if that is before high, else low."""
    if low == 0 or text[low - 1].isspace() or text[low].isspace():
        return low
    space = _SPACE.search(text, low, high)
    return space.end() if space and space.end() < high else low
