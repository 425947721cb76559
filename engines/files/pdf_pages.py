"""PDFs -> one page a line, by pdfium; only in the process of `parser.py`.

A page whose text is only in its pictures is read by `tesseract` where there is one, else its text is null and the notes name it; a page
with nothing on it has the empty text. A page that cannot be read costs the document no other. Refuses what needs a password.
"""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pypdfium2 as pdfium
from pypdfium2 import raw

from engines.files.report import Refused, Report

if TYPE_CHECKING:
    from engines.files.parser import Rows

MAX_PAGES = 20_000
_DPI, _POINTS_PER_INCH = 200, 72
_MAX_PIXELS = 25_000_000
_OCR_SECONDS = 120
_BROKEN_WORD = re.compile("[\x02\ufffe](?:\r?\n)?")
"""How pdfium shows the hyphen at a line's end that is none inside the line."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff]")


def read(path: Path, options: Mapping[str, Any], rows: Rows) -> Report:
    """Writes {page (from 1), title, text} for each page. options: tesseract, the program's path or None. Raises Refused."""
    try:
        document = pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        if error.err_code == raw.FPDF_ERR_PASSWORD:
            raise Refused("is encrypted", "Save it without a password.") from None
        raise Refused(f"is no readable PDF: {error}", "Write the file again, whole.") from error
    pages = len(document)
    if pages > MAX_PAGES:
        raise Refused(f"declares {pages:,} pages, of which at most {MAX_PAGES:,} are read", "Split it into smaller documents.")
    title = _clean(str(document.get_metadata_dict().get("Title", ""))) or None
    seen = _Seen(options["tesseract"])
    for number in range(pages):
        rows.write({"page": number + 1, "title": title, "text": seen.text_of(document, number)})
    return Report(seen.notes(), ("page", "title", "text"))


class _Seen:
    """What became of the pages so far."""

    def __init__(self, tesseract: str | None) -> None:
        self._tesseract = tesseract
        self._pictures: list[int] = []
        self._recognized: list[int] = []
        self._broken: list[int] = []

    def text_of(self, document: pdfium.PdfDocument, number: int) -> str | None:
        """number: from 0."""
        try:
            page = document[number]
        except pdfium.PdfiumError:
            self._broken.append(number + 1)
            return None
        try:
            own = _own_text(page)
            if own or not raw.FPDFPage_CountObjects(page):
                return own
            text = _recognize(page, self._tesseract) if self._tesseract else None
        finally:
            page.close()
        (self._pictures if text is None else self._recognized).append(number + 1)
        return text

    def notes(self) -> tuple[str, ...]:
        found = []
        if self._pictures:
            how = (
                "tesseract could not read them"
                if self._tesseract
                else "install `tesseract`, then say `source.ocr: true` to read them again"
            )
            found.append(f"{_pages(self._pictures)} without text, only pictures: {how}")
        if self._recognized:
            found.append(f"{_pages(self._recognized)} without text of its own, read by OCR")
        if self._broken:
            found.append(f"{_pages(self._broken)} damaged, and left out")
        return tuple(found)


def _own_text(page: pdfium.PdfPage) -> str:
    text = page.get_textpage()
    try:
        return _clean(text.get_text_bounded())
    finally:
        text.close()


def _recognize(page: pdfium.PdfPage, tesseract: str) -> str | None:
    """By OCR of the page as a picture; None where that fails."""
    width, height = page.get_size()
    scale = min(_DPI / _POINTS_PER_INCH, math.sqrt(_MAX_PIXELS / max(width * height, 1)))
    bitmap = page.render(scale=scale, grayscale=True)
    try:
        picture = b"P5 %d %d 255\n" % (bitmap.width, bitmap.height) + _pixels(bitmap)
    finally:
        bitmap.close()
    try:
        command = [tesseract, "stdin", "stdout", "--dpi", str(round(scale * _POINTS_PER_INCH))]
        ended = subprocess.run(command, input=picture, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_OCR_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return _clean(ended.stdout.decode(errors="replace"))


def _pixels(bitmap: pdfium.PdfBitmap) -> bytes:
    """One byte a pixel, rows without padding."""
    whole = bytes(bitmap.buffer)
    if bitmap.stride == bitmap.width:
        return whole[: bitmap.width * bitmap.height]
    return b"".join(whole[row * bitmap.stride : row * bitmap.stride + bitmap.width] for row in range(bitmap.height))


def _clean(text: str) -> str:
    text = _BROKEN_WORD.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub("", text).strip()


def _pages(numbers: Sequence[int], most: int = 12) -> str:
    """In ranges: "pages 1-3, 7 are"."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    shown = ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in ranges[:most])
    shown += f" and {len(ranges) - most} more ranges" if len(ranges) > most else ""
    return f"page {shown} is" if len(numbers) == 1 else f"pages {shown} are"
