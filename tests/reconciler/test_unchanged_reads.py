"""A read that brings the rows which the table has makes no version, whatever their order; the slot is honoured, the freshness counts."""

from __future__ import annotations

import pytest
from small_lake import Bench, dataset
from test_row_sources import Lake, derived

from controllers.outcome import Ready

ITEMS = '{"id": 1, "city": "Bonn", "tags": ["a"], "n": 0.5}\n{"id": 2, "city": null, "tags": [], "n": null}\n'
SQL = "SELECT id, city, tags, n FROM items"


def table_of(bench: Bench, more: str, sql: str = SQL) -> Lake:
    lake = Lake(bench)
    lake.write("data/items/1.ndjson", ITEMS)
    lake.want(dataset("items", glob="data/items/*.ndjson"), derived("copy", sql, more))
    assert isinstance(lake.settle("items", "copy"), Ready)
    assert lake.table("copy").version == 1
    return lake


@pytest.mark.parametrize("write", ["", ", primaryKey: id", ", primaryKey: id, write: replace"])
def test_a_query_of_which_nothing_changed(bench: Bench, write: str) -> None:
    lake = table_of(bench, f", refresh: {{every: 1h}}{write}")
    first = lake.table("copy").origin
    for _ in range(2):
        bench.clock.advance(3_601)
        assert isinstance(lake.settle("copy"), Ready)
    table = lake.table("copy")
    assert (table.version, len(table.former)) == (1, 0)
    assert first is not None
    assert table.origin is not None
    assert table.origin.slot > first.slot
    assert table.origin.read > first.read
    entries = lake.entries()
    lake.restart()
    lake.settle("copy")
    assert lake.entries() == entries


@pytest.mark.parametrize(
    "items",
    [
        ITEMS.replace("null", '""', 1),
        ITEMS.replace('["a"]', '["b"]'),
        ITEMS.replace("0.5", "0.25"),
        ITEMS + '{"id": 2, "city": null, "tags": [], "n": null}\n',
        ITEMS.splitlines()[0] + "\n",
        ITEMS.replace('"Bonn"', "null").replace('"city": null, "tags": []', '"city": "Bonn", "tags": []'),
    ],
    ids=["a null is no empty text", "an element", "a number", "a row twice", "a row less", "values that swapped their rows"],
)
def test_what_is_a_change(bench: Bench, items: str) -> None:
    lake = table_of(bench, "")
    lake.write("data/items/1.ndjson", items)
    lake.settle("items", "copy")
    assert lake.table("copy").version == 2


def test_another_order_of_what_is_read_is_none(bench: Bench) -> None:
    lake = table_of(bench, "")
    lake.write("data/items/1.ndjson", "".join(reversed(ITEMS.splitlines(keepends=True))))
    lake.settle("items", "copy")
    assert lake.table("items").version == 2
    table = lake.table("copy")
    assert table.version == 1
    assert table.origin is not None
    assert table.origin.inputs == {"items": 2}


def test_a_change_after_reads_without_one(bench: Bench) -> None:
    lake = table_of(bench, ", refresh: {every: 1h}")
    bench.clock.advance(3_601)
    lake.settle("copy")
    lake.write("data/items/2.ndjson", '{"id": 3, "city": "Kiel", "tags": [], "n": 1.5}\n')
    lake.settle("items", "copy")
    assert (lake.table("copy").version, sorted(lake.rows("copy", "id"))) == (2, [(1,), (2,), (3,)])


def test_a_damaged_file_is_written_again(bench: Bench) -> None:
    lake = table_of(bench, ", refresh: {every: 1h}")
    bench.store.delete(lake.table("copy").files[0].key)
    bench.clock.advance(3_601)
    assert isinstance(lake.settle("copy"), Ready)
    assert sorted(lake.rows("copy", "id")) == [(1,), (2,)]
