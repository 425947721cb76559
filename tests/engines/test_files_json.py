from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal

import pytest

from engines.files import json_lines, json_objects

LINES = '{"a": 1, "b": "x"}\n\n{"b": null, "c": {"d": [1, 2.5]}}\r\n'
ROWS = [{"a": 1, "b": "x", "c": None}, {"a": None, "b": None, "c": '{"d":[1,2.5]}'}]


@pytest.mark.parametrize(
    ("content", "options", "rows"),
    [
        pytest.param(LINES, {}, ROWS, id="a line each, drifting"),
        pytest.param("\ufeff" + LINES, {}, ROWS, id="byte order mark"),
        pytest.param(LINES.rstrip(), {}, ROWS, id="no last line end"),
        pytest.param('[{"a": 1, "b": "x"},\n {"b": null, "c": {"d": [1, 2.5]}}\n]\n', {}, ROWS, id="an array"),
        pytest.param('[{"a":1,"b":"x"},{"c":{"d":[1,2.5]}}]', {}, ROWS, id="an array in one line"),
        pytest.param('{\n "a": 1,\n "b": "x"\n}\n{\n "c": {"d": [1, 2.5]}}\n', {}, ROWS, id="objects over lines"),
        pytest.param(LINES.encode("utf-16"), {"encoding": "utf-16"}, ROWS, id="utf-16"),
        pytest.param('{"a": "é"}'.encode("latin-1"), {"encoding": "latin-1"}, [{"a": "é"}], id="latin-1"),
        pytest.param("[]", {}, [], id="no objects"),
        pytest.param("", {}, [], id="nothing"),
        pytest.param('{"a": "1"}\n{"a": "2"}', {}, [{"a": "1"}, {"a": "2"}], id="digits in quotes are text"),
        pytest.param('{"a": 1}\n{"a": "x"}\n{"a": true}', {}, [{"a": "1"}, {"a": "x"}, {"a": "true"}], id="mixed is text"),
        pytest.param('{"a": "2024-01-01"}', {}, [{"a": date(2024, 1, 1)}], id="date"),
        pytest.param('{"a": "2024-01-01T00:00:00Z"}', {}, [{"a": datetime(2024, 1, 1)}], id="timestamp"),  # noqa: DTZ001
        pytest.param('{"a": 1}\n{"a": 2.5}', {}, [{"a": 1.0}, {"a": 2.5}], id="whole and decimal"),
        pytest.param('{"a": 123456789012345678901}', {}, [{"a": "123456789012345678901"}], id="beyond 64 bits"),
        pytest.param('{"a": 0.12345678901234567890}', {}, [{"a": "0.12345678901234567890"}], id="beyond float64"),
        pytest.param('{"a": {"b": 0.12345678901234567890}}', {}, [{"a": '{"b":0.12345678901234567890}'}], id="beyond float64, within"),
        pytest.param('{"a": {"b": 123456789012345678901}}', {}, [{"a": '{"b":123456789012345678901}'}], id="beyond 64 bits, within"),
        pytest.param('{"a": 1}\n{"A": 2}', {}, [{"a": 1, "A": None}, {"a": None, "A": 2}], id="case matters"),
    ],
)
def test_what_is_read(lake, content, options, rows):
    assert lake.rows(lake.ingest("a.json", content, **options)) == rows


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        ('{"a": 1}\n{"a": 2', 2, "no valid JSON"),
        ('{"a": 1}\n[1]', 2, "an object is expected, not `[1]`"),
        ("5\n", 1, "an object is expected, not `5`"),
        ("<html>", 1, "no valid JSON"),
        ('[{"a": 1},\n{"a": 2},\n3]', 3, "an object is expected, not `3]`"),
        ('[{"a": 1},\n{"a": 2}', 2, "never ends"),
        ('[{"a": 1}\n{"a": 2}]', 2, "`,` or `]` is expected"),
        ('[{"a": 1},\n{"a":\n bad}]', 3, "no valid JSON"),
        ('{"a": 1}\n{"a": NaN}', 2, "no valid JSON"),
        ('[{"a": 1},\n{"a": Infinity}]', 2, "Infinity is no JSON"),
        ('{"a": ' + "[" * 300 + "]" * 300 + "}", 1, "nested deeper"),
        ('{"a": ' + "[" * 30_000 + "]" * 30_000 + "}", 1, ""),
        ('[{"a": ' + "[" * 300 + "]" * 300 + "}]", 1, "nested deeper"),
        (b'{"a": "x"}\n{"a": "\xff"}', 2, "no valid JSON"),
        ('{"_file": 1}', None, "`_file`"),
    ],
)
def test_what_is_refused(refused, content, line, reason):
    error = refused("a.json", content)
    assert reason in error.reason
    assert error.line == line


def test_long_lines_and_objects_are_refused(refused, monkeypatch):
    monkeypatch.setattr(json_objects, "MAX_ROW_BYTES", 1_000)
    monkeypatch.setattr(json_objects, "_CHUNK", 100)
    assert refused("a.json", '{"a": 1}\n{"a": "' + "x" * 2_000 + '"}').line == 2
    assert refused("a.json", '[{"a": 1},\n\n{"a": "' + "x" * 3_000 + '"}]').line == 3


def test_an_array_is_scanned_in_windows(lake, monkeypatch):
    monkeypatch.setattr(json_objects, "_CHUNK", 64)
    monkeypatch.setattr(json_lines, "KEPT_BYTES", 0)
    monkeypatch.setattr(json_lines, "BATCH_ROWS", 7)
    rows = [{"n": number, "text": "line\n" * (number % 30), "inner": {"x": [number]}} for number in range(200)]
    result = lake.ingest("a.json", json.dumps(rows, indent=1))
    assert [(row["n"], row["text"], json.loads(row["inner"])) for row in lake.rows(result)] == [
        (row["n"], row["text"], row["inner"]) for row in rows
    ]


def test_a_table_s_type_refuses_with_the_line(lake, refused):
    schema = lake.ingest("a.json", '{"a": 1, "b": 1.5, "c": true, "d": "2024-01-01"}').schema
    given = {"schema": schema, "next_column_id": 5, "next_schema_id": 2}
    for record, shown in (
        ('{"a": 1.5}', "`1.5` is no int64"),
        ('{"a": "1"}', "`1` is no int64"),
        ('{"a": 1000000000000000000}', "no int64"),
        ('{"b": "x"}', "no float64"),
        ('{"b": 0.12345678901234567890}', "no float64"),
        ('{"c": 1}', "`1` is no bool"),
        ('{"d": "soon"}', "no date"),
        ('{"a": [1]}', "`[1]` is no int64"),
    ):
        error = refused("b.json", '{"a": 2}\n\n' + record, **given)
        assert error.line == 3
        assert shown in error.reason
    assert lake.ingest("b.json", '{"b": 3, "d": null}', **given).schema == schema


def test_overrides(lake):
    result = lake.ingest(
        "a.json", '{"a": "007", "b": [1, 2], "c": 1.25}', overrides={"a": "int64", "b": "list<int64>", "c": "decimal(6,3)"}
    )
    assert lake.rows(result) == [{"a": 7, "b": [1, 2], "c": Decimal("1.250")}]
