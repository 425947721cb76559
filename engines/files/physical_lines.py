"""Where in the physical file something is: a second, slow, exact reading with the standard library's csv, on the way to an error only.

A line is what an editor shows: line breaks inside quotes count. A row is known by the line on which it begins. Memory is bounded by one
row. Refuses to decide what is an error: `csv.py` does, and asks where.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import dropwhile, islice
from typing import TYPE_CHECKING

from engines.files.shapes import shorten
from engines.files.source import MAX_ROW_BYTES, SourceFile

if TYPE_CHECKING:
    from _csv import Reader as _Reader

DELIMITERS = ",;\t|"
HEADER_CHARACTERS = 1 << 20
LOOKED_AT = 24
"""Lines by which the delimiter is found."""
ESCAPED = "surrogateescape"
UNDECODED = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class Row:
    """line: on which it begins, from 1; cells: as text, with undecodable bytes as lone surrogates; text: as it stands in the file, without
    the line break at its end."""

    line: int
    cells: list[str]
    text: str


def rows(source: SourceFile, *, blank_rows: bool) -> Iterator[Row]:
    """Every row that is not skipped, header included; blank lines only with blank_rows. Raises FileRefused for a row beyond MAX_ROW_BYTES
    or an open quote."""
    csv.field_size_limit(MAX_ROW_BYTES)
    skip = source.options.skip
    start = 1 + skip
    taken: list[str] = []
    with source.translated(), open_text(source) as text:
        lines = _lines(source, text, taken)
        for _ in islice(lines, skip):
            taken.clear()
        taken.clear()
        cells_of = reader(source, lines)
        try:
            for cells in cells_of:
                if cells or blank_rows:
                    yield Row(start, cells, "".join(taken).rstrip("\r\n"))
                taken.clear()
                start = skip + cells_of.line_num + 1
        except csv.Error as error:
            reason = f"a row that begins here is longer than {MAX_ROW_BYTES >> 20} MiB; perhaps a quote is never closed"
            raise source.refused(start, reason, remedy="Close the quote, or double it where it is meant literally.") from error
        except UnicodeError as error:
            raise source.refused(start, f"is not {source.encoding}: {error}", remedy=encoding_remedy(source)) from error


def open_text(source: SourceFile, errors: str = ESCAPED) -> io.TextIOWrapper:
    """The decoded content, line ends as they are, without a byte order mark. To be closed."""
    encoding = "utf-8-sig" if source.is_utf8 else source.encoding
    return io.TextIOWrapper(source.open_bytes(), encoding=encoding, errors=errors, newline="")


def reader(source: SourceFile, lines: Iterable[str]) -> _Reader:
    """The standard library's reader by the file's options."""
    delimiter, quote = source.options.delimiter or ",", source.options.quote
    if not quote:
        return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    return csv.reader(lines, delimiter=delimiter, quotechar=quote)


def _lines(source: SourceFile, text: io.TextIOWrapper, taken: list[str]) -> Iterator[str]:
    """taken: gets every line that was asked for."""
    number = 0
    while line := text.readline(MAX_ROW_BYTES + 1):
        number += 1
        if len(line) > MAX_ROW_BYTES:
            raise too_long(source, number)
        taken.append(line)
        yield line


def too_long(source: SourceFile, line: int) -> Exception:
    """The refusal of a line that nobody would hold in memory."""
    remedy = "Is this the right format? Break the line, or split the value."
    return source.refused(line, f"a line longer than {MAX_ROW_BYTES >> 20} MiB", remedy=remedy)


def ragged(source: SourceFile, width: int) -> Row | None:
    """The first row that has not `width` cells. (In a file of one column a blank line is a row: an empty cell.)"""
    return next((row for row in rows(source, blank_rows=width == 1) if len(row.cells) != width and row.cells), None)


def originals(source: SourceFile, places: Iterable[int], *, width: int) -> Iterator[tuple[int, str]]:
    """Line and text of data rows, counted from 0 after the header (if the options say that there is one), ascending."""
    found: Iterator[Row] = rows(source, blank_rows=width == 1)
    if source.options.header:
        found = dropwhile(lambda row: not row.cells, found)
    numbered = enumerate(found, -1 if source.options.header else 0)
    for place in places:
        row = next(row for number, row in numbered if number == place)
        yield row.line, row.text.encode("utf-8", ESCAPED).decode("utf-8", "replace")


def delimiter_of(source: SourceFile) -> str:
    """What separates the cells of the first line: whichever of tab, semicolon, bar and comma is most often outside quotes in it. A line
    whose delimiter is in few of those below it is a title, and the next one counts."""
    with source.translated(), open_text(source) as text:
        lines = islice(iter(lambda: text.readline(HEADER_CHARACTERS), ""), source.options.skip, None)
        bare = [re.sub(r'"[^"]*"?', "", line) for line in islice(filter(str.strip, lines), LOOKED_AT)] or [""]
    found = [max(DELIMITERS, key=lambda mark: (line.count(mark), mark == ",")) for line in bare]
    separate = (mark for place, mark in enumerate(found) if mark in bare[place] and _is_common(mark, bare[place + 1 :]))
    return next(separate, found[0])


def _is_common(mark: str, lines: Sequence[str]) -> bool:
    return 2 * sum(mark in line for line in lines) >= len(lines)


def undecodable(source: SourceFile) -> tuple[int, str] | None:
    """Line of the first byte that is not in the encoding, and the byte, shown."""
    for row in rows(source, blank_rows=False):
        text = "".join(row.cells)
        if not text.isascii() and (found := UNDECODED.search(text)):
            shown = found[0].encode("utf-8", ESCAPED).decode("utf-8", "backslashreplace")
            return row.line + text.count("\n", 0, found.start()), shorten(shown)
    return None


def nul(source: SourceFile) -> int | None:
    """The line of the first NUL byte."""
    line = 1
    with source.open_bytes() as file, source.translated():
        while block := file.read(1 << 20):
            found = block.find(b"\0")
            if found >= 0:
                return line + block.count(b"\n", 0, found)
            line += block.count(b"\n")
    return None


def open_quote(source: SourceFile) -> int | None:
    """The line of the row whose last cell opens a quote that the file never closes. Exact; reads the whole file."""
    csv.field_size_limit(MAX_ROW_BYTES)
    start = 1 + source.options.skip
    with source.translated(), open_text(source) as text:
        watched = _Watched(text)
        for _ in islice(watched, source.options.skip):
            pass
        cells_of = reader(source, watched)
        for _ in cells_of:
            if watched.ended:  # csv asked for more before it gave this row: a quote was open
                return start
            start = source.options.skip + cells_of.line_num + 1
    return None


class _Watched:
    """Lines of a text that remember whether the end was reached."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self.ended = False

    def __iter__(self) -> _Watched:
        return self

    def __next__(self) -> str:
        line = self._text.readline(MAX_ROW_BYTES)
        if not line:
            self.ended = True
            raise StopIteration
        return line


def encoding_remedy(source: SourceFile) -> str:
    """What to do about bytes that do not decode."""
    with source.open_bytes() as file:
        marked = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    other = "utf-16" if marked else "latin-1 or cp1252" if source.is_utf8 else "utf-8"
    return f"Set `source.encoding` to what the file is in ({other}?)."
