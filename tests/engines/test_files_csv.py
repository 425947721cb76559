from __future__ import annotations

import gzip
import math
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from engines.errors import FileUnreadable
from engines.files import csv as reading
from engines.files import physical_lines
from engines.files import source as files


def test_a_header_names_the_columns_and_cells_get_types(lake):
    result = lake.ingest("a.csv", "id,name,born,rate,ok,seen\n1,Ann,2001-02-03,1.5,true,2024-01-01T10:00:00\n2,,,,,\n")
    assert lake.types(result) == {"id": "int64", "name": "string", "born": "date", "rate": "float64", "ok": "bool", "seen": "timestamp"}
    assert lake.rows(result) == [
        {"id": 1, "name": "Ann", "born": date(2001, 2, 3), "rate": 1.5, "ok": True, "seen": datetime(2024, 1, 1, 10)},  # noqa: DTZ001
        {"id": 2, "name": None, "born": None, "rate": None, "ok": None, "seen": None},
    ]


@pytest.mark.parametrize(
    ("content", "options", "rows"),
    [
        pytest.param('a,b\n"",\n', {}, [{"a": "", "b": None}], id="empty text and null"),
        pytest.param('a,b\n"1",x\n"",y\n', {}, [{"a": 1, "b": "x"}, {"a": None, "b": "y"}], id="quoted empty number is null"),
        pytest.param('a,b\r\n1,"x\r\ny"\r\n', {}, [{"a": 1, "b": "x\r\ny"}], id="crlf and a quoted line break"),
        pytest.param('a,b\n1,"say ""hi"""\n', {}, [{"a": 1, "b": 'say "hi"'}], id="doubled quotes"),
        pytest.param("\ufeffa,b\n1,é\n", {}, [{"a": 1, "b": "é"}], id="byte order mark"),
        pytest.param("a;b\n1;x,y\n", {}, [{"a": 1, "b": "x,y"}], id="semicolon found"),
        pytest.param("a\tb\n1\tx\n", {}, [{"a": 1, "b": "x"}], id="tab found"),
        pytest.param('"a;b"|c\n1|x\n', {}, [{"a;b": 1, "c": "x"}], id="delimiters in quotes do not count"),
        pytest.param("a;b\n1;x\n", {"delimiter": ","}, [{"a;b": "1;x"}], id="delimiter given"),
        pytest.param("1,x\n2,y\n", {"header": False}, [{"column_1": 1, "column_2": "x"}, {"column_1": 2, "column_2": "y"}], id="no header"),
        pytest.param("a,b\n1,'x\n", {"quote": "'", "delimiter": ";"}, [{"a,b": "1,'x"}], id="another quote within a cell"),
        pytest.param('a,b\n1,"x\n', {"quote": ""}, [{"a": 1, "b": '"x'}], id="no quotes at all"),
        pytest.param("a,,c\n1,2,3\n", {}, [{"a": 1, "column_2": 2, "c": 3}], id="unnamed column"),
        pytest.param(" a , b\n1,2\n", {}, [{"a": 1, "b": 2}], id="names are stripped"),
        pytest.param("a\n1\n\n2\n", {}, [{"a": 1}, {"a": None}, {"a": 2}], id="a blank line of one column is a row"),
        pytest.param("a,b\n\n1,2\n\n\n3,4", {}, [{"a": 1, "b": 2}, {"a": 3, "b": 4}], id="blank lines of two are none"),
        pytest.param("a,b\n", {}, [], id="header only"),
        pytest.param("a,b", {}, [], id="header without a line end"),
        pytest.param("é\nö\n".encode("latin-1"), {"encoding": "latin-1"}, [{"é": "ö"}], id="latin-1"),
        pytest.param("a,b\n€,1\n".encode("cp1252"), {"encoding": "cp1252"}, [{"a": "€", "b": 1}], id="cp1252"),
        pytest.param("a,b\né,1\n".encode("utf-16"), {"encoding": "utf-16"}, [{"a": "é", "b": 1}], id="utf-16"),
        pytest.param("\ufeffa,b\né,1\n".encode("utf-16-le"), {"encoding": "utf-16-le"}, [{"a": "é", "b": 1}], id="a mark and a byte order"),
        pytest.param("\n\na\n1\n\n", {}, [{"a": 1}, {"a": None}], id="blank lines before one column's header"),
        pytest.param('"a\nb",c\n1,2\n', {}, [{"a\nb": 1, "c": 2}], id="a line break in the header"),
        pytest.param(gzip.compress(b"a,b\n1,2\n"), {"name": "a.csv.gz"}, [{"a": 1, "b": 2}], id="gzip"),
    ],
)
def test_what_is_read(lake, content, options, rows):
    name = options.pop("name", "a.csv")
    assert lake.rows(lake.ingest(name, content, **options)) == rows


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        pytest.param("a,b\né,1\n".encode("utf-16"), [{"a": "é", "b": 1}], id="utf-16, little endian"),
        pytest.param("\ufeffa,b\né,1\n".encode("utf-16-be"), [{"a": "é", "b": 1}], id="utf-16, big endian"),
        pytest.param("\ufeffa,b\né,1\n".encode("utf-32"), [{"a": "é", "b": 1}], id="utf-32"),
    ],
)
def test_a_byte_order_mark_names_the_encoding(lake, content, rows):
    result = lake.ingest("a.csv", content)
    assert lake.rows(result) == rows
    assert result.warnings == ()


