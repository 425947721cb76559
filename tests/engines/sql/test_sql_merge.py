from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.errors import EngineError, QueryInvalid
from engines.reading import TableName
from engines.sql.scan import scan
from engines.sql.session import Session
from engines.sql.source import Folder, LakeTable, source_from_dict
from engines.sql.views import split

COLUMNS = {"a": "string", "n": "int64", "note": "string"}
KEYS = st.tuples(st.sampled_from(["", "a", "b", "é", "zz"]), st.integers(0, 6))
FILES = st.lists(st.dictionaries(KEYS, st.sampled_from([None, "x", "", "long " * 5]), min_size=1, max_size=12), max_size=5)


def scanned(lake: Any, name: str, columns: list[str]) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for batch in scan(lake.source(name), columns) for row in batch.to_pylist()]


def queried(lake: Any, name: str, sql: str) -> pa.Table:
    with Session().frame(sql, {}, [lake.source(name)]) as frame:
        return frame.to_arrow_table()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bases=st.integers(0, 2), files=FILES)
def test_a_read_gives_the_newest_row_of_each_key(new_lake: Any, bases: int, files: list[dict[tuple[str, int], str | None]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = new_lake(Path(folder))
        lake.create("things", COLUMNS, ["a", "n"])
        model: dict[tuple[str, int], str | None] = {}
        for number, rows in enumerate(files):
            role = "base" if number < bases else "delta"
            # Base files hold each key once among them.
            new = {key: note for key, note in rows.items() if role == "delta" or key not in model}
            if new:
                lake.add("things", [{"a": a, "n": n, "note": note} for (a, n), note in sorted(new.items())], role)
                model |= new
        rows = sorted((a, n, note) for (a, n), note in model.items()) if model else []
        found = queried(lake, "things", "SELECT * FROM things ORDER BY a, n")
        assert [tuple(row.values()) for row in found.to_pylist()] == rows
        count = queried(lake, "things", "SELECT count(*) AS n FROM things WHERE note = 'x'")
        assert count["n"].to_pylist() == [sum(note == "x" for note in model.values())]
        assert scanned(lake, "things", ["note"]) == scanned(lake, "things", ["note"])
        assert sorted(row[1:] for row in scanned(lake, "things", ["a", "n", "note"])) == rows


def test_only_files_that_a_delta_can_touch_are_merged(lake: Any) -> None:
    lake.create("things", {"k": "int64", "v": "string"}, ["k"])
    for first in (0, 100, 200):
        lake.add("things", [{"k": first + n, "v": "old"} for n in range(10)])
    lake.add("things", [{"k": 105, "v": "new"}, {"k": 150, "v": "new"}], "delta")
    parts = split(lake.tables["things"])
    assert [file.key_min for file in parts.base] == [(0,), (200,)]
    assert [file.key_min for file in parts.touched] == [(100,)]
    values = queried(lake, "things", "SELECT k, v FROM things WHERE v = 'new' OR k IN (104, 205) ORDER BY k")
    assert values.to_pylist() == [{"k": 104, "v": "old"}, {"k": 105, "v": "new"}, {"k": 150, "v": "new"}, {"k": 205, "v": "old"}]


def test_keys_whose_ranges_do_not_compare_as_text_are_always_merged(lake: Any) -> None:
    lake.create("things", {"k": "decimal(6,1)", "v": "string"}, ["k"])
    lake.add("things", [{"k": Decimal("9.0"), "v": "old"}])
    lake.add("things", [{"k": Decimal("10.0"), "v": "new"}], "delta")
    assert len(split(lake.tables["things"]).touched) == 1
    assert queried(lake, "things", "SELECT * FROM things").num_rows == 2


def test_deltas_are_merged_once_per_snapshot(lake: Any) -> None:
    lake.create("things", {"k": "int64", "v": "string"}, ["k"])
    lake.add("things", [{"k": 1, "v": "old"}])
    for value in ("new", "newer"):
        lake.add("things", [{"k": 1, "v": value}, {"k": 2, "v": value}], "delta")
    merged = Path(lake.source("things").merged)
    assert not merged.exists()
    assert queried(lake, "things", "SELECT v FROM things").to_pylist() == [{"v": "newer"}] * 2
    made = merged.stat().st_mtime_ns
    assert queried(lake, "things", "SELECT v FROM things").num_rows == 2
    assert merged.stat().st_mtime_ns == made
    assert [path.name for path in merged.parent.iterdir() if path.name.startswith(".")] == []


def test_the_delta_is_the_side_held_in_memory(lake: Any) -> None:
    lake.create("things", {"k": "int64", "v": "string"}, ["k"])
    lake.add("things", [{"k": n, "v": "old"} for n in range(1000)])
    lake.add("things", [{"k": 5, "v": "new"}], "delta")
    plan = "".join(queried(lake, "things", "EXPLAIN SELECT count(v) AS n FROM things")["plan"].to_pylist())
    assert "RightAnti" in plan
    assert "Window" not in plan


def test_a_file_without_a_later_column_gives_nulls_and_narrower_types_widen(lake: Any) -> None:
    lake.create("things", {"k": "int64", "v": "int64"})
    lake.add("things", [{"k": 1, "v": 10}])
    files = lake.tables["things"].files
    lake.create("things", {"late": "string", "v": "float64", "k": "int64"})
    lake.replace("things", files=files)
    lake.add("things", [{"k": 2, "v": 0.5, "late": "x"}])
    rows = queried(lake, "things", "SELECT * FROM things ORDER BY k").to_pylist()
    assert rows == [{"late": None, "v": 10.0, "k": 1}, {"late": "x", "v": 0.5, "k": 2}]


def test_hidden_columns_are_hidden_and_make_the_keys(lake: Any) -> None:
    lake.create("things", {"v": "string"})
    lake.add("things", [{"v": "a"}, {"v": "b"}])
    assert queried(lake, "things", "SELECT * FROM things").column_names == ["v"]
    assert sorted(scanned(lake, "things", ["v"])) == [("digest0:0", "a"), ("digest0:1", "b")]


def test_a_scan_is_the_same_each_time_and_speaks_plainly_of_faults(lake: Any) -> None:
    lake.create("things", {"k": "string", "key": "string"}, ["k"])
    for first in range(3):
        lake.add("things", [{"k": f"{first}-{n:04d}", "key": "x"} for n in range(50)])
    lake.add("things", [{"k": f"{n % 3}-{n:04d}", "key": "y"} for n in range(40)], "delta")
    source = lake.source("things")
    first_time = [batch.to_pylist() for batch in scan(source.to_dict(), ["k"])]
    assert first_time == [batch.to_pylist() for batch in scan(source, ["k"])]
    assert first_time[0][0] == {"key": '["0-0001"]', "k": "0-0001"}
    with pytest.raises(QueryInvalid, match="no column `nope`"):
        list(scan(source, ["nope"]))
    with pytest.raises(QueryInvalid, match="named `key`"):
        list(scan(source, ["key"]))
    for path in (lake.root / "lake").rglob("*.parquet"):
        path.unlink()
    with pytest.raises(EngineError):
        list(scan(source, ["k"]))


def test_an_empty_table_has_columns_and_no_rows(lake: Any) -> None:
    lake.create("things", {"k": "int64", "v": "list<string>"})
    assert queried(lake, "things", "SELECT count(*) AS n, max(k) AS k FROM things").to_pylist() == [{"n": 0, "k": None}]
    assert scanned(lake, "things", ["k"]) == []


def test_sources_cross_as_json(lake: Any) -> None:
    source = LakeTable("t", 3, (("a", "string"),), ("a",), Folder("b", 2), None, Folder("d", 1), "m")
    assert source_from_dict(source.to_dict()) == source
    lake.system["events"] = pa.table({"id": ["a"]})
    arrow = lake.resolver.resolve(TableName("system.events"))
    assert source_from_dict(arrow.to_dict()) == arrow
