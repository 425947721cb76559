"""Rows that two versions of a table differ in."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import engines.sql.suspects as suspecting
from engines.errors import QueryInvalid
from engines.sql.diff import IS, WAS, Difference, changed_keys, changed_rows, difference
from engines.sql.suspects import suspects
from engines.sql.version_pair import Pair, scopes, weight
from engines.sql.views import make_view
from state.catalog.schemas import Column, Schema
from state.catalog.tables import Table

COLUMNS = {"a": "string", "n": "int64", "note": "string"}
KEYS = st.tuples(st.sampled_from(["", "a", "b", "é", "zz"]), st.integers(0, 6))
FILES = st.lists(st.dictionaries(KEYS, st.sampled_from([None, "x", "", "y"]), min_size=1, max_size=12), max_size=6)


def compared(lake: Any, former: Table, later: Table, most: int = 100) -> Difference:
    views = [make_view(table, lake.views, lake.reader, "things").table for table in scopes(former, later)]
    with tempfile.TemporaryDirectory() as scratch:
        return difference(Pair(*views, later.primary_key, distinct=later.write == "upsert" or not later.primary_key), Path(scratch), most)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bases=st.integers(0, 2), files=FILES, at=st.integers(0, 6), share=st.sampled_from([0, 1, 1_000]))
def test_it_is_the_difference_of_the_rows(
    new_lake: Any, bases: int, files: list[dict[tuple[str, int], str | None]], at: int, share: int
) -> None:
    """share: of rows in files of one version, from which on all rows are joined; 0: never."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(suspecting, "FEW", share)
        lake = new_lake(Path(folder))
        lake.create("things", COLUMNS, ["a", "n"])
        model: dict[tuple[str, int], str | None] = {}
        versions = [(lake.tables["things"], dict(model))]
        for number, rows in enumerate(files):
            role = "base" if number < bases else "delta"
            new = {key: note for key, note in rows.items() if role == "delta" or key not in model}
            if new:
                lake.add("things", [{"a": a, "n": n, "note": note} for (a, n), note in sorted(new.items())], role)
                model |= new
            versions.append((lake.tables["things"], dict(model)))
        (one, ours), (other, theirs) = versions[min(at, len(files))], versions[-1]
        for former, later, before, after in ((one, other, ours, theirs), (other, one, theirs, ours)):
            found = compared(lake, former, later)
            changed = {key for key in before.keys() & after.keys() if before[key] != after[key]}
            counts = (len(after.keys() - before.keys()), len(before.keys() - after.keys()), len(changed))
            assert (found.added, found.removed, found.changed, len(found.rows)) == (*counts, sum(counts))
            told = [row["fields"] for row in found.rows if row["op"] == "changed"]
            assert Counter((fields["note"]["old"], fields["note"]["new"]) for fields in told) == Counter(
                (before[key], after[key]) for key in changed
            )


def test_files_of_other_keys_that_both_have_are_not_read(lake: Any) -> None:
    lake.create("things", {"k": "int64", "v": "string"}, ["k"])
    for first in (0, 100, 200):
        lake.add("things", [{"k": first + n, "v": "old"} for n in range(10)])
    former = lake.tables["things"]
    lake.add("things", [{"k": 105, "v": "new"}], "delta")
    ours, theirs = scopes(former, lake.tables["things"])
    assert ([file.key_min for file in ours.files], [file.key_min for file in theirs.files]) == ([(100,)], [(100,), (105,)])
    found = compared(lake, former, lake.tables["things"])
    assert found.rows == [{"op": "changed", "key": "105", "fields": {"v": {"old": "old", "new": "new"}}}]
    assert compared(lake, former, former) == Difference()


def suspected(lake: Any, former: Table, later: Table) -> list[Any] | None:
    views = [make_view(table, lake.views, lake.reader, "things").table for table in scopes(former, later)]
    found = suspects(Pair(*views, later.primary_key))
    return None if found is None else sorted(found.to_pylist())


def test_only_rows_of_keys_in_files_of_one_version_are_joined(lake: Any) -> None:
    lake.create("things", {"k": "int64", "v": "string"}, ["k"])
    lake.add("things", [{"k": n, "v": "old"} for n in range(100)])
    former = lake.tables["things"]
    lake.add("things", [{"k": 7, "v": "new"}, {"k": 105, "v": "new"}], "delta")
    lake.add("things", [{"k": 5, "v": None, "_deleted": True}, {"k": 7, "v": "newer", "_deleted": False}], "delta", deletes=1)
    later = lake.tables["things"]
    assert suspected(lake, former, later) == suspected(lake, later, former) == [5, 7, 105]
    found = compared(lake, former, later)
    assert [(row["op"], row["key"]) for row in found.rows] == [("removed", "5"), ("changed", "7"), ("added", "105")]


def test_what_both_have_weighs_little_beside_few_changes(lake: Any) -> None:
    lake.create("things", {"k": "int64", "v": "string"}, ["k"])
    base = lake.add("things", [{"k": n, "v": f"old text {n}" * 9} for n in range(2_000)]).ref.size
    former = lake.tables["things"]
    own = lake.add("things", [{"k": 7, "v": "new"}, {"k": 1_999, "v": "new"}, {"k": 0, "v": "new"}], "delta").ref.size
    later = lake.tables["things"]
    assert weight(*scopes(former, later)) == own + 2 * base // 8
    assert weight(*scopes(replace(former, files=()), later)) == own + base


