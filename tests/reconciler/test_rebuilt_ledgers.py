"""A lost catalog gets its journal and its edits back: pending ones, folded ones, and those of a compaction that was killed."""

from __future__ import annotations

import shutil
from typing import Any

import pyarrow.parquet as pq
import pytest
from small_lake import BUCKET, Bench, dataset
from test_edits import change, journal, rows, table

from engines.sql import compacting
from reconciler.rebuilding import Findings, Rebuild
from state.errors import DiskFull

UPSERT = ", primaryKey: id, write: upsert, compaction: {maxDeltas: 3}"
TOLD = ("entity", "field", "old", "new", "op", "actor", "source", "reason", "version", "at")


@pytest.fixture
def lake(bench: Bench) -> Bench:
    bench.write("data/x/a.csv", "id,name,phone\n1,Ann,0001\n2,Bob,0002\n")
    bench.commit(BUCKET, dataset("x", UPSERT))
    bench.settle()
    return bench


def rebuilt(lake: Bench) -> Findings:
    """The catalog is lost, and made again."""
    lake.close()
    shutil.rmtree(lake.folder / "lake/catalog")
    rebuild = Rebuild(lake.state.place, lake.settings)
    found = rebuild.look()
    rebuild.run(found)
    lake.open()
    lake.follower.advance()
    return found


def told(lake: Bench) -> list[tuple[Any, ...]]:
    return sorted(journal(lake, *TOLD), key=str)


def test_the_journal_comes_back_and_versions_go_on(lake: Bench) -> None:
    change(lake, "row-set", key="1", set={"phone": "0099"})
    lake.write("data/x/b.csv", "id,name,phone\n2,Bo,0002\n")
    lake.settle()
    before, ledgers = told(lake), {(ledger.kind, ledger.ref, ledger.rows, ledger.source) for ledger in table(lake).ledgers}
    found = rebuilt(lake)
    assert found.left_out == ()
    assert (told(lake), table(lake).version) == (before, 4)
    assert {(ledger.kind, ledger.ref, ledger.rows, ledger.source) for ledger in table(lake).ledgers} == ledgers
    change(lake, "row-set", key="1", set={"phone": "0100"})
    assert [row[-2] for row in told(lake) if row[3] == "0100"] == [5]


def test_folds_come_back_and_not_what_they_were_made_of(lake: Bench) -> None:
    for number in range(7):
        change(lake, "row-set", key="1", set={"phone": f"00{number}"})
        change(lake, "row-set", key=str(50 + number), set={"name": "N"}, create=True)
        lake.settle()
    before, now = told(lake), rows(lake)
    kinds = ledger_kinds(lake)
    rebuilt(lake)
    assert (told(lake), rows(lake)) == (before, now)
    assert ledger_kinds(lake) == kinds
    lake.settle()
    assert (told(lake), rows(lake)) == (before, now)


def ledger_kinds(lake: Bench) -> list[str]:
    return sorted(ledger.kind for ledger in table(lake).ledgers if ledger.kind != "profile")


@pytest.mark.parametrize("lost", [True, False])
def test_edits_outlive_the_loss_and_a_table_made_anew(lake: Bench, lost: bool) -> None:
    change(lake, "row-set", key="1", set={"phone": "0099"})
    change(lake, "row-delete", key="2")
    change(lake, "row-set", key="3", set={"name": "Cid"}, create=True)
    lake.settle()
    change(lake, "row-set", key="3", set={"phone": "0003"})
    now = [(1, "Ann", "0099"), (3, "Cid", "0003")]
    assert {file.source.split(":")[0] for file in table(lake).files} == {"compaction", "edit"}
    lake.commit(BUCKET, dataset("x", UPSERT + ", columns: {name: string, id: int64}"))
    lake.settle()
    assert rows(lake) == now
    if lost:
        rebuilt(lake)
    lake.settle()
    assert rows(lake) == now
    lake.commit(BUCKET, dataset("x", UPSERT + ", columns: {name: string, id: string}"))
    lake.settle()
    assert rows(lake) == [(str(key), *rest) for key, *rest in now]


