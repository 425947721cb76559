"""Which texts are a whole row's, though it has several chunks: the row is put together again while its corpus is read.

A row is put together only where it begins as one of the texts, so that a corpus costs a look at each row's first chunk. Of Markdown that
was cut by its structure the headings are in every chunk, so that such a row is not found.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from engines.trials.perturbing import normal

_BEGIN = 24
"""Characters of a text that tell it from most others."""


class WholeRows:
    """found: of the texts those that are whole rows, normalised as the texts are."""

    def __init__(self, texts: Set[str]) -> None:
        self._texts = texts
        self._begins = {text[:_BEGIN] for text in texts}
        self._key = ""
        self._text = ""
        self.found: set[str] = set()

    def read(self, chunks: Iterable[tuple[str, int, int, str]]) -> None:
        """The next chunks, in the corpus's order: key, number, start in the row's text, text."""
        for key, number, start, text in chunks:
            if number == 0:
                self.end()
                if self._may_begin(text):
                    self._key, self._text = key, text
            elif key == self._key and self._text:
                missing = start - len(self._text)  # white space, which no chunk ends with
                self._text += " " * missing + text[max(0, -missing) :]

    def end(self) -> None:
        """No more chunks of the row that is being read come."""
        if self._text:
            self.found |= self._texts & {normal(self._text)}
        self._text = ""

    def _may_begin(self, chunk: str) -> bool:
        begin = normal(chunk[: 4 * _BEGIN])[:_BEGIN]
        return begin in self._begins or len(begin) < _BEGIN