@pytest.mark.parametrize(
    ("content", "rows", "line"),
    [
        pytest.param("a,b\nx,1\né€,2\n", [{"a": "x", "b": 1}, {"a": "é€", "b": 2}], 3, id="a cell"),
        pytest.param("ä,b\nx,1\n", [{"ä": "x", "b": 1}], 1, id="the header"),
        pytest.param('a,b\n"x\n\né",1\n', [{"a": "x\n\né", "b": 1}], 4, id="within quotes"),
    ],
)
def test_what_is_not_utf8_is_cp1252_and_said(lake, content, rows, line):
    result = lake.ingest("a.csv", content.encode("cp1252"))
    assert lake.rows(result) == rows
    said = f"line {line} is not UTF-8, and the file is read as cp1252"
    assert result.warnings == (f"a.csv: {said}: say `source.encoding` if it is in another encoding",)


def test_another_encoding_is_noticed_however_late(lake, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK_BYTES", 1_000)
    result = lake.ingest("a.csv", b"a,b\n" + b"x,1\n" * 5_000 + b"\xe9,2\n")
    assert lake.rows(result)[-1] == {"a": "é", "b": 2}
    assert result.rows == 5_001


@pytest.mark.parametrize(
    ("content", "options", "line", "reason"),
    [
        pytest.param("", {}, None, "no header", id="empty"),
        pytest.param("\n\n", {}, None, "no header", id="blank lines alone"),
        pytest.param("a,b\n1,2\n3\n", {}, 3, "the row has 1 cell, the header 2", id="too few cells"),
        pytest.param('a,b\n1,"x\ny"\n\n2,3,4\n', {}, 5, "the row has 3 cells", id="too many, after quoted and blank lines"),
        pytest.param(b"a,b\n1,x\n2,\xe9t\xe9\n", {"encoding": "utf-8"}, 3, r"`\xe9` is not utf-8", id="latin-1 read as utf-8"),
        pytest.param(b'a,b\n1,"x\n\n\xe9"\n', {"encoding": "utf-8"}, 4, "is not utf-8", id="the line of the byte, not of the row"),
        pytest.param(b"a,b\xff\n1,2\n", {"encoding": "utf-8"}, 1, "is not utf-8", id="header"),
        pytest.param(b"a,b\n\xc3\xa9,1\n\xe9,2\n", {}, 3, "mixed encodings: line 2 is UTF-8, line 3 is not", id="mixed encodings"),
        pytest.param(b"a,b\n\xe9,1\n\xc3\xa9,2\n", {}, 3, "mixed encodings: line 3 is UTF-8, line 2 is not", id="mixed the other way"),
        pytest.param(b"a,b\n\x81,1\n", {}, 2, "neither utf-8 nor cp1252", id="neither"),
        pytest.param(b"\n <!DOCTYPE html>\n<html><body>Not found", {}, 1, "is an HTML page, not csv", id="an error page"),
        pytest.param("<!-- gone --><div class=x>id,v</div>\n<p>1,2</p>\n", {}, 1, "is an HTML page", id="a piece of a page"),
        pytest.param('<?xml version="1.0"?>\n<rows><id>1</id></rows>', {}, None, "is an XML file, not csv", id="xml"),
        pytest.param(b"PAR1aaaaPAR1", {}, None, "is a Parquet file, not csv", id="another format"),
        pytest.param(gzip.compress(b"a,b\n1,2\n"), {}, None, "compressed by gzip", id="gzip by another name"),
        pytest.param(b"a,b\n1,\x81\n", {"encoding": "cp1252"}, 2, "is not cp1252", id="cp1252"),
        pytest.param("a,b\n1,2\n", {"encoding": "klingon"}, None, "`klingon` is no encoding", id="unknown encoding"),
        pytest.param("a,b\n1,2\n", {"encoding": "idna"}, None, "`idna` is no encoding", id="an encoding of names"),
        pytest.param("a,b\n1,2\n", {"encoding": "punycode"}, None, "`punycode` is no encoding", id="an encoding of labels"),
        pytest.param("a,__sequence\n1,2\n", {}, None, "`__sequence`", id="a name of the merge"),
        pytest.param("a,b,a\n1,2,3\n", {}, 1, "the header names `a` 2 times", id="duplicate names"),
        pytest.param(b"a,b\n1,2\n3,x\0y\n", {}, 3, "a NUL byte", id="nul"),
        pytest.param("a,b\n1,2\n".encode("utf-16"), {"encoding": "utf-8"}, 1, "", id="utf-16 read as utf-8"),
        pytest.param("a,b\n1,2\n".encode("utf-16-le"), {}, 1, "", id="utf-16 without a mark"),
        pytest.param('a,b\n1,2\n3,"x\n4,5\n', {}, 3, "never closed", id="open quote"),
        pytest.param('a,b,c\n1,2,3\n4,"x,5\n6,7,8\n', {}, 3, "never closed", id="open quote before other cells"),
        pytest.param('a,b\n1,2\n3,"x', {}, 3, "never closed", id="open quote in the last line"),
        pytest.param('a,b\n1,2\n3,"x""', {}, 3, "never closed", id="open quote after a doubled one"),
        pytest.param("a,_row\n1,2\n", {}, None, "`_row`", id="reserved name"),
        pytest.param(gzip.compress(b"a,b\n1,2\n" * 99)[:-30], {"name": "a.csv.gz"}, None, "no complete gzip", id="truncated gzip"),
        pytest.param(b"a,b\n1,2\n", {"name": "a.csv.gz"}, None, "no complete gzip", id="no gzip at all"),
    ],
)
def test_what_is_refused(refused, content, options, line, reason):
    error = refused(options.pop("name", "a.csv"), content, **options)
    assert reason in error.reason
    assert error.line == line


def test_closed_quotes_at_the_end_are_no_open_quotes(lake, monkeypatch):
    monkeypatch.setattr(physical_lines, "open_quote", lambda source: pytest.fail("looked closely for nothing"))
    for ending in ('"x"', '"x\ny"', "x", '""', '"a ""b"""', '"x"\n\n', '"x\n"\n'):
        assert lake.ingest("a.csv", f"a,b\n1,{ending}").rows == 1


def test_folders_and_missing_files(lake, refused):
    (lake.root / "a.csv").mkdir()
    assert "directory" in refused("a.csv").reason
    with pytest.raises(FileUnreadable):
        lake.ingest("missing.csv")


def test_a_long_row_is_read_with_a_larger_block_and_refused_beyond_the_limit(lake, refused, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK_BYTES", 1_000)
    for module in (reading, physical_lines, files):
        monkeypatch.setattr(module, "MAX_ROW_BYTES", 20_000)
    short = "".join(f"{number},x\n" for number in range(2_000))
    result = lake.ingest("a.csv", f"a,b\n{short}7,{'y' * 9_000}\n")
    assert result.rows == 2_001
    assert "longer than" in refused("a.csv", f"a,b\n1,x\n{short}7,{'y' * 90_000}\n").reason
    assert refused("a.csv", f"a,b\n1,x\n{short}7,{'y' * 90_000}\n").line == 2_003
    assert refused("a.csv", f'a,b\n{short}7,"' + "y\n" * 90_000).line == 2_002


def test_a_later_value_turns_a_guess_into_text(lake, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK_BYTES", 10_000)
    monkeypatch.setattr(reading.csv_sample, "windows", lambda *_: ())
    head = "".join(f"{number},{number},2024-01-01,1.5\n" for number in range(3_000))
    result = lake.ingest("a.csv", f"a,b,c,d\n{head}7,007,2024-01-01,0.12345678901234567890\n8,8,01/02/2024,2\n")
    assert lake.types(result) == {"a": "int64", "b": "string", "c": "string", "d": "string"}
    assert result.rows == 3_002
    assert lake.rows(result)[-2:] == [
        {"a": 7, "b": "007", "c": "2024-01-01", "d": "0.12345678901234567890"},
        {"a": 8, "b": "8", "c": "01/02/2024", "d": "2"},
    ]
    assert {guess.name: guess.reason for guess in result.guesses}["b"] == "text, since row 3001 is of the form `099`"
    assert lake.leftovers() == []


def test_windows_through_a_large_file_see_what_the_head_does_not(lake, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK_BYTES", 10_000)
    head = "".join(f'{number},"text\n{number}"\n' for number in range(9_000))
    tail = "".join(f"0{number},x\n" for number in range(9_000))
    source = lake.task("a.csv", f"a,b\n{head}{tail}").source
    assert dict(reading.CsvReading(source).guesses())["a"][0] == "string"


@pytest.mark.parametrize(
    ("kind", "cell", "value"),
    [
        ("int64", "007", 7),
        ("float64", "12E4", 120000.0),
        ("bool", "0", False),
        ("decimal(10,2)", "12.5", Decimal("12.50")),
        ("binary", "ab", b"ab"),
        ("string", "5", "5"),
        ("timestamp", "2024-01-01", datetime(2024, 1, 1)),  # noqa: DTZ001
    ],
)
def test_an_override_takes_what_can_be_parsed(lake, kind, cell, value):
    result = lake.ingest("a.csv", f"a,b\n{cell},x\n", overrides={"a": kind})
    assert lake.rows(result) == [{"a": value, "b": "x"}]


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        ("int64", "x"),
        ("int64", "1.5"),
        ("decimal(4,2)", "1.555"),
        ("bool", "yes"),
        ("date", "01/02/2024"),
        ("date", "0000-01-01"),
        ("list<int64>", "[1]"),
    ],
)
def test_an_override_that_does_not_fit_refuses_with_the_line(refused, kind, cell):
    error = refused("a.csv", f'b,a\n"x\ny",\nz,{cell}\n', overrides={"a": kind})
    if not kind.startswith("list"):
        assert error.line == 4
        assert f"column `a`: `{cell}` is no {kind}" in error.reason
        assert "columns: {a: " in error.remedy


def test_zones_move_to_utc_and_do_not_mix(lake):
    assert lake.rows(lake.ingest("a.csv", "a\n2024-01-01T10:00:00+02:00\n2024-01-01 00:00Z\n")) == [
        {"a": datetime(2024, 1, 1, 8)},  # noqa: DTZ001
        {"a": datetime(2024, 1, 1)},  # noqa: DTZ001
    ]
    assert lake.types(lake.ingest("b.csv", "a\n2024-01-01T10:00:00+02:00\n2024-01-01 00:00\n")) == {"a": "string"}


def test_floats_keep_every_digit_or_stay_text(lake):
    values = [math.pi, 1e-05, 1 / 3, 123456789.123456, 5e-324, 1.7976931348623157e308]
    result = lake.ingest("a.csv", "a\n" + "".join(f"{value!r}\n" for value in values))
    assert lake.types(result) == {"a": "float64"}
    assert [row["a"] for row in lake.rows(result)] == values
    assert lake.types(lake.ingest("b.csv", "a\n0.1\n3.14159265358979323846\n")) == {"a": "string"}


def test_a_file_in_the_real_sense(lake):
    """Wide, with more columns than a sample has rows for."""
    width = 3_000
    content = ",".join(f"c{number}" for number in range(width)) + "\n" + ",".join("1" for _ in range(width)) + "\n"
    result = lake.ingest("a.csv", content)
    assert len(result.schema.columns) == width
    assert Path(lake.store.path(result.files[0].key)).stat().st_size > 0
