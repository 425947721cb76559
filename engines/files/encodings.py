"""In which encoding a text is, where nobody says so: a byte order mark tells, UTF-8 tells itself, and what is neither is cp1252 or refused.

A file is taken for cp1252 only as a whole: none of its lines with other characters than ASCII is UTF-8, and all of them are cp1252. Where
some are and some are not, two programs wrote it, and no reading is right. Refuses to guess by the frequency of letters.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from dataclasses import dataclass, replace

from engines.files.source import MAX_ROW_BYTES, SourceFile

FALLBACK = "cp1252"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def marked(head: bytes) -> str | None:
    """The encoding that a byte order mark names; head: the first four bytes or more."""
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)


def resolved(source: SourceFile) -> SourceFile:
    """With the encoding that its byte order mark names, if the options name none. Raises FileRefused, FileUnreadable."""
    if source.options.encoding is not None:
        source.check_encoding()
        return source
    with source.open_bytes() as file, source.translated():
        found = marked(file.read(4))
    return source if found is None else replace(source, options=replace(source.options, encoding=found))


def in_fallback(source: SourceFile) -> tuple[SourceFile, str]:
    """A source that is not UTF-8, read in another encoding, and the note that says so. Raises FileRefused."""
    with source.open_bytes() as file, source.translated():
        found = judge(iter(lambda: file.readline(MAX_ROW_BYTES), b""))
    return replace(source, options=replace(source.options, encoding=checked(source, found))), note(found)


@dataclass(frozen=True, slots=True)
class Lines:
    """The first line (from 1) with other characters than ASCII that is UTF-8, that is not, and that is neither UTF-8 nor cp1252."""

    utf8: int | None = None
    other: int | None = None
    neither: int | None = None


def judge(lines: Iterable[bytes]) -> Lines:
    """What the lines of a file are."""
    found = Lines()
    for number, line in enumerate(lines, 1):
        if line.isascii():
            continue
        if _decodes(line, "utf-8"):
            found = found if found.utf8 else replace(found, utf8=number)
        else:
            found = found if found.other else replace(found, other=number)
            if found.neither is None and not _decodes(line, FALLBACK):
                found = replace(found, neither=number)
    return found


def checked(source: SourceFile, found: Lines) -> str:
    """The encoding of a file that is not UTF-8. Raises FileRefused."""
    if found.utf8 is not None:
        reason = f"mixed encodings: line {found.utf8} is UTF-8, line {found.other} is not"
        remedy = "Write the file again in one encoding, or say `source.encoding` to read all of it in one."
        raise source.refused(max(found.utf8, found.other or 0), reason, remedy=remedy)
    if found.neither is not None:
        remedy = "Set `source.encoding` to what the file is in (utf-16, cp1250, shift_jis, …)."
        raise source.refused(found.neither, f"the line is neither utf-8 nor {FALLBACK}", remedy=remedy)
    return FALLBACK


def note(found: Lines) -> str:
    """The sentence about a file that is read in the fallback."""
    return f"line {found.other} is not UTF-8, and the file is read as {FALLBACK}: say `source.encoding` if it is in another encoding"


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
