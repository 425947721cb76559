"""Workbooks (.xlsx, .xlsm, .xlsb, .xls, .ods) -> one row a line, by calamine; only in the process of `parser.py`.

One sheet is a table: the one that `sheet` names, else the first that is visible and has a cell. Its first row with a cell is the header,
unless titles stand above it (`header.py`).
Cells are values, never formulas: of a formula the result that was saved, of an error nothing. A column of whole numbers has no decimals
(Excel knows no integers), one of days has no time of day. Line n of what is written is row n of the sheet, an empty row an empty line.
"""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, PasswordError, SheetTypeEnum, SheetVisibleEnum

from engines.files import header as headers
from engines.files.report import Refused, Report

if TYPE_CHECKING:
    from engines.files.parser import Rows

_OLE = bytes.fromhex("d0cf11e0a1b11ae1")
_ENCRYPTED = ("EncryptedPackage".encode("utf-16-le"), "EncryptionInfo".encode("utf-16-le"))
_EXACT = 2**53
_UNSAVED = re.compile(rb"<f\b[^>]*(?:/>|>[^<]*</f>)\s*(?:<v\s*/>|<v>\s*</v>)?\s*</c>")
_PIECE, _LONGEST_CELL = 1 << 20, 1 << 20
Cell = int | float | str | bool | date | datetime | time | timedelta


def read(path: Path, options: Mapping[str, Any], most: int, rows: Rows) -> Report:
    """Writes the rows. options: sheet (a name or None), header (whether a row names the columns, None to find it), skip (rows that are
    passed over before). most: bytes, of all parts unpacked.

    Raises Refused.
    """
    _check(path, most)
    try:
        with CalamineWorkbook.from_path(path) as book:
            sheet, others = _chosen(book, options["sheet"])
            written = _write(sheet, options["header"], options["skip"], rows)
            notes = [f"the sheet `{sheet.name}` is read, and {_listed(others)} not: say `source.sheet` to choose another"] if others else []
            if unsaved := _unsaved(path):
                cells = "1 cell of its sheets holds a formula" if unsaved == 1 else f"{unsaved:,} cells of its sheets hold formulas"
                notes.append(f"{cells} without a saved result, read as empty: open the workbook in a spreadsheet program and save it")
            return Report((*notes, *written.notes), written.columns)
    except PasswordError:
        raise _encrypted() from None
    except CalamineError as error:
        raise Refused(f"is no readable workbook: {error}", "Save it again as .xlsx, or write a CSV.") from error


def _check(path: Path, most: int) -> None:
    """What can be told before anything is unpacked. most: bytes of all parts together."""
    with path.open("rb") as file:
        head = file.read(8)
        if head == _OLE:
            text = file.read(1 << 20)
            if any(mark in text for mark in _ENCRYPTED):
                raise _encrypted()
            return
    if not head.startswith(b"PK"):
        return
    try:
        with zipfile.ZipFile(path) as parts:
            found = parts.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise Refused(f"is no complete workbook: {error}", "Save it again, whole.") from error
    if any(part.flag_bits & 1 for part in found):
        raise _encrypted()
    declared = sum(part.file_size for part in found)
    if declared > most:
        reason = f"its {path.stat().st_size:,} bytes declare {declared:,} when unpacked, of which at most {most:,} are read"
        raise Refused(reason, "Split it into smaller workbooks, if it is what it should be.")
    names = {part.filename for part in found}
    if not any(name.startswith("xl/workbook.") for name in names) and "content.xml" not in names:
        some = ", ".join(sorted(names)[:3]) or "nothing"
        raise Refused(f"is a zip archive without a workbook in it (it holds {some})", "Unpack it, and name the files inside.")


def _unsaved(path: Path) -> int:
    """How many cells hold a formula that no program has computed, as whoever writes workbooks by a library leaves them. Of .xlsx only."""
    if not zipfile.is_zipfile(path):
        return 0
    count = 0
    with zipfile.ZipFile(path) as parts:
        for name in parts.namelist():
            if name.startswith("xl/worksheets/") and name.endswith(".xml"):
                with parts.open(name) as part:
                    count += _count(part)
    return count


def _count(part: IO[bytes]) -> int:
    count, rest = 0, b""
    while piece := part.read(_PIECE):
        text = rest + piece
        end = text.rfind(b"</c>") + len(b"</c>")
        if end < len(b"</c>"):
            rest = text[-_LONGEST_CELL:]
            continue
        count += sum(1 for _ in _UNSAVED.finditer(text, 0, end)) if b"<f" in text else 0
        rest = text[end:][-_LONGEST_CELL:]
    return count


def _encrypted() -> Refused:
    return Refused("is encrypted", "Save it without a password.")


