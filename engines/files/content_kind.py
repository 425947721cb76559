"""What a file is by its first bytes, for the case that it is not what its name says: an error page saved as a CSV, a renamed workbook."""

from __future__ import annotations

import re
from collections.abc import Mapping

from engines.files.formats import DOCUMENTS, Format
from engines.files.source import SourceFile

_HEAD = 4096
_HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?:(?!-->).)*-->\s*)*"
    rb"<(?:!doctype\s+html|(?:html|head|body|title|meta|link|script|style|div|center|table|h[1-6]|p|pre|span)\b[^<>]*>)",
    re.I | re.S,
)
_XML = re.compile(rb"(?:\xef\xbb\xbf)?\s*<\?xml\s")
_STARTS: tuple[tuple[bytes, str, Format | None], ...] = (
    (b"%PDF-", "a PDF", "pdf"),
    (b"PAR1", "a Parquet file", "parquet"),
    (b"PK\x03\x04", "a zip archive or a workbook", "excel"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a workbook or another document of Office", "excel"),
    (b"\x1f\x8b", "compressed by gzip", None),
)
_HTML_PAGE: tuple[bytes, str, Format | None] = (b"", "an HTML page", "html")
_XML_FILE: tuple[bytes, str, Format | None] = (b"", "an XML file", None)
_TAKES: Mapping[Format, frozenset[Format]] = {"text": frozenset(), "markdown": frozenset({"html"}), "html": frozenset({"html"})}
"""Besides the format itself, what a format's files may look like."""


def _found(head: bytes) -> tuple[bytes, str, Format | None] | None:
    if _HTML.match(head):
        return _HTML_PAGE
    if _XML.match(head):
        return _XML_FILE
    return next((start for start in _STARTS if head.startswith(start[0])), None)


def check(source: SourceFile) -> None:
    """Raises FileRefused for a file whose bytes are plainly of another format than it is to be read as."""
    with source.open_bytes() as file, source.translated():
        head = file.read(_HEAD)
    found = _found(head)
    if found is None or (found is _XML_FILE and source.format in DOCUMENTS):
        return
    _, what, form = found
    if form == source.format or form in _TAKES.get(source.format, ()):
        return
    remedy = f"Name it so, or say `source.format: {form}`." if form else "Let its name end in .gz."
    if found is _XML_FILE:
        remedy = "There is no reader for XML: write it as JSON or CSV."
    if form == "html":
        remedy = f"Fetch it again: a server's error page? Or {remedy[0].lower()}{remedy[1:]}"
    raise source.refused(1 if form == "html" else None, f"is {what}, not {source.format}", remedy=remedy)