def test_all_are_where_many_rows_are_in_such_files(lake: Any) -> None:
    lake.create("things", {"k": "int64", "v": "string"}, ["k"])
    lake.add("things", [{"k": n, "v": "old"} for n in range(20)])
    former = lake.tables["things"]
    lake.add("things", [{"k": n, "v": "new"} for n in range(10)], "delta")
    assert suspected(lake, former, lake.tables["things"]) is None


@pytest.mark.parametrize(("kind", "key"), [("float64", ["k"]), ("int64", [])])
def test_all_are_where_a_key_may_not_be_found_by_its_value(lake: Any, kind: str, key: list[str]) -> None:
    lake.create("things", {"k": kind, "v": "string"}, key)
    lake.add("things", [{"k": n, "v": "old"} for n in range(20)])
    former = lake.tables["things"]
    lake.add("things", [{"k": 3, "v": "new"}], "delta" if key else "base")
    assert suspected(lake, former, lake.tables["things"]) is None


def test_all_are_where_a_column_is_another_one(lake: Any) -> None:
    lake.create("things", {"k": "int64", "v": "int64"}, ["k"])
    lake.add("things", [{"k": n, "v": n} for n in range(20)])
    former = lake.tables["things"]
    schema = Schema(2, (Column(1, "k", "int64"), Column(2, "v", "string")))
    lake.replace("things", schemas=(*former.schemas, schema))
    lake.add("things", [{"k": 3, "v": "three"}], "delta")
    assert suspected(lake, former, lake.tables["things"]) is None


def test_without_a_key_rows_are_told_apart_by_their_content(lake: Any) -> None:
    lake.create("things", {"v": "string"})
    lake.add("things", [{"v": "a"}, {"v": "a"}])
    former = lake.tables["things"]
    lake.add("things", [{"v": None}])
    found = compared(lake, former, lake.tables["things"])
    assert found.rows == [{"op": "added", "key": "digest1:0", "fields": {}}]
    assert compared(lake, lake.tables["things"], former).removed == 1


def test_a_key_that_occurs_often_is_compared_as_often(lake: Any) -> None:
    lake.create("things", {"k": "int64", "v": "string"}, ["k"])
    lake.replace("things", write="append")
    lake.add("things", [{"k": 1, "v": "a"}, {"k": 1, "v": "b"}])
    former = lake.tables["things"]
    lake.add("things", [{"k": 1, "v": "c"}])
    found = compared(lake, former, lake.tables["things"])
    assert found.rows == [{"op": "added", "key": "1", "fields": {"k": {"old": None, "new": "1"}, "v": {"old": None, "new": "c"}}}]


def test_whoever_asks_by_key_is_told_of_all_rows_of_one_that_changed(lake: Any, tmp_path: Path) -> None:
    lake.create("things", {"k": "int64", "v": "string"}, ["k"])
    lake.replace("things", write="append")
    lake.add("things", [{"k": 1, "v": "a"}, {"k": 1, "v": "b"}, {"k": 2, "v": "x"}])
    former = lake.tables["things"]
    lake.add("things", [{"k": 1, "v": "c"}])
    views = [make_view(table, lake.views, lake.reader, "things").table for table in scopes(former, lake.tables["things"])]
    pair = Pair(*views, ("k",), distinct=False)
    told = [row for batch in changed_keys(pair, ["v"], tmp_path) for row in batch.to_pylist()]
    assert told == [{"key": "[1]", "there": True}] * 3
    rows = [row for batch in changed_rows(pair, ["v"], tmp_path) for row in batch.to_pylist()]
    assert sorted((row["v"], row[WAS], row[IS]) for row in rows) == [("a", True, True), ("b", True, True), ("c", False, True)]


def test_columns_that_came_and_changed_their_type(lake: Any) -> None:
    lake.create("things", {"k": "int64", "v": "int64"}, ["k"])
    lake.add("things", [{"k": 1, "v": 5}, {"k": 2, "v": 7}])
    former = lake.tables["things"]
    columns = (Column(1, "k", "int64"), Column(2, "v", "string"), Column(3, "more", "date"))
    lake.tables["things"] = replace(former, files=(), schemas=(Schema(2, columns),), version=9)
    lake.add("things", [{"k": 1, "v": "5", "more": None}, {"k": 2, "v": "07", "more": None}])
    found = compared(lake, former, lake.tables["things"])
    assert found.rows == [{"op": "changed", "key": "2", "fields": {"v": {"old": "7", "new": "07"}}}]


def test_only_so_many_are_told_and_all_are_counted(lake: Any) -> None:
    lake.create("things", {"k": "int64"}, ["k"])
    empty = lake.tables["things"]
    lake.add("things", [{"k": number} for number in range(50)])
    found = compared(lake, empty, lake.tables["things"], 3)
    assert (found.added, [row["key"] for row in found.rows]) == (50, ["0", "1", "2"])


def test_rows_of_other_keys_cannot_be_compared(lake: Any) -> None:
    lake.create("things", COLUMNS, ["a"])
    former = lake.tables["things"]
    with pytest.raises(QueryInvalid, match="The key of `things` was a in version 1 and is a, n in version 1"):
        scopes(former, replace(former, primary_key=("a", "n")))
