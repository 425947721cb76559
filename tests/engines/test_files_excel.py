"""Workbooks as tables, and what is refused of them."""

from __future__ import annotations

import io
import zipfile
from datetime import date, datetime

import pytest
from made_files import CLOCK, DAY, HOURS, INSTANT, Raw, Styled, workbook

from engines.files import untrusted
from engines.files import workbook as workbook_reader

PEOPLE = [["id", "zip", "rate"], [1, "01234", 1.5], [2, "10115", 2]]


def test_a_sheet_is_a_table(lake):
    rows = [
        ["id", "zip", "born", "seen", "rate", "ok", "at", "for"],
        [1, "01234", Styled(45292, DAY), Styled(45292.4375, INSTANT), 1.5, True, Styled(0.4375, CLOCK), Styled(1.25, HOURS)],
        [2, "10115", Styled(45293, DAY), Styled(45293, INSTANT), 2, False, None, None],
    ]
    result = lake.ingest("a.xlsx", workbook({"People": rows}))
    assert lake.types(result) == {
        "id": "int64", "zip": "string", "born": "date", "seen": "timestamp", "rate": "float64", "ok": "bool", "at": "string",
        "for": "string",
    }  # fmt: skip
    assert lake.rows(result)[0] == {
        "id": 1, "zip": "01234", "born": date(2024, 1, 1), "seen": datetime(2024, 1, 1, 10, 30), "rate": 1.5,  # noqa: DTZ001
        "ok": True, "at": "10:30:00", "for": "30:00:00",
    }  # fmt: skip
    assert lake.rows(result)[1]["seen"] == datetime(2024, 1, 2)  # noqa: DTZ001
    assert result.warnings == ()


def test_the_first_visible_sheet_that_is_not_empty_unless_one_is_named(lake, refused):
    book = workbook({"Old": PEOPLE, "Blank": [], "New": [["a"], [1]], "More": [["b"], [2]]}, hidden=["Old"])
    result = lake.ingest("a.xlsx", book)
    assert lake.rows(result) == [{"a": 1}]
    assert result.warnings == ("a.xlsx: the sheet `New` is read, and `More` not: say `source.sheet` to choose another",)
    named = lake.ingest("a.xlsx", book, sheet="Old")
    assert (named.rows, named.warnings) == (2, ())
    error = refused("a.xlsx", book, sheet="Older")
    assert error.reason == "has no sheet `Older`; it has `Old`, `Blank`, `New`, `More`"
    assert "no visible sheet" in refused("a.xlsx", workbook({"A": []})).reason


def test_of_a_formula_its_saved_result_is_taken_and_of_an_error_nothing(lake):
    cells = [Raw("><f>1+1</f><v>2</v>"), Raw(' t="str"><f>cmd|calc</f><v>=1+1</v>'), Raw(' t="e"><f>1/0</f><v>#DIV/0!</v>'), 1]
    rows = lake.rows(lake.ingest("a.xlsx", workbook({"A": [["a", "b", "c", "d"], cells]})))
    assert rows == [{"a": 2, "b": "=1+1", "c": None, "d": 1}]


@pytest.mark.parametrize("piece", [7, 1 << 20])
def test_a_formula_that_nobody_computed_is_told(lake, monkeypatch, piece):
    monkeypatch.setattr(workbook_reader, "_PIECE", piece)
    cells = [Raw("><f>1+1</f>"), Raw("><f>A1</f><v></v>"), Raw('><f t="shared" si="0"/>'), Raw("><f>1+1</f><v>2</v>")]
    path = lake.root / "b.xlsx"
    path.write_bytes(workbook({"A": [["a", "b", "c", "d"], cells]}))
    assert workbook_reader._unsaved(path) == 3


def test_what_nobody_computed_is_a_warning(lake):
    result = lake.ingest("a.xlsx", workbook({"A": [["a", "b"], [Raw("><f>1+1</f>"), 1]]}))
    assert lake.rows(result) == [{"a": None, "b": 1}]
    assert result.warnings == (
        "a.xlsx: 1 cell of its sheets holds a formula without a saved result, read as empty: open the workbook in a spreadsheet program "
        "and save it",
    )


