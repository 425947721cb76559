"""What a file is by its first bytes, for the case that it is not what its name says: an error page saved as a CSV, a renamed workbook."""

from __future__ import annotations

import re
from collections.abc import Mapping

from engines.files.formats import Format
from engines.files.source import SourceFile

_HEAD = 4096
_HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?:(?!-->).)*-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S
)
_STARTS: tuple[tuple[bytes, str, Format | None], ...] = (
    (b"%PDF-", "a PDF", "pdf"),
    (b"PAR1", "a Parquet file", "parquet"),
    (b"PK\x03\x04", "a zip archive or a workbook", "excel"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a workbook or another document of Office", "excel"),
    (b"\x1f\x8b", "compressed by gzip", None),
)
_HTML_PAGE: tuple[bytes, str, Format | None] = (b"", "an HTML page", "html")
_TAKES: Mapping[Format, frozenset[Format]] = {"text": frozenset(), "markdown": frozenset({"html"}), "html": frozenset({"html"})}
"""Besides the format itself, what a format's files may look like."""


def check(source: SourceFile) -> None:
    """Raises FileRefused for a file whose bytes are plainly of another format than it is to be read as."""
    with source.open_bytes() as file, source.translated():
        head = file.read(_HEAD)
    found = _HTML_PAGE if _HTML.match(head) else next((start for start in _STARTS if head.startswith(start[0])), None)
    if found is None:
        return
    _, what, form = found
    if form == source.format or form in _TAKES.get(source.format, ()):
        return
    remedy = f"Name it so, or say `source.format: {form}`." if form else "Let its name end in .gz."
    if form == "html":
        remedy = f"Fetch it again: a server's error page? Or {remedy[0].lower()}{remedy[1:]}"
    raise source.refused(1 if form == "html" else None, f"is {what}, not {source.format}", remedy=remedy)
