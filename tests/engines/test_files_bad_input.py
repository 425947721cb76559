"""Values and files that nobody wishes for: what becomes of each, whatever the format."""

from __future__ import annotations

import gzip
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engines.files import attempt, batch
from engines.files.attempt import MAX_COLUMNS
from engines.files.batch import Batch
from engines.files.inference import decide_all


@pytest.mark.parametrize(
    "values",
    [
        ["NaN", "1.5"],
        ["inf", "-Infinity", "1"],
        ["1e400", "1"],
        ["0000-01-01", "2024-01-01"],
        ["10000-01-01", "2024-01-01"],
        ["01.01.0000", "31.12.2024"],
        ["9223372036854775808", "1"],
        ["-123456789012345678901234567890", "1"],
        ["0.12345678901234567890", "1"],
        ["=cmd|' /C calc'!A0", "+1+1"],
        ["@SUM(A1)", "-2+3"],
        ["007", "8"],
    ],
)
def test_what_is_no_plain_value_stays_as_it_was_written(lake, values):
    result = lake.ingest("a.csv", "n,v\n" + "".join(f'x,"{value}"\n' for value in values))
    assert lake.types(result)["v"] == "string"
    assert [row["v"] for row in lake.rows(result)] == values


@pytest.mark.parametrize(
    ("kind", "value"),
    [("date", "0000-01-01"), ("date", "10000-01-01"), ("timestamp", "10000-01-01 00:00"), ("int64", "9223372036854775808")],
)
def test_where_the_type_is_given_it_refuses_the_file_with_its_line(refused, kind, value):
    assert refused("a.csv", f"n,v\nx,{value}\n", overrides={"v": kind}).line == 2


def test_nan_and_infinity_of_parquet_are_numbers(lake):
    pq.write_table(pa.table({"v": [math.nan, math.inf, 1.5]}), lake.root / "a.parquet")
    values = [row["v"] for row in lake.rows(lake.ingest("a.parquet"))]
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, 1.5]


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_a_truncated_parquet_file(lake, refused, keep):
    pq.write_table(pa.table({"v": list(range(10_000))}), lake.root / "whole.parquet")
    whole = (lake.root / "whole.parquet").read_bytes()
    assert "no readable Parquet file" in refused("a.parquet", whole[: int(len(whole) * keep)]).reason


def test_five_thousand_columns(lake):
    names = [f"c{number}" for number in range(5_000)]
    rows = "".join(",".join(str(row * number) for number in range(5_000)) + "\n" for row in range(3))
    result = lake.ingest("a.csv", ",".join(names) + "\n" + rows)
    assert [column.name for column in result.schema.columns] == names
    assert set(lake.types(result).values()) == {"int64"}
    assert lake.rows(result)[2]["c4999"] == 2 * 4999


def test_more_columns_than_are_read(refused):
    assert "at most 10000 are read" in refused("a.csv", ",".join(f"c{number}" for number in range(MAX_COLUMNS + 1)) + "\n").reason
    assert "at most 10000 are read" in refused("a.json", "{" + ",".join(f'"c{n}":1' for n in range(MAX_COLUMNS + 1)) + "}").reason


def test_a_compressed_file_that_fills_a_disk(refused, monkeypatch):
    monkeypatch.setattr(attempt, "UNPACKED_LEAST", 1 << 20)
    monkeypatch.setattr(attempt, "UNPACKED_RATIO", 50)
    error = refused("a.csv.gz", gzip.compress(b"a,b\n" + b"x,0\n" * 1_000_000))
    assert error.reason == "unpacks to more than 50 times its size"


def test_one_bad_file_of_each_kind_costs_no_other(lake):
    names = {
        "a.csv": "id,v\n1,x\n",
        "b.csv": b"\xc3\xa9,v\n\xe9,x\n",
        "c.csv": "<!doctype html>",
        "d.json": '{"id": 2, "v": "y"}',
        "e.json": '{"id":' * 1_000,
        "f.pdf": "%PDF-1.4 no",
        "g.xlsx": "PK\3\4 no",
        "h.parquet": "PAR1 no PAR1",
    }
    tasks = tuple(lake.task(name, content) for name, content in names.items())
    result = batch.ingest_batch(Batch(tasks), None, lake.store)
    taken = {tasks[0].digest, tasks[3].digest}
    assert result.files.keys() == taken
    assert result.refused.keys() == {task.digest for task in tasks} - taken
    assert all(reason.count(". ") for _, reason in result.refused.values())
    assert [guess.name for guess in result.guesses][:2] == ["id", "v"]
    assert batch.BatchResult.from_dict(result.to_dict()) == result


def test_a_column_that_one_file_contradicts_says_so(lake):
    tasks = (lake.task("a.json", '{"v": 1}\n' * 20_000 + '{"v": "x"}'), lake.task("b.json", '{"v": 2}'))
    result = batch.ingest_batch(Batch(tasks), None, lake.store)
    assert [(guess.type, guess.reason) for guess in result.guesses] == [("string", "text, since a later file contradicts the others")]


def test_nothing_is_decided_of_nothing():
    assert decide_all(()) == ()
