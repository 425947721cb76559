"""Small workbooks and PDFs, written byte by byte, so that tests need no library that writes them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence

Cell = str | int | float | bool | None
_TYPES = '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_DOCUMENT = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
DAY, INSTANT, CLOCK, HOURS = 1, 2, 3, 4
"""Formats of numbers: 2024-01-31, 2024-01-31 10:00:00, 10:00:00, 30:00:00."""


class Styled(float):
    """A number under a format."""

    style: int

    def __new__(cls, value: float, style: int) -> Styled:
        made = super().__new__(cls, value)
        made.style = style
        return made


class Raw(str):
    """A cell's own XML, after its name."""

    __slots__ = ()


def workbook(sheets: Mapping[str, Iterable[Sequence[Cell]]], *, hidden: Iterable[str] = (), first: int = 1, tail: bytes = b"") -> bytes:
    """An .xlsx of sheets by name. first: the row where each begins. tail: put behind the rows of each."""
    states = {name: ' state="hidden"' if name in hidden else "" for name in sheets}
    listed = "".join(
        f'<sheet name="{name}" sheetId="{number}" r:id="rId{number}"{state}/>' for number, (name, state) in enumerate(states.items(), 1)
    )
    formats = {DAY: "yyyy\\-mm\\-dd", INSTANT: "yyyy\\-mm\\-dd hh:mm:ss", CLOCK: "hh:mm:ss", HOURS: "[h]:mm:ss"}
    styles = "".join(f'<numFmt numFmtId="{170 + style}" formatCode="{code}"/>' for style, code in formats.items())
    xfs = '<xf numFmtId="0"/>' + "".join(f'<xf numFmtId="{170 + style}" applyNumberFormat="1"/>' for style in formats)
    parts = {
        "[Content_Types].xml": _TYPES,
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}">'
        f'<Relationship Id="r" Type="{_DOCUMENT}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_DOCUMENT}"><sheets>{listed}</sheets></workbook>',
        "xl/styles.xml": f'<styleSheet xmlns="{_MAIN}"><numFmts>{styles}</numFmts><cellXfs>{xfs}</cellXfs></styleSheet>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}">'
        + "".join(
            f'<Relationship Id="rId{number}" Type="{_DOCUMENT}/worksheet" Target="worksheets/sheet{number}.xml"/>'
            for number, _ in enumerate(sheets, 1)
        )
        + f'<Relationship Id="rIdS" Type="{_DOCUMENT}/styles" Target="styles.xml"/></Relationships>',
    }
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in parts.items():
            file.writestr(name, text)
        for number, rows in enumerate(sheets.values(), 1):
            xml = "".join(_row(line, cells) for line, cells in enumerate(rows, first)).encode()
            begin = f'<worksheet xmlns="{_MAIN}"><sheetData>'.encode()
            file.writestr(f"xl/worksheets/sheet{number}.xml", begin + xml + tail + b"</sheetData></worksheet>")
    return held.getvalue()


def _row(line: int, cells: Sequence[Cell]) -> str:
    return f'<row r="{line}">' + "".join(_cell(f"{chr(65 + column)}{line}", cell) for column, cell in enumerate(cells)) + "</row>"


def _cell(place: str, cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, Raw):
        return f'<c r="{place}"{cell}</c>'
    if isinstance(cell, str):
        return f'<c r="{place}" t="inlineStr"><is><t>{cell}</t></is></c>'
    if isinstance(cell, bool):
        return f'<c r="{place}" t="b"><v>{int(cell)}</v></c>'
    style = f' s="{cell.style}"' if isinstance(cell, Styled) else ""
    return f'<c r="{place}"{style}><v>{float(cell)!r}</v></c>'


def pdf(*pages: bytes, title: str | None = None, trailer: bytes = b"", count: int | None = None) -> bytes:
    """A PDF whose pages have these content streams; text("…") makes one. count: the pages that it declares."""
    kids = b" ".join(b"%d 0 R" % (5 + 2 * number) for number in range(len(pages)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, len(pages) if count is None else count),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        b"<</Title(%s)>>" % (title or "").encode("latin-1"),
    ]
    for number, content in enumerate(pages):
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/Resources<</Font<</F1 3 0 R>>>>/Contents %d 0 R>>" % (6 + 2 * number)
        )
        objects.append(b"<</Length %d>>stream\n%s\nendstream" % (len(content), content))
    held, places = b"%PDF-1.4\n", []
    for number, item in enumerate(objects, 1):
        places.append(len(held))
        held += b"%d 0 obj%sendobj\n" % (number, item)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer<</Size %d/Root 1 0 R/Info 4 0 R%s>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, trailer, len(held))
    return held + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + table + end


def text(*lines: str) -> bytes:
    """A page of text."""
    shown = b" ".join(b"(%s) Tj 0 -20 Td" % line.encode("latin-1") for line in lines)
    return b"BT /F1 12 Tf 20 250 Td %s ET" % shown


DRAWING = b"0 0 m 100 100 l S "
"""A page with no text and something to see."""

LOCKED = b"/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<%s>/U<%s>>>/ID[<00><00>]" % (b"41" * 32, b"42" * 32)
"""A trailer that asks for a password which nobody knows."""
