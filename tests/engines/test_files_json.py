from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal

import pytest

from engines.files import json_lines, json_objects
from engines.files.source import ColumnPlan

LINES = '{"a": 1, "b": "x"}\n\n{"b": null, "c": {"d": [1, 2.5]}}\r\n'
ROWS = [{"a": 1, "b": "x", "c.d": None}, {"a": None, "b": None, "c.d": [1.0, 2.5]}]


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
        pytest.param(LINES.encode("utf-16"), {}, ROWS, id="utf-16 by its mark"),
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
        pytest.param('{"a": {"b": 0.12345678901234567890}}', {}, [{"a.b": "0.12345678901234567890"}], id="beyond float64, within"),
        pytest.param('{"a": {"b": 123456789012345678901}}', {}, [{"a.b": "123456789012345678901"}], id="beyond 64 bits, within"),
        pytest.param('[{"a": "\\ud83d\\ude00"}]', {}, [{"a": "\U0001f600"}], id="a whole surrogate pair"),
        pytest.param('\ufeff{"a": 1}'.encode("utf-16-le"), {"encoding": "utf-16-le"}, [{"a": 1}], id="a mark before a named byte order"),
        pytest.param('[{"a": 1}]\n\n \n', {}, [{"a": 1}], id="blanks after the array"),
        pytest.param('{"a": 1}\n{"A": 2}', {}, [{"a": 1, "A": None}, {"a": None, "A": 2}], id="case matters"),
    ],
)
def test_what_is_read(lake, content, options, rows):
    assert lake.rows(lake.ingest("a.json", content, **options)) == rows


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        ('{"a": 1}\n{"a": 2', 2, "no valid JSON"),
        ('{"a": 1}\n[1]', 2, "an object is expected, not an array"),
        ("5\n", 1, "an object is expected, not a number"),
        ("<html>", 1, "an HTML page"),
        ('{"a": {"b": 1}, "a.b": 2}', 1, "two values are named `a.b`"),
        ('{"id": 1, "a": "p"}\n{"id": 2, "a": "p", "a": "q"}', 2, "two values are named `a`"),
        ('{"id":4,"a":"p","a" :"q"}', 1, "two values are named `a`"),
        ('{"id":4,"a":"10:30","b":"\\":","a":1}', 1, "two values are named `a`"),
        ('{"id": 1, "o": {"x": 1, "x": 1}}', 1, "two values are named `x`"),
        ('[{"id": 1},\n{"id": 2, "l": [{"x": 1, "\\u0078": 2}]}]', 2, "two values are named `x`"),
        ('{"a":' * 1_000 + "1" + "}" * 1_000, 1, "nested deeper than 200 levels"),
        ('[{"a": 1},\n{"a": 2},\n3]', 3, "an object is expected, not a number"),
        ('[{"a": 1},\n{"a": 2}', 2, "never ends"),
        ('[{"a": 1}\n{"a": 2}]', 2, "`,` or `]` is expected"),
        ('[{"a": 1},\n{"a":\n bad}]', 3, "no valid JSON"),
        ('{"a": 1}\n{"a": NaN}', 2, "no valid JSON"),
        ('[{"a": 1},\n{"a": Infinity}]', 2, "Infinity is no JSON"),
        ('{"a": ' + "[" * 300 + "]" * 300 + "}", 1, "nested deeper"),
        ('{"a": ' + "[" * 30_000 + "]" * 30_000 + "}", 1, ""),
        ('[{"a": ' + "[" * 300 + "]" * 300 + "}]", 1, "nested deeper"),
        (b'{"a": "x"}\n{"a": "\xff"}', 2, "is not utf-8"),
        (b'[{"a": "x"},\n{"a": "\xff"}]', 2, "is not utf-8"),
        ('{"_file": 1}', None, "`_file`"),
        ('[{"a": 1}]\n{"a": 2}\n', 2, "nothing may follow the array, as an object does"),
        ('[{"a": 1}][{"a": 2}]', 1, "nothing may follow the array"),
        ('{"a": 1}\n[{"a": 2}]', 2, "an object is expected"),
        ('{"a": "\\ud800"}', 1, "surrogate"),
        ('[{"a": 1},\n{"a": {"b": "\\ud800"}}]', 2, "half of a surrogate pair"),
        ('[{"\\udc00": 1}]', 1, "half of a surrogate pair"),
        ('{"a": 1e99999999999999999999}', 1, "an exponent is beyond any number"),
        ('[{"a": 1},\n{"a": 1e99999999999999999999}]', 2, "is beyond any number"),
        ('{"a": ' + "9" * 5_000 + "}", 1, "a whole number of 5000 digits"),
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
    assert [(row["n"], row["text"], row["inner.x"]) for row in lake.rows(result)] == [
        (row["n"], row["text"], row["inner"]["x"]) for row in rows
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


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        ("list<date>", ["2024-01-01", None], [date(2024, 1, 1), None]),
        ("list<timestamp>", ["2024-01-01T10:00:00Z"], [datetime(2024, 1, 1, 10)]),  # noqa: DTZ001
        ("list<decimal(6,3)>", [1.25, 2], [Decimal("1.250"), Decimal("2.000")]),
        ("list<string>", [1, "x", None, {"b": 1}], ["1", "x", None, '{"b":1}']),
        ("list<list<int64>>", [[1], [], [2, 3]], [[1], [], [2, 3]]),
        ("list<float64>", [], []),
        ("list<int64>", None, None),
    ],
)
def test_lists(lake, kind, value, read):
    content = "".join(json.dumps({"a": item}) + "\n" for item in (value, None, value))
    assert lake.rows(lake.ingest("a.json", content, overrides={"a": kind})) == [{"a": read}, {"a": None}, {"a": read}]


