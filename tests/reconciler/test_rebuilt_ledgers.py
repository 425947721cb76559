"""A lost catalog gets its journal and its edits back: pending ones, folded ones, and those of a compaction that was killed."""

from __future__ import annotations

import shutil
from typing import Any

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
    before, now = told(lake), rows(lake)
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
    assert (told(lake), rows(lake)) == (before, now)
    lake.commit(BUCKET, dataset("x", UPSERT + ", columns: {name: string, id: int64}"))
    lake.settle()
    assert rows(lake) == now
