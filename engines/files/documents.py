"""Documents as rows: a text, Markdown or HTML file is one row, a PDF one a page; whoever searches cuts the text by its structure later.

Columns are `path` (as the operator calls the file), `title`, `text`, of a PDF `page`, and of Markdown what the front matter says: texts,
and lists of texts, so that no document is refused for what its author says of it. Markdown stays as it is written; HTML becomes Markdown
(`html_text.py`). A document is held in memory whole, and so refused beyond MAX_ROW_BYTES.
Next: `pdf_pages.py`, `front_matter.py`, `json_lines.py`, which makes columns of the rows.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from engines.errors import FileUnreadable
from engines.files import encodings, front_matter, inference, untrusted
from engines.files.inference import Evidence
from engines.files.json_lines import JsonReading
from engines.files.json_objects import read_objects
from engines.files.source import MAX_ROW_BYTES, ColumnPlan, PassedOver, SourceFile

_TYPES = {"path": "string", "title": "string", "page": "int64", "text": "string"}
_OWN = "front_matter."
"""Before what the front matter calls as we call a column of ours."""
_FENCES = ("```", "~~~")
_CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]+)", re.I)


class DocumentReading:
    """One file; see `source.Reading`."""

    def __init__(self, source: SourceFile) -> None:
        """Opens nothing yet. Raises FileRefused for an unknown encoding."""
        source.check_encoding()
        self._source = source
        self.passed_over = PassedOver()
        self._notes: list[str] = []
        self._lists: set[str] = set()
        self._pages: untrusted.Parsed | None = None
        self._rows = JsonReading(source, self._records)

    def guesses(self) -> Mapping[str, tuple[str, str]]:
        """Ours are what they are; the front matter's are by its values."""
        return {guess.name: (guess.type, guess.reason) for guess in inference.decide_all(self.evidence().items())}

    def evidence(self) -> Mapping[str, Evidence]:
        """By column. Reads Markdown only, for its front matter. Raises FileRefused."""
        found = {name: _known(kind) for name, kind in _TYPES.items() if name != "page" or self._source.format == "pdf"}
        return {**found, **self._said()}

    def batches(self, plans: Mapping[str, ColumnPlan]) -> Iterator[pa.RecordBatch]:
        """See `source.Reading`."""
        self._lists = {name for name, plan in plans.items() if plan.type.startswith("list<")}
        return self._rows.batches(plans)

    def line_of(self, row: int) -> int | None:
        """A document's lines are not its rows; of a PDF, the page."""
        return row + 1 if self._source.format == "pdf" else None

    def originals(self, rows: Iterable[int]) -> Iterator[tuple[int | None, str]]:
        """A document, or a page, as JSON."""
        for row in rows:
            for _, text in self._rows.originals((row,)):
                yield self.line_of(row), text

    def progress(self) -> int:
        """Bytes taken in this pass."""
        return self._rows.progress()

    def notes(self) -> tuple[str, ...]:
        """See `source.Reading`."""
        return tuple(dict.fromkeys(self._notes))

    def _said(self) -> Mapping[str, Evidence]:
        if self._source.format != "markdown":
            return {}
        said = {name: seen for name, seen in self._rows.evidence(limit=1).items() if name not in _TYPES}
        return {name: _known("list<string>" if set(seen.kinds) == {"list"} else "string") for name, seen in said.items()}

    def _records(self) -> Iterator[tuple[int, dict[str, Any], int]]:
        if self._source.format == "pdf":
            yield from self._each_page()
            return
        text, size = self._text()
        yield 1, {"path": self._source.shown, **self._row(text)}, size

    def _row(self, text: str) -> dict[str, Any]:
        if self._source.format == "markdown":
            said, body = front_matter.split(text)
            own = {_OWN + name if name in _TYPES and name != "title" else name: self._as_said(name, value) for name, value in said.items()}
            return {"title": _first_heading(body), "text": body, **own}
        if self._source.format == "html":
            return self._page(text)
        return {"title": None, "text": text}

    def _page(self, html: str) -> dict[str, Any]:
        from engines.files import html_text  # not needed for any other format

        if not html_text.may_explode(html):
            page = html_text.page_of(html)
            return {"title": page.title, "text": page.text}
        parsed = untrusted.parse(self._source, {}, text=html)
        return next(record for _, record, _ in read_objects(parsed.as_source(self._source.shown)))

    def _as_said(self, name: str, value: Any) -> Any:
        """A single value where the column has lists is a list of one."""
        return [value] if name in self._lists and not isinstance(value, list | None) else value

    def _text(self) -> tuple[str, int]:
        """The content, and how many bytes it is of. Raises FileRefused."""
        source = self._source
        with source.open_bytes() as file, source.translated():
            data = file.read(MAX_ROW_BYTES + 1)
        if len(data) > MAX_ROW_BYTES:
            raise source.refused(None, f"a document larger than {MAX_ROW_BYTES >> 20} MiB", remedy="Split it into smaller ones.")
        text = self._decoded(data)
        if "\0" in text:
            line = text.count("\n", 0, text.index("\0")) + 1
            raise source.refused(line, "a NUL byte", remedy="Is the file UTF-16? Then set `source.encoding: utf-16`; else it is no text.")
        return text, len(data)

    def _decoded(self, data: bytes) -> str:
        source = self._source
        encoding = source.options.encoding or encodings.marked(data[:4]) or self._declared(data) or "utf-8"
        try:
            return data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
        except (UnicodeError, LookupError) as error:
            if source.options.encoding is not None:
                remedy = "Set `source.encoding` to what the file is in."
                raise source.refused(None, f"is not {encoding}: {error}", remedy=remedy) from None
        found = encodings.judge(data.splitlines(keepends=True))
        if found.other is None:  # UTF-8 after all, whatever it declares
            return data.decode("utf-8-sig")
        text = data.decode(encodings.checked(source, found))
        self._notes.append(encodings.note(found))
        return text

    def _declared(self, data: bytes) -> str | None:
        found = _CHARSET.search(data, 0, 2048) if self._source.format == "html" else None
        return found[1].decode("ascii").lower() if found else None

    def _each_page(self) -> Iterator[tuple[int, dict[str, Any], int]]:
        if self._pages is None:
            self._pages = untrusted.parse(self._source, {"tesseract": self._tesseract()})
            self._notes += self._pages.report.notes
        for line, record, taken in read_objects(self._pages.as_source(self._source.shown)):
            yield line, {"path": self._source.shown, **record}, taken

    def _tesseract(self) -> str | None:
        """Raises FileUnreadable where the spec wants it and it is not there: the file is tried again once it is."""
        if self._source.options.ocr is False:
            return None
        found = shutil.which("tesseract")
        if found is None and self._source.options.ocr:
            reason = "`source.ocr: true` needs the program `tesseract`, which is not installed."
            raise FileUnreadable(self._source.shown, reason, remedy="Install it on this machine; the file is then read by itself.")
        return found


def _known(kind: str) -> Evidence:
    evidence = Evidence()
    evidence.add_type(kind)
    return evidence


def _first_heading(text: str) -> str | None:
    """The text of the first heading of the first level, not within code. By lines: a pattern may take the square of a long one."""
    fence, before = "", ""
    for line in text.splitlines():
        if line.startswith(fence or _FENCES):
            fence = "" if fence else line[:3]
        elif not fence:
            if line.startswith(("# ", "#\t")):
                title = line[1:].strip()
                closed = title.rstrip("#")  # which a blank precedes, or they are part of a name
                return (closed.rstrip() if not closed or closed[-1] in " \t" else title) or None
            if before and line.startswith("=") and not line.strip("= \t"):
                return before
            before = line.strip()
    return None
