"""Which texts are a whole row's, though it has several chunks: the row is put together again while its corpus is read.

A row is put together only where it begins as one of the texts, so that a corpus costs a look at each row's first chunk. Of Markdown that
was cut by its structure each chunk begins with the headings that lead to it; those that the chunk before had as well are left out. A row
is not found where headings are underlined or were left off, nor where a table or code was cut, whose head is in each piece.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from itertools import takewhile

from engines.embedding.headings import below_headings
from engines.trials.perturbing import normal

_BEGIN = 24
"""Characters of a text that tell it from most others."""


class WholeRows:
    """found: of the texts those that are whole rows, normalised as the texts are."""

    def __init__(self, texts: Set[str], *, structured: bool = False) -> None:
        """structured: whether the corpus was cut by structure."""
        self._texts = texts
        self._structured = structured
        self._begins = {text[:_BEGIN] for text in texts}
        self._key = ""
        self._text = ""
        self._end = 0
        """Where in the row what was put together ends."""
        self._headings: list[str] = []
        self.found: set[str] = set()

    def read(self, chunks: Iterable[tuple[str, int, int, str]]) -> None:
        """The next chunks, in the corpus's order: key, number, start in the row's text, text."""
        for key, number, start, text in chunks:
            if number == 0:
                self.end()
                if self._may_begin(text):
                    self._key, self._headings = key, []
                    self._add(start, text)
            elif key == self._key and self._text:
                self._add(start, text)

    def end(self) -> None:
        """No more chunks of the row that is being read come."""
        if self._text:
            self.found |= self._texts & {normal(self._text)}
        self._text, self._end = "", 0

    def _add(self, start: int, text: str) -> None:
        headings, body = self._parted(text)
        known = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(headings, self._headings, strict=False)))
        if start > self._end:  # white space or headings, which no chunk ends with
            self._text += " "
        self._text += "".join(f"{heading} " for heading in headings[known:]) + body[max(0, self._end - start) :]
        self._end, self._headings = start + len(body), headings

    def _parted(self, text: str) -> tuple[list[str], str]:
        """The lines of headings that it begins with, and what is below them."""
        below = below_headings(text) if self._structured else None
        if below is None:
            return [], text.removeprefix("\n") if self._structured else text
        return text.partition("\n\n")[0].split("\n"), below

    def _may_begin(self, chunk: str) -> bool:
        begin = normal(chunk[: 4 * _BEGIN])[:_BEGIN]
        return begin in self._begins or len(begin) < _BEGIN