@pytest.mark.parametrize(
    ("records", "types", "rows"),
    [
        pytest.param('{"a": {"b": {"c": 1}, "d": "x"}}', {"a.b.c": "int64", "a.d": "string"}, [{"a.b.c": 1, "a.d": "x"}], id="objects"),
        pytest.param('{"a": {}, "b": 1}', {"a": None, "b": "int64"}, [{"b": 1}], id="an empty object is no value"),
        pytest.param(
            '{"a": 1}\n{"a": {"b": 2}}', {"a": "int64", "a.b": "int64"}, [{"a": 1, "a.b": None}, {"a": None, "a.b": 2}], id="drifting"
        ),
        pytest.param('{"a": [1, 2]}\n{"a": [2.5]}', {"a": "list<float64>"}, [{"a": [1.0, 2.0]}, {"a": [2.5]}], id="numbers"),
        pytest.param('{"a": []}\n{"a": null}', {"a": "list<string>"}, [{"a": []}, {"a": None}], id="empty arrays"),
        pytest.param('{"a": [1, "x", null]}', {"a": "list<string>"}, [{"a": ["1", "x", None]}], id="mixed elements"),
        pytest.param('{"a": [{"b": 1}, [2]]}', {"a": "list<string>"}, [{"a": ['{"b":1}', "[2]"]}], id="objects within arrays"),
        pytest.param('{"phones": [5551234]}', {"phones": "list<string>"}, [{"phones": ["5551234"]}], id="codes"),
        pytest.param('{"a": [1]}\n{"a": 2}', {"a": "string"}, [{"a": "[1]"}, {"a": "2"}], id="an array or not"),
    ],
)
def test_what_is_nested(lake, records, types, rows):
    result = lake.ingest("a.json", records)
    assert lake.types(result) == {name: kind for name, kind in types.items() if kind}
    assert lake.rows(result) == rows


def test_an_object_that_is_known_as_a_column_stays_whole(lake):
    said = lake.ingest("a.json", '{"a": {"b": {"c": 1}, "d": 2}}', overrides={"a.b": "string"})
    assert lake.rows(said) == [{"a.b": '{"c":1}', "a.d": 2}]
    known = lake.ingest("a.json", '{"a": "x"}').schema
    later = lake.ingest("b.json", '{"a": {"b": 1}}', schema=known, next_column_id=2, next_schema_id=2)
    assert lake.rows(later) == [{"a": '{"b":1}'}]


@pytest.mark.parametrize(
    ("kind", "value"),
    [("list<int64>", "[123456789012345678901234]"), ("list<date>", '["soon"]'), ("list<int64>", '{"b": 1}'), ("list<int64>", "5")],
)
def test_lists_that_do_not_fit(refused, kind, value):
    error = refused("a.json", '{"a": []}\n{"a": null}\n{"a": ' + value + "}\n", overrides={"a": kind})
    assert error.line == 3
    assert f"is no {kind}" in error.reason


def test_batches_are_bounded_by_bytes(lake, monkeypatch):
    monkeypatch.setattr(json_lines, "KEPT_BYTES", 0)
    monkeypatch.setattr(json_lines, "BATCH_BYTES", 100)
    reading = json_lines.JsonReading(lake.task("a.json", '{"a": "' + "x" * 60 + '"}\n', size=None).source)
    lake.write("a.json", ('{"a": "' + "x" * 60 + '"}\n') * 5)
    plans = {"a": ColumnPlan("a", "string", "guess")}
    assert [batch.num_rows for batch in reading.batches(plans)] == [2, 2, 1]


def test_overrides(lake):
    result = lake.ingest(
        "a.json", '{"a": "007", "b": [1, 2], "c": 1.25}', overrides={"a": "int64", "b": "list<int64>", "c": "decimal(6,3)"}
    )
    assert lake.rows(result) == [{"a": 7, "b": [1, 2], "c": Decimal("1.250")}]


@pytest.mark.parametrize(
    "content",
    ['{"a": "x\\":", "b": "10:30"}\n', '{"a" : 1, "b"\t: {"a": 2}}\n', '[{"a": {"b": [{"b": 1}, {"b": 2}]}},\n {"a": {"b": []}}]'],
)
def test_what_only_looks_like_two_values_of_one_name(lake, content):
    assert lake.ingest("a.json", content).rows