def _chosen(book: CalamineWorkbook, wanted: str | None) -> tuple[CalamineSheet, Sequence[str]]:
    """The sheet, and the names of the other visible ones that hold something."""
    if wanted is not None:
        if wanted not in book.sheet_names:
            raise Refused(f"has no sheet `{wanted}`; it has {_listed(book.sheet_names)}", "Name one of them in `source.sheet`.")
        return book.get_sheet_by_name(wanted), ()
    shown = [
        book.get_sheet_by_name(sheet.name)
        for sheet in book.sheets_metadata
        if sheet.visible == SheetVisibleEnum.Visible and sheet.typ == SheetTypeEnum.WorkSheet
    ]
    filled = [sheet for sheet in shown if sheet.start is not None]
    if not filled:
        raise Refused("no visible sheet has a cell", "Name a hidden one in `source.sheet`, or remove the file.")
    return filled[0], [sheet.name for sheet in filled[1:]]


def _write(sheet: CalamineSheet, header: bool | None, skip: int, rows: Rows) -> Report:
    names, first, notes = _header(sheet, header, skip)
    columns = _survey(sheet, first, len(names))
    kept = [index for index, name in enumerate(names) if name or columns[index].filled]
    unnamed = [f"column_{index + 1}" for index in kept if not names[index]]
    names = [name or f"column_{index + 1}" for index, name in enumerate(names)]
    found = tuple(names[index] for index in kept)
    _check_names(found, first)
    for _ in range(first):
        rows.write(None)
    for cells in _rows_from(sheet, first):
        row = {names[index]: columns[index].value(cells[index]) for index in kept if cells[index] != ""}
        rows.write(row or None)
    return Report((*notes, *((f"row {first} of the sheet names the columns, but for {_listed(unnamed)}",) if unnamed else ())), found)


def _header(sheet: CalamineSheet, header: bool | None, skip: int) -> tuple[list[str], int, tuple[str, ...]]:
    """The columns' names, "" for an unnamed one, how many rows precede the first of the data, and what deserves a look."""
    start, width = sheet.start, sheet.width
    if start is None:
        raise Refused(f"the sheet `{sheet.name}` has no cell", "Name another in `source.sheet`, or remove the file.")
    if header is False:
        return [f"column_{number + 1}" for number in range(width)], start[0], ()
    first = max(start[0], skip)
    sample = [[_text(cell) for cell in row] for row in islice(_rows_from(sheet, first), headers.SAMPLED_ROWS if header is None else 1)]
    if not sample or not any(sample[0]):
        raise Refused(f"row {first + 1} of the sheet has no cell that could name a column", "Name another in `source.header`.")
    above = headers.titles(sample) if header is None else 0
    line = first + above + 1
    note = f"row {line} of the sheet names the columns, and what stands above it is passed over: `source.header` decides otherwise"
    return [cell.strip() for cell in sample[above]], line, (note,) if above else ()


def _check_names(names: Sequence[str], line: int) -> None:
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise Refused(f"row {line} of the sheet names `{name}` {count} times", "Rename one of them, or say `header: false`.")


class _Column:
    """What all cells of a column are, so that one form fits them."""

    def __init__(self) -> None:
        self.filled = False
        self._whole = self._days = True

    def look(self, cell: Cell) -> None:
        self.filled = True
        if isinstance(cell, float):
            self._whole = self._whole and cell.is_integer() and abs(cell) <= _EXACT
        elif isinstance(cell, datetime):
            self._days = self._days and cell.time() == time()

    def value(self, cell: Cell) -> Cell:
        """As JSON has it."""
        if isinstance(cell, float) and self._whole:
            return int(cell)
        if isinstance(cell, int) and not isinstance(cell, bool) and not self._whole:
            return float(cell)
        if isinstance(cell, date):
            return _moment(cell, day=self._days)
        return _duration(cell) if isinstance(cell, timedelta) else cell.isoformat() if isinstance(cell, time) else cell


def _survey(sheet: CalamineSheet, first: int, width: int) -> list[_Column]:
    columns = [_Column() for _ in range(width)]
    for cells in _rows_from(sheet, first):
        for column, cell in zip(columns, cells, strict=True):
            if cell != "":
                column.look(cell)
    return columns


def _rows_from(sheet: CalamineSheet, first: int) -> Iterator[Sequence[Cell]]:
    return (row for number, row in enumerate(sheet.iter_rows()) if number >= first)


def _moment(cell: date, *, day: bool) -> str:
    if not isinstance(cell, datetime):
        return cell.isoformat() if day else f"{cell.isoformat()} 00:00:00"
    return cell.date().isoformat() if day else cell.isoformat(sep=" ")


def _duration(cell: timedelta) -> str:
    """As Excel shows hours beyond a day, in the format [h]:mm:ss."""
    seconds = round(cell.total_seconds())
    sign, seconds = "-" if seconds < 0 else "", abs(seconds)
    return f"{sign}{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _text(cell: Cell) -> str:
    column = _Column()
    column.look(cell)
    return str(column.value(cell))


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
