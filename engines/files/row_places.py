"""Line and text of single rows of a delimited file, found without parsing it: rows end where a line ends outside of quotes.

That holds for whole blocks at once wherever quotes stand as programs write them, around a cell and doubled within. Where one stands
elsewhere, a line ends by a carriage return alone, or the encoding is not UTF-8, what is left is told by `physical_lines.py`, which is
exact and twenty times slower.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.files import physical_lines
from engines.files.source import MAX_ROW_BYTES, SourceFile

BLOCK_BYTES = 4 << 20
_BOM = b"\xef\xbb\xbf"
_NEWLINE, _RETURN = b"\n\r"


class _Untidy(Exception):
    """The file, from here on, needs the exact reading."""


def originals(source: SourceFile, places: Iterable[int], *, width: int) -> Iterator[tuple[int, str]]:
    """Line and text of data rows, counted from 0 after the header (if there is one), ascending. width: the header's cells."""
    wanted = iter(places)
    place = next(wanted, None)
    try:
        for block in _blocks(source, width):
            while place is not None and place < block.first + len(block.ends):
                yield block.row(place)
                place = next(wanted, None)
            if place is None:
                return
    except _Untidy:
        if place is not None:
            yield from physical_lines.originals(source, _again(place, wanted), width=width)


def _again(place: int, rest: Iterator[int]) -> Iterator[int]:
    yield place
    yield from rest


class _Block:
    """Whole rows. first: the place of the first of them, the header's being -1; line: the one on which the block begins."""

    def __init__(self, data: bytes, first: int, line: int, quote: int | None, delimiter: int) -> None:
        """Raises _Untidy."""
        self._data, self.first, self._line = data, first, line
        bytes_ = np.frombuffer(data, np.uint8)
        self.newlines = np.flatnonzero(bytes_ == _NEWLINE)
        ends = self.newlines
        if quote is not None and quote in data:
            quotes = np.flatnonzero(bytes_ == quote)
            _check_quotes(bytes_, quotes[0::2], quote, delimiter)
            ends = ends[np.searchsorted(quotes, ends) % 2 == 0]
        if _RETURN in data:
            returns = np.flatnonzero(bytes_ == _RETURN)
            if (bytes_[np.minimum(returns + 1, len(bytes_) - 1)] != _NEWLINE).any():
                raise _Untidy
        starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
        lengths = ends - starts
        blank = (lengths == 0) | ((lengths == 1) & (bytes_[starts] == _RETURN)) if len(ends) else lengths > 0
        self.size = int(ends[-1]) + 1 if len(ends) else 0
        self.starts, self.ends = starts[~blank], ends[~blank]

    def row(self, place: int) -> tuple[int, str]:
        """Line and text of one of the rows."""
        start, end = int(self.starts[place - self.first]), int(self.ends[place - self.first])
        line = self._line + int(np.searchsorted(self.newlines, start))
        return line, self._data[start:end].decode("utf-8", "replace").rstrip("\r\n")

    @property
    def lines(self) -> int:
        """How many lines the rows take."""
        return int(np.searchsorted(self.newlines, self.size))


def _blocks(source: SourceFile, width: int) -> Iterator[_Block]:
    quote, delimiter = source.options.quote, source.options.delimiter or ","
    if not source.is_utf8 or width == 1 or not (quote + delimiter).isascii():  # in a file of one column blank lines are rows
        raise _Untidy
    skip = source.options.skip
    place, line, rest = -1 if source.options.header else 0, 1 + skip, b""
    with source.translated(), source.open_bytes() as file:
        for _ in range(skip):
            file.readline()
        while True:
            more = file.read(BLOCK_BYTES)
            data = rest + more if line > 1 or rest else more.removeprefix(_BOM)
            if not more:
                if not data:
                    return
                data += b"\n"
            block = _Block(data, place, line, ord(quote) if quote else None, ord(delimiter))
            yield block
            place, line, rest = place + len(block.ends), line + block.lines, data[block.size :]
            if not more:
                return
            if len(rest) > MAX_ROW_BYTES:
                raise _Untidy


def _check_quotes(data: npt.NDArray[Any], opening: npt.NDArray[np.int64], quote: int, delimiter: int) -> None:
    """Each follows a delimiter, a line's end, or the quote that it doubles."""
    before = data[opening - 1]
    tidy = (before == delimiter) | (before == _NEWLINE) | (before == quote) | (opening == 0)
    if not tidy.all():
        raise _Untidy