def test_contents_that_were_folded_are_not_read_again(lake: Bench) -> None:
    for number in range(3):
        lake.write("data/x/a.csv", f"id,name,phone\n1,Ann,000{number}\n{number + 5},N,\n")
        lake.settle()
    change(lake, "row-set", key="1", set={"phone": "0099"})
    lake.collect()
    now, folded = rows(lake), dict(table(lake).folded)
    assert len(folded) == 4
    rebuilt(lake)
    lake.settle()
    assert (rows(lake), dict(table(lake).folded)) == (now, folded)
    assert {path: binding.present for path, binding in table(lake).bindings.items()} == {"data/x/a.csv": True}


@pytest.mark.parametrize("stored", [1, 2])
def test_a_compaction_that_was_killed(lake: Bench, stored: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        change(lake, "row-set", key="1", set={"phone": f"00{number}"})
    before, now = [row[:-1] for row in told(lake)], rows(lake)
    put = compacting.StagedParts.put

    def killed(parts: Any) -> None:
        parts._staged = dict(list(parts._staged.items())[:stored])
        put(parts)
        raise DiskFull("primary", "lake")

    monkeypatch.setattr(compacting.StagedParts, "put", killed)
    lake.settle()
    monkeypatch.setattr(compacting.StagedParts, "put", put)
    assert len([info for info in lake.store.list("datasets/x/") if "/profile/" not in info.key]) == 8 + stored
    rebuilt(lake)
    lake.settle()
    # what is folded has the instants of its versions
    assert ([row[:-1] for row in told(lake)], rows(lake)) == (before, now)
    lake.commit(BUCKET, dataset("x", UPSERT + ", columns: {name: string, id: int64}"))
    lake.settle()
    assert rows(lake) == now


def aside(lake: Bench, name: str = "x") -> list[tuple[Any, ...]]:
    """(source, line, rule) of the rows in quarantine."""
    held = lake.catalog.table(name)
    assert held is not None
    refs = [ledger.ref for ledger in held.ledgers if ledger.kind == "quarantine"]
    found = [row for ref in refs for row in pq.read_table(lake.state.objects.path(ref), partitioning=None).to_pylist()]
    return sorted((row["source"].rpartition("/")[2], row["line"], row["rule"]) for row in found)


HOURS = ", contract: {ranges: {hours: {min: 0, max: 168}}}"


@pytest.mark.parametrize("write", ["append", "replace", "upsert", "upsert, compaction: {maxDeltas: 1}"])
def test_what_was_set_aside_comes_back_and_goes_with_its_content(bench: Bench, write: str) -> None:
    bench.write("data/x/a.csv", "id,hours\n1,40\n2,200\n3,-1\n")
    bench.write("data/x/b.csv", "id,hours\n4,40\n5,201\n")
    bench.commit(BUCKET, dataset("x", f"{HOURS}, primaryKey: id, write: {write}"))
    bench.settle()
    expected = [("a.csv", 3, "range: hours"), ("a.csv", 4, "range: hours"), ("b.csv", 3, "range: hours")]
    assert aside(bench) == expected
    rebuilt(bench)
    assert aside(bench) == expected
    assert "3 in quarantine" in bench.settle()["Dataset/x"].message
    bench.write("data/x/a.csv", "id,hours\n1,40\n2,20\n")
    bench.settle()
    assert aside(bench) == expected[2:]


def test_what_a_changed_contract_takes_does_not_come_back(bench: Bench) -> None:
    """The rows are in the table by then, and the former ledger is not collected yet."""
    bench.write("data/x/a.csv", "id,hours\n1,40\n2,200\n")
    bench.commit(BUCKET, dataset("x", HOURS))
    bench.settle()
    bench.commit(BUCKET, dataset("x", HOURS.replace("168", "300")))
    assert bench.settle()["Dataset/x"].message.startswith("2 rows")
    assert len(list(bench.store.list("datasets/x/quarantine/"))) == 1
    rebuilt(bench)
    assert aside(bench) == []
    assert bench.settle()["Dataset/x"].message.startswith("2 rows from 1 file, version")


@pytest.mark.parametrize("write", ["append", "upsert, primaryKey: id", "upsert, primaryKey: id, compaction: {maxDeltas: 1}"])
@pytest.mark.parametrize("before", [True, False])
def test_what_waits_for_another_dataset_is_judged_again(bench: Bench, write: str, before: bool) -> None:
    """before: the other dataset has the value already when the catalog is lost."""
    bench.write("data/people/a.csv", "id\nann\n")
    bench.write("data/x/a.csv", "id,who\n1,ann\n2,bob\n")
    bench.write("data/x/b.csv", "id,who\n3,ann\n4,cyd\n")
    bench.commit(BUCKET, dataset("x", f", contract: {{references: {{who: people.id}}}}, write: {write}"), dataset("people"))
    bench.settle()
    both = [("a.csv", 3, "reference: who"), ("b.csv", 3, "reference: who")]
    assert aside(bench) == both
    bench.write("data/people/b.csv", "id\nbob\n")
    if before:
        bench.settle()
        assert aside(bench) == both[1:]
    rebuilt(bench)
    assert aside(bench) in (both, both[1:])
    bench.settle()
    assert aside(bench) == both[1:]
    assert rows(bench, columns=["id", "who"]) == [(1, "ann"), (2, "bob"), (3, "ann")]


def test_ledgers_that_only_the_mirror_has_are_fetched(bench: Bench) -> None:
    """All of them, once the catalog was rebuilt from there: the bucket's own objects are gone."""
    copy = BUCKET.replace("primary", "copy").replace("lake}", "copy}")
    rescued = BUCKET.replace("path: lake}", "path: lake}, rescue: {bucket: copy}")
    bench.write("data/x/a.csv", "id,hours\n1,40\n2,200\n")
    bench.commit(rescued, copy, dataset("x", f"{HOURS}, primaryKey: id, write: upsert"))
    bench.settle()
    change(bench, "row-set", key="1", set={"hours": "41"})
    before, kinds = journal(bench, *TOLD), ledger_kinds(bench)
    keys = {ledger.ref.key for ledger in table(bench).ledgers}
    shutil.copytree(bench.folder / "lake/datasets", bench.folder / "copy/datasets")
    shutil.rmtree(bench.folder / "lake/datasets")
    rebuilt(bench)
    bench.finish("Bucket/primary")
    bench.finish("Bucket/copy")
    assert bench.settle()["Dataset/x"].ready == "True"
    assert (journal(bench, *TOLD), ledger_kinds(bench)) == (before, kinds)
    assert aside(bench) == [("a.csv", 3, "range: hours")]
    assert rows(bench, columns=["id", "hours"]) == [(1, 41)]
    assert keys <= {info.key for info in bench.store.list("datasets/x/")}


def test_a_base_that_compaction_made_is_of_its_dataset(bench: Bench) -> None:
    """Which SQL calls by another name."""
    bench.write("data/team-runs/a.csv", "id,v\n1,a\n")
    bench.commit(BUCKET, dataset("team-runs", ", primaryKey: id, write: upsert, compaction: {maxDeltas: 1}"))
    bench.settle()
    bench.write("data/team-runs/b.csv", "id,v\n1,b\n")
    bench.settle()
    before = bench.catalog.table("team-runs")
    assert before is not None
    assert [file.source.partition(":")[0] for file in before.files] == ["compaction"]
    found = rebuilt(bench)
    assert [table.name for table in found.tables] == ["team-runs"]
    after = bench.catalog.table("team-runs")
    assert after is not None
    assert [file.key for file in after.files] == [file.key for file in before.files]
    assert {one.kind for one in after.ledgers} >= {"journal", "profile"}
