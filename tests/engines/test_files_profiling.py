from __future__ import annotations

import base64
import struct
from datetime import date
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.files.sketch import Distinct, hashes
from state.profiles import SKETCH, ColumnProfile, Finding, merge_all, parse

PEOPLE = "id,mail,city\n" + "".join(f"{n},p{n}@example.com,{'Boston' if n % 2 else ''}\n" for n in range(40))

STORED = [
    0xF5809790A5A6E100, 0xEF9CDCDB10EA3E21, 0xB5E09E44336E3195, 0x1D0F0C5CFF315F6F, 0x2A7A88CAF148E883, 0xF5809790A5A6E100,
    0x29F5502ED2A8736E, 0xF5809790A5A6E100, 0xF5809790A5A6E100, 0x0F82EEE21761B3AF, 0x5DAB094D38B82E7D,
]  # fmt: skip
"""What `hashes` gave when the first profiles were written."""


def sketch_of(*arrays: pa.Array) -> Distinct:
    found = Distinct()
    for array in arrays:
        found.add(array)
    return found


def profile_of(lake: Any, result: Any) -> dict[str, ColumnProfile]:
    (noted,) = result.ledgers
    return {name: column.summary() for name, column in parse(lake.store.get(noted.ref.key)).items()}


def distinct(*sketches: Distinct) -> int | None:
    """By the stored form, merged."""
    column = {"name": "c", "rows": 1, "nulls": 0, "examples": [], "findings": []}
    documents = [orjson.dumps({"format": 1, "columns": [column | {"sketch": each.encoded()}]}) for each in sketches]
    return merge_all(map(parse, documents))["c"].summary().distinct


@pytest.mark.parametrize("count", [0, 1, SKETCH - 1])
def test_few_values_are_counted_exactly(count: int) -> None:
    values = pa.array([f"value {number}" for number in range(count)] * 3, pa.string())
    assert distinct(sketch_of(values)) == count


@pytest.mark.parametrize("count", [2_000, 300_000])
@pytest.mark.parametrize("kind", ["texts", "numbers", "long texts"])
def test_many_values_are_estimated_within_some_standard_errors(kind: str, count: int) -> None:
    numbers = pa.array(range(count))
    texts = pa.array([f"{'x' * 30}{number:09d}{'y' * 30}" if kind == "long texts" else str(number) for number in range(count)])
    values = numbers if kind == "numbers" else texts
    found = sketch_of(*(values.slice(first, 70_000) for first in range(0, count, 70_000)), values.slice(0, 500))
    assert distinct(found) == pytest.approx(count, rel=0.15)
    assert len(set(found.sample.to_pylist())) == SKETCH
    assert min(values.index(each).as_py() for each in found.sample) < count / 4 < max(values.index(each).as_py() for each in found.sample)


@given(st.lists(st.lists(st.text(max_size=40), max_size=30), min_size=1, max_size=4))
def test_sketches_of_parts_are_the_sketch_of_all(parts: list[list[str]]) -> None:
    whole = sketch_of(pa.array([value for part in parts for value in part], pa.string()))
    assert distinct(*(sketch_of(pa.array(part, pa.string())) for part in parts)) == distinct(whole)
    assert distinct(whole) == len({value for part in parts for value in part})


@given(st.lists(st.text(max_size=100), unique=True, max_size=50))
def test_a_text_has_one_hash_wherever_it_stands(values: list[str]) -> None:
    together = hashes(pa.array(values, pa.string())) if values else []
    alone = [hashes(pa.array(["before", value, "behind"]))[1] for value in values]
    assert list(together) == alone


@given(st.integers(1, 70).flatmap(lambda size: st.lists(st.text("ab", min_size=size, max_size=size), min_size=1, max_size=20)))
def test_texts_of_one_length_have_the_hashes_that_they_have_alone(values: list[str]) -> None:
    slices = [hashes(pa.array(["before", *values]).slice(1)), hashes(pa.array(values))]
    alone = [hashes(pa.array(["before", value, "behind"]))[1] for value in values]
    assert [list(found) for found in slices] == [alone, alone]


def test_hashes_stay_what_they_are() -> None:
    """They are stored; another function would spoil every merge."""
    values = [pa.array(["", "a", "12345678", "123456789", "x" * 100]), pa.array([0, -1]), pa.array([0.0, -0.0, 1.5]), pa.array([True])]
    assert [int(each) for array in values for each in hashes(array)] == STORED


def test_a_profile_is_noted_beside_the_parts(lake: Any) -> None:
    result = lake.ingest("a.csv", PEOPLE)
    (noted,) = result.ledgers
    assert (noted.kind, noted.source, noted.ref.key.rpartition("/")[0]) == ("profile", lake.task("a.csv").digest, "datasets/things/profile")
    found = profile_of(lake, result)
    assert (found["id"].rows, found["id"].nulls, found["id"].distinct, len(found["id"].examples)) == (40, 0, 40, 3)
    assert (found["city"].nulls, found["city"].distinct, found["city"].examples) == (20, 1, ("Boston",))
    assert found["mail"].findings["email"] == Finding(
        "email", "pii", 1.0, 40, "its name, and 100% of 40 sampled values look like e-mail addresses"
    )
    assert b"example.com" not in lake.store.get(noted.ref.key)


def test_it_is_named_by_its_inputs(lake: Any) -> None:
    first = lake.ingest("a.csv", PEOPLE).ledgers
    assert lake.ingest("a.csv").ledgers == first
    assert lake.ingest("a.csv", sequence=7).ledgers == first
    assert lake.ingest("a.csv", overrides={"id": "string"}).ledgers[0].ref.key != first[0].ref.key


def test_every_type_is_profiled(lake: Any) -> None:
    days = pa.array([date(2024, 1, number % 28 + 1) for number in range(30)])
    columns = {
        "flag": pa.array([number % 2 == 0 for number in range(30)]),
        "half": pa.array([number / 2 for number in range(30)]),
        "day": days,
        "at": days.cast(pa.timestamp("us")),
        "price": pa.array([Decimal(number % 3) for number in range(30)], pa.decimal128(10, 2)),
        "raw": pa.array([bytes([number]) for number in range(30)]),
        "mails": pa.array([["a", f"p{number}@example.com"] for number in range(30)]),
    }
    pq.write_table(pa.table(columns), lake.root / "a.parquet")
    found = profile_of(lake, lake.ingest("a.parquet"))
    expected = {"flag": 2, "half": 30, "day": 28, "at": 28, "price": 3, "raw": 30, "mails": None}
    assert {name: column.distinct for name, column in found.items()} == expected
    assert found["mails"].findings.keys() == {"email"}


def test_of_a_file_without_rows_the_columns_are_told(lake: Any) -> None:
    found = profile_of(lake, lake.ingest("a.csv", "id,ssn\n"))
    assert (found["id"].rows, found["id"].distinct) == (0, 0)
    assert found["ssn"].findings["ssn"].evidence == "its name says social security numbers; it has no values yet"


def test_the_sketch_is_stored_in_order(lake: Any) -> None:
    (noted,) = lake.ingest("a.csv", PEOPLE).ledgers
    raw = base64.b64decode(orjson.loads(lake.store.get(noted.ref.key))["columns"][0]["sketch"])
    stored = struct.unpack(f"<{len(raw) // 8}Q", raw)
    assert list(stored) == sorted(set(stored))
