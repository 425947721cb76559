"""The journal of a table whose rows are replaced: by field, row by row, whichever read brings them; counted where a key is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness_postgres import Postgres
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_lake import BUCKET, Bench, dataset
from test_bucket_sources import LOCAL, Landing, items
from test_edits import journal, table
from test_replay import replayed
from test_row_sources import Lake, derived, runs

from engines.errors import QueryInvalid
from engines.files import journal as journals
from engines.files import journalling
from engines.sql.readings import PartFile
from engines.sql.replacing import Replacement, RowsOf, Told
from engines.sql.scan import scan
from engines.sql.views import make_view

REPLACE = ", primaryKey: id, write: replace"
CHANGE = ("entity", "field", "old", "new", "op", "source")


def bring(lake: Bench, **files: str | None) -> None:
    """Files by their names, None for one that goes."""
    for name, text in files.items():
        if text is None:
            (lake.folder / f"data/x/{name}.csv").unlink()
        else:
            lake.write(f"data/x/{name}.csv", text)
    assert lake.settle()["Dataset/x"].ready == "True"


@pytest.fixture
def lake(bench: Bench) -> Bench:
    bench.write("data/x/a.csv", "id,name,phone\n1,Ann,0001\n2,Bob,0002\n3,Cid,\n")
    bench.commit(BUCKET, dataset("x", REPLACE))
    bench.settle()
    return bench


def since(lake: Bench, version: int, *fields: str, name: str = "x") -> list[tuple[Any, ...]]:
    """What the journal says of a version, in any order."""
    told = journal(lake, "version", *(fields or CHANGE), name=name)
    return sorted((tuple(row[1:]) for row in told if row[0] == version), key=str)


def test_rows_are_told_by_field(lake: Bench, tmp_path: Path) -> None:
    bring(lake, a="id,name,phone\n2,Bo,0002\n3,Cid,0003\n4,Di,0004\n")
    assert since(lake, 2) == [
        ("1", "id", "1", None, "delete", "data/x/a.csv"),
        ("1", "name", "Ann", None, "delete", "data/x/a.csv"),
        ("1", "phone", "0001", None, "delete", "data/x/a.csv"),
        ("2", "name", "Bob", "Bo", "update", "data/x/a.csv"),
        ("3", "phone", None, "0003", "update", "data/x/a.csv"),
        ("4", "id", None, "4", "insert", "data/x/a.csv"),
        ("4", "name", None, "Di", "insert", "data/x/a.csv"),
        ("4", "phone", None, "0004", "insert", "data/x/a.csv"),
    ]
    done = replayed(lake, tmp_path / "replay")
    assert (done.proven, done.entities, done.rebuilt.rows) == (True, 4, 3)


def test_a_row_that_moves_to_another_file_is_as_it_was(lake: Bench, tmp_path: Path) -> None:
    bring(lake, b="id,name,phone\n7,Gus,\n")
    bring(lake, a="id,name,phone\n1,Ann,0001\n", b="id,name,phone\n2,Bob,0002\n3,Cy,\n7,Gus,\n")
    assert since(lake, 3) == [("3", "name", "Cid", "Cy", "update", "data/x/b.csv")]
    bring(lake, b=None)
    assert [row[:1] + row[4:] for row in since(lake, 4)] == [
        (entity, "delete", "data/x/b.csv") for entity in ("2", "2", "2", "3", "3", "7", "7")
    ]
    assert replayed(lake, tmp_path / "replay").proven


def test_a_content_that_is_put_back_is_told(lake: Bench, tmp_path: Path) -> None:
    """Nothing is read: the other path has it."""
    bring(lake, b="id,name,phone\n7,Gus,\n")
    (lake.folder / "data/x/c.csv").write_bytes((lake.folder / "data/x/a.csv").read_bytes())
    bring(lake, b="id,name,phone\n1,Ann,0001\n2,Bob,0002\n3,Cid,\n")
    assert since(lake, 3, "entity", "field", "op") == [("7", "id", "delete"), ("7", "name", "delete")]
    assert replayed(lake, tmp_path / "replay").proven


def test_a_refused_file_takes_nothing_away(lake: Bench) -> None:
    bring(lake, b="id,name,phone\n7,Gus,\n")
    lake.write("data/x/a.csv", "id,name,phone\n1\n")
    lake.write("data/x/b.csv", "id,name,phone\n7,Guy,\n")
    assert lake.settle()["Dataset/x"].ready == "False"
    assert since(lake, 3) == [("7", "name", "Gus", "Guy", "update", "data/x/b.csv")]


def test_an_emptied_table_loads_again(lake: Bench) -> None:
    bring(lake, a="id,name,phone\n")
    assert {row[4] for row in since(lake, 2)} == {"delete"}
    bring(lake, a="id,name,phone\n1,Ann,0001\n")
    assert since(lake, 3, "op", "new") == [("load", "1")]


def test_columns_that_come_and_types_that_widen(lake: Bench, tmp_path: Path) -> None:
    lake.commit(BUCKET, dataset("x", REPLACE), dataset("y", REPLACE))
    lake.write("data/y/a.csv", "id,n\n1,5\n2,6\n")
    lake.settle()
    lake.write("data/y/a.csv", "id,n,city\n1,5,Oslo\n2,6.5,\n")
    assert lake.settle()["Dataset/y"].ready == "True"
    assert [column.type for column in lake.catalog.table("y").columns] == ["int64", "float64", "string"]  # type: ignore[union-attr]
    assert since(lake, 2, "entity", "field", "old", "new", name="y") == [("1", "city", None, "Oslo"), ("2", "n", "6", "6.5")]
    with pytest.raises(QueryInvalid, match="other columns"):  # the journal tells no row of a widening
        replayed(lake, tmp_path / "replay", name="y")
    lake.write("data/y/a.csv", "id,n,city\n1,5,Bergen\n2,6.5,\n")
    lake.settle()
    assert replayed(lake, tmp_path / "replay", name="y").proven


def test_rows_that_share_a_key_are_counted_where_they_differ(lake: Bench, tmp_path: Path) -> None:
    bring(lake, a="id,name,phone\n1,Ann,0001\n1,Ann,0009\n2,Bob,0002\n3,Cid,\n")
    assert since(lake, 2, "op", "old", "new") == [("load", None, "1")]
    bring(lake, a="id,name,phone\n1,Ann,0001\n1,Ann,0009\n2,Bo,0002\n3,Cid,\n")
    assert since(lake, 3) == [("2", "name", "Bob", "Bo", "update", "data/x/a.csv")]
    assert replayed(lake, tmp_path / "a").proven
    bring(lake, a="id,name,phone\n1,Ann,0001\n1,An,0008\n2,Bo,0002\n3,Cid,\n")
    assert since(lake, 4, "op", "old", "new") == [("load", None, "1"), ("unload", "1", None)]
    with pytest.raises(QueryInvalid):
        replayed(lake, tmp_path / "b")


def test_a_key_that_another_file_has_is_shared(lake: Bench, tmp_path: Path) -> None:
    bring(lake, b="id,name,phone\n2,Bob,0099\n8,Hal,\n")
    assert since(lake, 2, "entity", "op", "new") == [("8", "insert", "8"), ("8", "insert", "Hal"), (None, "load", "1")]
    bring(lake, b="id,name,phone\n8,Hal,\n")
    assert since(lake, 3, "entity", "op", "old") == [(None, "unload", "1")]


def test_many_new_rows_are_a_load(lake: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journalling, "MOST_INSERTS", 2)
    bring(lake, a="id,name,phone\n1,An,0001\n" + "".join(f"{number},N,\n" for number in range(10, 13)))
    assert since(lake, 2, "op", "entity", "new")[-1] == ("update", "1", "An")
    assert ("load", None, "3") in since(lake, 2, "op", "entity", "new")


@pytest.mark.parametrize("way", ["gone", "damaged"])
def test_rows_that_cannot_be_read_any_more_are_counted(lake: Bench, way: str) -> None:
    """What is damaged is found out while it is compared; the new rows are taken all the same."""
    path = lake.store.path(table(lake).files[0].key)
    assert path is not None
    if way == "gone":
        path.unlink()
    else:
        path.chmod(0o644)
        data = bytearray(path.read_bytes())
        data[4:60] = bytes(56)
        path.write_bytes(data)
    bring(lake, a="id,name,phone\n1,Ann,0002\n")
    told = since(lake, 2, "op", "old", "new", "source")
    assert ("unload", "3", None, "data/x/a.csv") in told
    assert {row[0] for row in told} == {"unload", "insert"}


def test_a_file_that_turns_out_to_be_damaged_is_named(tmp_path: Path) -> None:
    columns = [("id", pa.int64()), ("v", pa.string())]
    for name, ids in (("a", [1, 2]), ("b", [3]), ("c", [1, 3])):
        pq.write_table(pa.table({"id": ids, "v": ["x" for _ in ids]}, pa.schema(columns)), tmp_path / name)
    damaged = bytearray((tmp_path / "a").read_bytes())
    damaged[4:40] = bytes(36)
    (tmp_path / "a").write_bytes(damaged)
    a, b, c = (RowsOf(name, (PartFile(str(tmp_path / name)),)) for name in "abc")
    (tmp_path / "scratch").mkdir()
    comparison = Replacement(("id",), [("id", "int64"), ("v", "string")], columns, tmp_path / "scratch")
    (found,) = comparison.compared([a, b], [c], None)
    assert isinstance(found, Told)
    assert (comparison.unread, found.name, found.pairs["id"].to_pylist()) == ([0], "c", [1])


def test_ranges_of_keys_and_several_files_of_the_journal(lake: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engines.sql import spool

    monkeypatch.setattr(spool, "RANGE_ROWS", 7)
    monkeypatch.setattr(journals, "GATHERED_ROWS", 10)
    monkeypatch.setattr(journals, "FILE_ROWS", 20)
    bring(lake, a="id,name,phone\n" + "".join(f"{number},N{number},\n" for number in range(100)))
    bring(lake, a="id,name,phone\n" + "".join(f"{number},N{number},{number if number % 3 else ''}\n" for number in range(5, 95)))
    told = since(lake, 3, "entity", "field", "op")
    assert {int(entity) for entity, _, op in told if op == "delete"} == {*range(5), *range(95, 100)}
    assert {int(entity) for entity, field, op in told if (field, op) == ("phone", "update")} == {n for n in range(5, 95) if n % 3}
    assert len(told) == 20 + 60
    ledgers = [ledger for ledger in table(lake).ledgers if ledger.kind == "journal" and ledger.version == 3]
    assert sum(ledger.rows for ledger in ledgers) == 80
    assert len(ledgers) > 2
    assert replayed(lake, tmp_path / "replay", upto=3).proven


def test_of_several_columns_and_lists(lake: Bench, tmp_path: Path) -> None:
    spec = dataset("x", ", primaryKey: [a, 'b c'], write: replace", glob="data/x/*.json")
    (lake.folder / "data/x/a.csv").unlink()
    lake.write(
        "data/x/a.json", '[{"a": 1, "b c": "x", "tags": ["p"]}, {"a": 1, "b c": "y", "tags": []}, {"a": 1, "b c": "y", "tags": ["q"]}]'
    )
    lake.commit(BUCKET, spec)
    lake.settle()
    lake.write(
        "data/x/a.json", '[{"a": 1, "b c": "x", "tags": ["p", "q"]}, {"a": 1, "b c": "y", "tags": []}, {"a": 1, "b c": "y", "tags": ["q"]}]'
    )
    lake.settle()
    assert since(lake, 3) == [('[1,"x"]', "tags", '["p"]', '["p","q"]', "update", "data/x/a.json")]
    assert replayed(lake, tmp_path / "replay").proven


def test_tables_without_a_key_are_told_by_file(lake: Bench) -> None:
    lake.commit(BUCKET, dataset("x", ", write: replace"))
    lake.settle()
    bring(lake, a="id,name,phone\n1,Ann,0001\n")
    assert since(lake, 3, "op", "old", "new") == [("load", None, "1"), ("unload", "3", None)]


def test_what_a_query_gives_is_told_by_row(bench: Bench, tmp_path: Path) -> None:
    lake = Lake(bench)
    lake.write("data/items/1.csv", "id,city,n\n1,Boston,3\n2,Chicago,4\n3,Boston,5\n")
    lake.want(dataset("items"), derived("x", "SELECT city, sum(n) AS total FROM items GROUP BY city", ", primaryKey: city"))
    lake.settle("items", "x")
    lake.write("data/items/1.csv", "id,city,n\n1,Boston,4\n3,Boston,5\n4,Austin,1\n")
    lake.settle("items", "x")
    assert since(bench, 2) == [
        ("Austin", "city", None, "Austin", "insert", "sql:query"),
        ("Austin", "total", None, "1", "insert", "sql:query"),
        ("Boston", "total", "8", "9", "update", "sql:query"),
        ("Chicago", "city", "Chicago", None, "delete", "sql:query"),
        ("Chicago", "total", "4", None, "delete", "sql:query"),
    ]
    assert replayed(bench, tmp_path / "replay").proven


@pytest.mark.parametrize("write", ["append", "replace"])
def test_a_database_that_is_read_again_is_told_by_row(
    bench: Bench, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    monkeypatch.setenv("LAKEHOUSE_SECRET__KB__DSN", postgres.dsn)
    postgres.run("CREATE TABLE people AS SELECT i AS id, 'N' || i AS name FROM generate_series(1, 5) AS i")
    lake = Lake(bench)
    lake.want(runs("table: people", f", primaryKey: id, write: {write}", name="x"))
    lake.settle("x")
    postgres.run("UPDATE people SET name = 'Ann' WHERE id = 2")
    postgres.run("DELETE FROM people WHERE id = 5")
    bench.clock.advance(1)
    lake.ask("x")
    lake.settle("x")
    assert since(bench, 2, "entity", "field", "old", "new", "op") == [
        ("2", "name", "N2", "Ann", "update"),
        ("5", "id", "5", None, "delete"),
        ("5", "name", "N5", None, "delete"),
    ]
    assert replayed(bench, tmp_path / "replay").proven


def test_objects_of_a_bucket_are_told_by_row(bench: Bench, tmp_path: Path) -> None:
    lake = Landing(bench, LOCAL)
    lake.want(items(", primaryKey: id, write: replace", name="x"))
    lake.put("incoming/a.csv", "id,city\n1,Boston\n2,Chicago\n")
    lake.put("incoming/b.csv", "id,city\n3,Austin\n")
    lake.ready("x")
    lake.put("incoming/a.csv", "id,city\n1,Boston\n2,Oslo\n")
    lake.store.delete("incoming/b.csv")
    lake.ready("x")
    assert since(bench, 2, "entity", "field", "old", "new") == [
        ("2", "city", "Chicago", "Oslo"),
        ("3", "city", "Austin", None),
        ("3", "id", "3", None),
    ]
    lake.store.delete("incoming/a.csv")
    lake.settle("x")
    assert {row[0] for row in since(bench, 3, "op")} == {"delete"}
    assert replayed(bench, tmp_path / "replay").proven


rows = st.lists(st.tuples(st.integers(1, 6), st.sampled_from(["x", "y", ""]), st.sampled_from(["p", ""])), max_size=6)
steps = st.lists(st.dictionaries(st.sampled_from("abc"), st.none() | rows, min_size=1), min_size=1, max_size=3)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_the_journal_is_the_difference_whatever_comes(tmp_path_factory: pytest.TempPathFactory, steps: Any) -> None:
    """Rows of any files, shared keys among them: a replay over what is told by field proves each version."""
    folder = tmp_path_factory.mktemp("lake")
    lake = Bench(folder)
    lake.write("data/x/a.csv", "id,u,v\n100,x,p\n")
    lake.commit(BUCKET, dataset("x", ", primaryKey: id, write: replace, columns: {u: string, v: string, id: int64}"))
    lake.settle()
    for number, step in enumerate(steps):
        for name, content in step.items():
            path = folder / f"data/x/{name}.csv"
            if content is None:
                path.unlink(missing_ok=True)
            else:
                lake.write(f"data/x/{name}.csv", "id,u,v\n" + "".join(f"{key},{u},{v}\n" for key, u, v in content))
        before = table(lake)
        assert lake.settle()["Dataset/x"].reason in ("Succeeded", "SourceEmpty")
        now = table(lake)
        if now.version == before.version:
            continue
        told = since(lake, now.version, "op", "old", "new")
        went = sum(int(old) for op, old, _ in told if op == "unload")
        came = sum(int(new) for op, _, new in told if op == "load")
        keys = [{op for op, entity in since(lake, now.version, "op", "entity") if entity == key} for key in map(str, range(101))]
        assert all(len(ops) <= 1 for ops in keys)
        more = sum(ops == {"insert"} for ops in keys) - sum(ops == {"delete"} for ops in keys)
        assert now.rows - before.rows == came - went + more
        if not went and not came and before.files:
            assert replayed(lake, folder / f"replay-{number}").proven
    view = make_view(table(lake), folder / "views", lake.state.objects, "x").table
    assert sum(batch.num_rows for batch in scan(view, ["id"])) == table(lake).rows
    lake.close()
