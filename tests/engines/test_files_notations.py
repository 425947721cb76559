"""Dates and numbers as people write them, and files that begin without a header."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from engines.files import csv as reading
from engines.files.conversion import Unfit
from engines.files.header import why_absent
from engines.files.inference import Evidence, decide
from engines.files.notations import hint, kind_of, plain


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("31.12.2024", "date DMY"),
        ("12/31/2024", "date MDY"),
        ("1/2/2024", "date DMY or MDY"),
        ("2024/12/31", "date YMD"),
        ("2024.3.5", "date YMD"),
        ("31-12-2024 23:59", "timestamp DMY"),
        ("12/31/2024T23:59:01.5", "timestamp MDY"),
        ("31.12.2024 24:00", None),
        ("31/12-2024", None),
        ("30.02.2024", None),
        ("13/13/2024", None),
        ("31.12.24", None),
        ("31.12.0000", None),
        ("31.12.10000", None),
        ("1.234,56", "number comma"),
        ("-0,5", "number comma"),
        ("0,125", "number comma"),
        ("1234,567", "number comma"),
        ("1.234.567,1", "number comma"),
        ("1,234", "number comma or thousands"),
        ("1,234.56", None),
        ("007,5", None),
        ("1.23,4", None),
        ("1,", None),
        ("0,12345678901234567890", None),
        ("a,b", None),
    ],
)
def test_kinds(text: str, kind: str | None) -> None:
    assert kind_of(text) == kind


def evidence(values: list[str], **given: object) -> Evidence:
    found = Evidence(commas=True, **given)  # type: ignore[arg-type]
    found.add_texts(values)
    return found


@pytest.mark.parametrize(
    ("values", "said", "kind", "notation", "words"),
    [
        (["31.12.2024", "01.02.2024", ""], None, "date", "DMY", "day, month, year"),
        (["12/31/2024", "01/02/2024"], None, "date", "MDY", "month, day, year"),
        (["2024/12/31", "2024/01/02"], None, "date", "YMD", "year, month, day"),
        (["31.12.2024 10:00", "01.02.2024 11:30:05"], None, "timestamp", "DMY", "timestamps written day"),
        (["01/02/2024", "03/04/2024"], None, "string", None, "`09/99/9999` may have the day or the month first"),
        (["01/02/2024", "03/04/2024"], "MDY", "date", "MDY", "month, day, year"),
        (["31.12.2024", "12/31/2024"], None, "string", None, "`99.99.9999` and `99/99/9999` have their parts in different orders"),
        (["31.12.2024"], "MDY", "string", None, "`99.99.9999` is not written month, day, year, as the spec says"),
        (["2024/12/31", "01/02/2024"], None, "string", None, "different orders"),
        (["31.12.2024", "2024-12-31"], None, "string", None, "mixed"),
        (["31.12.2024", "31.12.2024 10:00"], None, "string", None, "mixed"),
        (["1.234,56", "7", "1.234"], None, "float64", "comma", "comma before the decimals"),
        (["1,5", "1.5"], None, "string", None, "mixed"),
        (["1,5", "007"], None, "string", None, "mixed"),
        (["1,5", "x"], None, "string", None, "mixed"),
        (["1,234", "5"], None, "string", None, "the comma in `9,999` may stand before decimals or thousands"),
        (["1,234", "5"], "comma", "float64", "comma", "comma before the decimals"),
    ],
)
def test_what_a_column_is(values: list[str], said: str | None, kind: str, notation: str | None, words: str) -> None:
    found = decide("n", evidence(values, said=said))
    assert (found.type, found.format) == (kind, notation)
    assert words in found.reason


def test_a_code_stays_text_with_a_comma() -> None:
    assert decide("account", evidence(["12,5"])).type == "string"


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("date", "28/01/2024", "; `columns: {d: {format: DMY}}` in the spec would read it"),
        ("timestamp", "01/02/2024 10:00", "; `columns: {d: {format: DMY}}` (or MDY) in the spec would read it"),
        ("date", "soon", ""),
        ("date", "", ""),
        ("date", 7, ""),
        ("int64", "28/01/2024", ""),
    ],
)
def test_a_value_in_another_notation_names_it(kind: str, value: object, text: str) -> None:
    assert hint("d", kind, value) == text


def test_plain_texts() -> None:
    assert plain(pa.array(["31.1.2024", None, "", "1/02/2024 10:00"]), "DMY").to_pylist() == ["2024-01-31", None, "", "2024-02-01 10:00"]
    assert plain(pa.array(["1/31/2024"]), "MDY").to_pylist() == ["2024-01-31"]
    assert plain(pa.array(["2024/1/2T10:00"]), "YMD").to_pylist() == ["2024-01-02T10:00"]
    assert plain(pa.array(["-1.234,5", "7"]), "comma").to_pylist() == ["-1234.5", "7"]
    for text, notation in (("2024-01-31", "DMY"), ("1.23,4", "comma"), ("31.1.24", "DMY")):
        with pytest.raises(Unfit) as caught:
            plain(pa.array(["", text]), notation)  # type: ignore[arg-type]
        assert caught.value.index == 1


EUROPEAN = 'id;when;paid\n1;31.12.2023;1.234,56\n2;1.2.2024;"0,5"\n3;;\n'


def test_a_european_file(lake):
    result = lake.ingest("a.csv", EUROPEAN)
    assert lake.types(result) == {"id": "int64", "when": "date", "paid": "float64"}
    assert lake.rows(result) == [
        {"id": 1, "when": date(2023, 12, 31), "paid": 1234.56},
        {"id": 2, "when": date(2024, 2, 1), "paid": 0.5},
        {"id": 3, "when": None, "paid": None},
    ]


def test_beside_commas_between_cells_a_comma_within_one_is_no_decimal_comma(lake):
    rows = lake.rows(lake.ingest("a.csv", 'a,b\n"8,10",1\n"10,12",2\n'))
    assert [row["a"] for row in rows] == ["8,10", "10,12"]
    said = lake.ingest("a.csv", 'a,b\n"8,10",1\n', formats={"a": "comma"})
    assert lake.rows(said) == [{"a": 8.1, "b": 1}]


def test_a_later_value_in_another_order_turns_the_column_into_text(lake, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK_BYTES", 1_000)
    monkeypatch.setattr(reading.csv_sample, "windows", lambda *_: ())
    result = lake.ingest("a.csv", "a,b\n" + "31.12.2023,1\n" * 500 + "12/31/2023,1\n")
    assert lake.types(result)["a"] == "string"
    assert lake.rows(result)[-1]["a"] == "12/31/2023"


def test_what_the_spec_says_of_an_ambiguous_column(lake, refused):
    ambiguous = "when,n\n01/02/2024,1\n"
    assert lake.types(lake.ingest("a.csv", ambiguous))["when"] == "string"
    for order, month in (("DMY", 2), ("MDY", 1)):
        found = lake.rows(lake.ingest("a.csv", ambiguous, formats={"when": order}))
        assert found[0]["when"] == date(2024, month, 3 - month)
    error = refused("a.csv", ambiguous, overrides={"when": "date"})
    assert error.line == 2
    assert "`01/02/2024` is no date" in error.reason
    assert error.remedy == "Say `columns: {when: {format: DMY}}` (or MDY) in the Dataset's spec."
    error = refused("a.csv", "when,n\n31.12.2023,1\nsoon,2\n", overrides={"when": "timestamp"}, formats={"when": "DMY"})
    assert (error.line, "`soon` is no timestamp" in error.reason) == (3, True)


def test_a_table_s_types_are_read_in_the_file_s_notation(lake):
    schema = lake.ingest("a.csv", "when,paid\n2024-01-01,1.5\n").schema
    later = lake.ingest("b.csv", "when;paid\n31.12.2023;2,5\n", schema=schema, next_column_id=3, next_schema_id=2)
    assert lake.rows(later) == [{"when": date(2023, 12, 31), "paid": 2.5}]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["1,Ann", "2,Bob", "3,Cid"], "its cell 1 is counted on"),
        (["Ann,2024-01-01", "Bob,2024-01-02"], "its cell 2 is a date"),
        (["Ann,31.12.2024", "Bob,01.02.2024"], "its cell 2 is a date"),
        (["Ann,1.5", "Bob,2"], "its cell 2 is a float64"),
        (["Ann,true", "Bob,false"], "its cell 2 is a bool"),
        (["90210417,x", "11302991,y"], "its cell 1 is a long number"),
        (["name,2023,2024", "Ann,5,7", "Bob,6,8"], None),
        (["name,30,60,90", "Ann,5,7,8", "Bob,6,8,9"], None),
        (["id,name", "1,Ann"], None),
        (["2023,2024", "2024,5"], None),
        (["id,2024-01-01", "1,2024-01-02"], None),
        (["Ann,Bonn", "Bob,Cologne"], None),
        ([",1.5", "Bob,2"], None),
        (["1.5,2.5"], None),
        (["1.5,x", ",y"], None),
    ],
)
def test_whether_the_first_row_is_data(rows: list[str], words: str | None) -> None:
    found = why_absent([row.split(",") for row in rows])
    assert (words is None and found is None) or (words is not None and found is not None and words in found)


def test_a_file_without_a_header(lake, refused):
    content = "1,Ann,2024-01-01\n2,Bob,2024-01-02\n3,Cid,2024-01-03\n"
    result = lake.ingest("a.csv", content)
    assert lake.rows(result)[0] == {"column_1": 1, "column_2": "Ann", "column_3": date(2024, 1, 1)}
    expected = (
        "a.csv: the first row is read as data, since its cell 1 is counted on in the rows below it: say `source.header` to decide otherwise"
    )
    assert result.warnings == (expected,)
    assert list(lake.types(lake.ingest("a.csv", content, header=True))) == ["1", "Ann", "2024-01-01"]
    schema = lake.ingest("b.csv", "id,name,born\n1,Ann,2024-01-01\n").schema
    error = refused("a.csv", content, schema=schema, next_column_id=4, next_schema_id=2)
    assert (error.line, "no header" in error.reason) == (1, True)


def test_a_misread_row_is_named_by_its_line_without_a_header(lake, refused):
    schema = lake.ingest("a.csv", "1,2024-01-01\n2,2024-01-02\n").schema
    error = refused("b.csv", "3,2024-01-01\n4,2024-01-02\n5,soon\n", schema=schema, next_column_id=3, next_schema_id=2)
    assert error.line == 3


def test_zoned_and_plain_timestamps_are_no_notations(lake):
    result = lake.ingest("a.csv", "at,n\n2024-01-01T10:00:00Z,1\n")
    assert lake.rows(result) == [{"at": datetime(2024, 1, 1, 10), "n": 1}]  # noqa: DTZ001


@pytest.mark.parametrize(
    ("kind", "notation", "cell", "value"),
    [
        ("decimal(10,2)", "comma", "1.234,50", Decimal("1234.50")),
        ("int64", "comma", "1.234", 1234),
        ("float64", "comma", "0,12345678901234567890", 0.12345678901234568),
        ("timestamp", "MDY", "1/2/2024 10:00", datetime(2024, 1, 2, 10)),  # noqa: DTZ001
        ("string", "DMY", "1/2/2024", "1/2/2024"),
    ],
)
def test_a_notation_beside_a_type(lake, kind, notation, cell, value):
    result = lake.ingest("a.csv", f"n;v\nx;{cell}\n", overrides={"v": kind}, formats={"v": notation})
    assert lake.rows(result) == [{"n": "x", "v": value}]
