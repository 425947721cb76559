"""A version rebuilt from an older one and the journal: edits, files, deletions, compaction; and journals that do not tell it all."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_lake import BUCKET, Bench, dataset
from test_edits import change, table

from engines.errors import QueryInvalid
from engines.files.journal import SCHEMA
from engines.sql.replay import Replayed, first_start, loads, replay, shaped_since
from engines.sql.views import make_view
from state.catalog.tables import Table

UPSERT = ", primaryKey: id, write: upsert, compaction: {maxDeltas: 4}"


@pytest.fixture
def lake(bench: Bench) -> Bench:
    bench.write("data/x/a.csv", "id,name,phone\n1,Ann,0001\n2,Bob,0002\n3,Cid,\n")
    bench.commit(BUCKET, dataset("x", UPSERT))
    bench.settle()
    return bench


def journal(lake: Bench, name: str = "x") -> list[Path]:
    present = lake.catalog.table(name)
    assert present is not None
    return [lake.state.objects.path(ledger.ref) for ledger in present.ledgers if ledger.kind == "journal"]


def replayed(lake: Bench, scratch: Path, upto: int | None = None, files: list[Path] | None = None, name: str = "x") -> Replayed:
    present = lake.catalog.table(name)
    assert present is not None
    told = journal(lake, name) if files is None else files
    target = present if upto is None else present.as_of(upto)
    kept = [version for version, _ in present.versions]
    start = present.as_of(first_start(kept, loads(told, target.version), target.version, name, shaped=shaped_since(present, target)))

    def view(found: Table) -> object:
        return make_view(found, lake.folder / "views", lake.state.objects, name).table

    scratch.mkdir(exist_ok=True)
    return replay(view(start), view(target), told, scratch)  # type: ignore[arg-type]


def test_every_change_since_is_in_the_journal(lake: Bench, tmp_path: Path) -> None:
    change(lake, "row-set", key="1", set={"phone": "0099"})
    change(lake, "row-delete", key="2")
    lake.write("data/x/b.csv", "id,name,phone,city\n3,Cyd,0003,Oslo\n4,Dan,0004,\n")
    lake.settle()
    change(lake, "row-set", key="2", set={"name": "Bo"}, create=True)
    change(lake, "row-set", key="4", set={"phone": None})
    before = len(table(lake).former)
    lake.settle()
    assert len(table(lake).former) > before, "deltas were folded"
    change(lake, "row-delete", key="4")
    done = replayed(lake, tmp_path / "now")
    assert (done.proven, done.rebuilt.rows, done.entities, done.wrong) == (True, 3, 4, 0)
    assert replayed(lake, tmp_path / "then", 4).proven
    assert done.rebuilt.digest != replayed(lake, tmp_path / "again", 4).rebuilt.digest


def test_a_journal_that_misses_something_proves_nothing(lake: Bench, tmp_path: Path) -> None:
    change(lake, "row-set", key="1", set={"phone": "0099", "name": "An"})
    change(lake, "row-delete", key="2")
    files = journal(lake)
    rows = pa.concat_tables([pq.read_table(path, partitioning=None) for path in files])
    for number, kept in enumerate(
        (rows.filter(pa.compute.field("entity").is_null() | (pa.compute.field("field") != "phone")), rows.slice(0, 3))
    ):
        pq.write_table(kept.cast(SCHEMA), tmp_path / f"{number}.parquet")
    done = replayed(lake, tmp_path / "a", files=[tmp_path / "0.parquet"])
    assert (done.proven, done.wrong, done.differing) == (False, 1, ("1",))
    done = replayed(lake, tmp_path / "b", files=[tmp_path / "1.parquet"])
    assert (done.proven, done.wrong, done.differing, done.rebuilt.rows) == (False, 1, ("2",), 3)


def test_it_begins_after_the_last_load(lake: Bench, tmp_path: Path) -> None:
    change(lake, "row-set", key="1", set={"phone": "0099"})
    lake.write("data/x/b.csv", "id,name,phone\n" + "".join(f"{number},N,\n" for number in range(100, 1200)))
    lake.settle()
    with pytest.raises(QueryInvalid, match=r"Version 3 of `x` took 1,100 rows from data/x/b.csv, which the journal counts"):
        replayed(lake, tmp_path)
    change(lake, "row-set", key="100", set={"phone": "1"})
    done = replayed(lake, tmp_path / "later")
    assert (done.proven, done.changes, done.versions) == (True, 1, (4,))
    assert replayed(lake, tmp_path / "before", 2).proven


@pytest.mark.parametrize(
    ("more", "row"),
    [
        (", migrations: [{from: 1, rename: {name: label}, expression: {twice: 'n * 2'}}]", "id,label,n,twice\n4,Dan,4,8\n"),
        ("", "id,name,n\n4,Dan,4.5\n"),
    ],
    ids=["a migration", "a widening"],
)
def test_it_begins_after_what_changed_columns(bench: Bench, tmp_path: Path, more: str, row: str) -> None:
    bench.write("data/x/a.csv", "id,name,n\n1,Ann,1\n2,Bob,2\n")
    bench.commit(BUCKET, dataset("x", UPSERT))
    bench.settle()
    change(bench, "row-set", key="1", set={"n": "3"})
    bench.commit(BUCKET, dataset("x", UPSERT + more))
    bench.settle()
    bench.write("data/x/b.csv", row)
    bench.settle()
    made = next(version.version for version in reversed(list(table(bench).history())) if version.schema.id == 2)
    assert replayed(bench, tmp_path / "before", 2).proven
    with pytest.raises(QueryInvalid, match=f"Version {made} of `x` has other columns than those before it"):
        replayed(bench, tmp_path / "across", made)
    change(bench, "row-set", key="1", set={"n": "7"})
    done = replayed(bench, tmp_path / "after")
    assert (done.proven, done.versions[-1]) == (True, table(bench).version)


@pytest.mark.parametrize("write", ["upsert", "replace"])
def test_rows_that_come_out_of_quarantine_are_told(bench: Bench, tmp_path: Path, write: str) -> None:
    """Where a dataset that they refer to has changed; not those that came again since."""
    bench.write("data/people/a.csv", "id\nann\n")
    bench.write("data/x/a.csv", "id,who,n\n1,ann,1\n2,bob,1\n3,bob,1\n")
    bench.commit(BUCKET, dataset("x", f", contract: {{references: {{who: people.id}}}}, primaryKey: id, write: {write}"), dataset("people"))
    bench.settle()
    if write == "upsert":
        bench.write("data/x/b.csv", "id,who,n\n3,ann,2\n")
        bench.settle()
    bench.write("data/people/b.csv", "id\nbob\n")
    assert bench.settle()["Dataset/x"].message.startswith("3 rows" if write == "replace" else "4 rows")
    told = [change for path in journal(bench) for change in pq.read_table(path, partitioning=None).to_pylist()]
    newest = [(row["entity"], row["op"], row["source"]) for row in told if row["version"] == table(bench).version and row["field"] == "id"]
    assert newest == [(key, "insert", "data/x/a.csv") for key in (["2"] if write == "upsert" else ["2", "3"])]
    assert replayed(bench, tmp_path / "replay").proven


@pytest.mark.parametrize(
    ("kept", "counted", "target", "wanted", "start"),
    [
        ([1, 2, 3], [1], 3, None, 1),
        ([2, 3, 4], [1], 4, None, 2),
        ([1, 2, 3], [1], 3, 2, 2),
        ([1, 2, 3], [1, 2], 3, None, 2),
        ([1, 2, 3], [1, 2], 3, 1, None),
        ([1], [1], 1, None, None),
        ([3], [1], 3, None, None),
        ([1, 2, 3], [3], 3, None, None),
    ],
)
def test_where_it_begins(kept: list[int], counted: list[int], target: int, wanted: int | None, start: int | None) -> None:
    from engines.sql.replay import Load

    told = [Load(version, "f", 1) for version in counted]
    if start is None:
        with pytest.raises(QueryInvalid):
            first_start(kept, told, target, "x", wanted)
    else:
        assert first_start(kept, told, target, "x", wanted) == start