def test_lines_are_rows_of_the_sheet(lake, refused):
    rows = [["id", "n"], [1, 2], [], [3, "x"]]
    schema = lake.ingest("a.xlsx", workbook({"A": [["id", "n"], [1, 2]]})).schema
    error = refused("b.xlsx", workbook({"A": rows}, first=3), schema=schema, next_column_id=3, next_schema_id=2)
    assert (error.line, error.reason) == (6, "column `n`: `x` is no int64, the table's type for it")
    error = refused("a.xlsx", workbook({"A": [["id", "n"], [1, 2], [None, 3]]}), primary_key=("id",))
    assert (error.line, error.reason) == (3, "column `id` is null, and it is in the primary key")


def test_names_of_columns(lake, refused):
    rows = [["a", None, 2024, None], [1, 2, 3, None]]
    result = lake.ingest("a.xlsx", workbook({"A": rows}))
    assert lake.rows(result) == [{"a": 1, "column_2": 2, "2024": 3}]
    assert result.warnings == ("a.xlsx: row 1 of the sheet names the columns, but for `column_2`",)
    assert lake.rows(lake.ingest("a.xlsx", workbook({"A": [[1, "x"]]}), header=False)) == [{"column_1": 1, "column_2": "x"}]
    assert lake.types(lake.ingest("a.xlsx", workbook({"A": [["a", "b"]]}))) == {"a": "string", "b": "string"}
    assert "names `a` 2 times" in refused("a.xlsx", workbook({"A": [["a", "a"], [1, 2]]})).reason


def test_several_workbooks_of_one_table(lake):
    second = workbook({"A": [["id", "zip", "rate", "new"], [3, "20095", 3.5, "x"]]})
    schema = lake.ingest("a.xlsx", workbook({"A": PEOPLE})).schema
    later = lake.ingest("b.xlsx", second, schema=schema, next_column_id=4, next_schema_id=2)
    assert lake.rows(later) == [{"id": 3, "zip": "20095", "rate": 3.5, "new": "x"}]


def zipped(**parts: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        for name, content in parts.items():
            file.writestr(name.replace("__", "/"), content)
    return held.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(workbook({"A": PEOPLE})[:-200], "is no complete workbook", id="truncated"),
        pytest.param(zipped(word__document="x"), "a zip archive without a workbook in it (it holds word/document)", id="another zip"),
        pytest.param(
            zipped(xl__workbook_xml="x").replace(b"workbook_xml", b"workbook.xml"), "is no readable workbook", id="an empty shell"
        ),
        pytest.param(
            bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le") + b"\0" * 600,
            "is encrypted",
            id="encrypted",
        ),
        pytest.param(b"<html><table><tr><td>1", "is an HTML page, not excel", id="html"),
        pytest.param(b"%PDF-1.4 ...", "is a PDF, not excel", id="pdf"),
        pytest.param(b"id;name\n1;x\n", "is no readable workbook", id="csv"),
        pytest.param(b"", "is no readable workbook", id="nothing"),
    ],
)
def test_what_is_refused(refused, content, reason):
    assert reason in refused("a.xlsx", content).reason


def test_bombs_are_refused_by_what_they_declare(refused, monkeypatch):
    monkeypatch.setattr(untrusted, "UNPACKED_LEAST", 1 << 20)
    monkeypatch.setattr(untrusted, "UNPACKED_RATIO", 2)
    error = refused("a.xlsx", workbook({"A": PEOPLE}, tail=b" " * (2 << 20)))
    assert "bytes declare" in error.reason
    assert error.remedy == "Split it into smaller workbooks, if it is what it should be."


def test_what_unpacks_to_more_than_it_may_is_refused(refused, monkeypatch):
    """Rows say the names of their columns, and so take more than the workbook declares."""
    monkeypatch.setattr(untrusted, "UNPACKED_LEAST", 400_000)
    monkeypatch.setattr(untrusted, "UNPACKED_RATIO", 0)
    rows = [["n" * 200, "m" * 200], *([1, 2] for _ in range(2_000))]
    assert refused("a.xlsx", workbook({"A": rows})).reason == "unpacks to more than 0 MiB"


def test_what_takes_too_much_memory_is_refused(refused):
    """A single cell in the last corner of the sheet, between which and the first calamine holds every one."""
    far = b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    assert "of memory to read" in refused("a.xlsx", workbook({"A": PEOPLE}, tail=far)).reason
