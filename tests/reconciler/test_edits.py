"""Rows set and deleted by hand: what readers see, what the journal keeps, what survives a crash and a table made anew."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq
import pytest
from small_lake import BUCKET, Bench, dataset
from test_operator import ask, ended

from controllers.dataset import edits
from engines.at import table_at
from engines.sql.ledgers import ledger_table
from engines.sql.scan import scan
from engines.sql.views import make_view
from state import reasons
from state.catalog.tables import Table

UPSERT = ", primaryKey: id, write: upsert"
DAY = 24 * 3600.0
COLUMNS = ["id", "name", "phone"]


@pytest.fixture
def lake(bench: Bench) -> Bench:
    bench.write("data/x/a.csv", "id,name,phone\n1,Ann,0001\n2,Bob,0002\n")
    bench.commit(BUCKET, dataset("x", UPSERT))
    bench.settle()
    return bench


def table(lake: Bench) -> Table:
    found = lake.catalog.table("x")
    assert found is not None
    return found


def rows(lake: Bench, moment: int | str | None = None, columns: list[str] = COLUMNS) -> list[tuple[Any, ...]]:
    """As a query sees them, by key."""
    view = make_view(table_at(table(lake), moment), lake.folder / "views", lake.state.objects, "x").table
    return sorted(tuple(row[name] for name in columns) for batch in scan(view, columns) for row in batch.to_pylist())


def journal(lake: Bench, *fields: str, name: str = "x") -> list[tuple[Any, ...]]:
    files = ledger_table("journal", [lake.catalog.objects("Dataset")[f"Dataset/{name}"]]).files
    told = [row for file in files for row in pq.read_table(lake.state.objects.path(file.ref), partitioning=None).to_pylist()]
    return [tuple(row[name] for name in fields) for row in told]


def change(lake: Bench, verb: str, **payload: Any) -> dict[str, Any]:
    request = ask(lake, verb, payload=payload)
    lake.operator.answer()
    return ended(lake, request)


def test_a_changed_file_says_what_it_goes_before(lake: Bench) -> None:
    lake.write("data/x/b.csv", "id,name,phone\n2,Bob,0022\n")
    lake.write("data/x/c.csv", "id,name,phone\n9,Zoe,0009\n")
    lake.settle()
    change(lake, "row-set", key="1", set={"phone": "0099"})
    change(lake, "row-delete", key="2")
    lake.write("data/x/a.csv", "id,name,phone\n1,Anne,0001\n2,Bob,0002\n")
    lake.settle()
    (event,) = lake.events(reasons.ROWS_OVERTAKEN)
    words = "data/x/a.csv was changed, and its rows are the newest: of the same keys they go before "
    assert (event["type"], event["message"]) == ("Warning", words + "1 row set or deleted by hand")
    lake.write("data/x/c.csv", "id,name,phone\n9,Zoe,0010\n")
    lake.settle()
    assert len(lake.events(reasons.ROWS_OVERTAKEN)) == 1


def test_a_field_is_set(lake: Bench) -> None:
    row = change(lake, "row-set", key="1", set={"phone": "0099"})
    assert (row["outcome"], row["message"]) == ("done", "row 1: phone 0001 → 0099, version 2")
    assert rows(lake) == [(1, "Ann", "0099"), (2, "Bob", "0002")]
    assert rows(lake, 1) == [(1, "Ann", "0001"), (2, "Bob", "0002")]
    told = journal(lake, "dataset", "entity", "field", "old", "new", "op", "actor", "source", "reason", "version")
    assert told == [
        ("x", None, None, None, "2", "load", "daemon", "data/x/a.csv", "there is no table yet", 1),
        ("x", "1", "phone", "0001", "0099", "update", "ada@home", f"request {row['request']}", "because", 2),
    ]
    lake.settle()
    assert table(lake).version == 2


def test_a_row_is_deleted_and_created(lake: Bench) -> None:
    change(lake, "row-delete", key="2")
    assert rows(lake) == [(1, "Ann", "0001")]
    assert change(lake, "row-delete", key="2")["outcome"] == "refused"
    assert change(lake, "row-set", key="2", set={"name": "Bo"})["outcome"] == "refused"
    assert change(lake, "row-set", key="2", set={"name": "Bo"}, create=True)["outcome"] == "done"
    assert rows(lake) == [(1, "Ann", "0001"), (2, "Bo", None)]
    assert [row for row in journal(lake, "op", "field", "old", "new") if row[0] != "load"] == [
        ("delete", "id", "2", None),
        ("delete", "name", "Bob", None),
        ("delete", "phone", "0002", None),
        ("insert", "id", None, "2"),
        ("insert", "name", None, "Bo"),
    ]


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"key": "9", "set": {"name": "x"}}, "x has no row 9. `--create` adds it."),
        ({"key": "x", "set": {"name": "x"}}, "`id` is int64, and 'x' is none."),
        ({"key": "1", "set": {"nam": "x"}}, "x has no column `nam`. Did you mean `name`?"),
        ({"key": "1", "set": {"id": "3"}}, "`id` is in the primary key and cannot change."),
        ({"key": "1", "set": {"name": 3}}, "`set` needs text or null by column."),
        ({"key": "1"}, "`set` needs text or null by column."),
        ({"set": {"name": "x"}}, "`key` needs the text of a row's key."),
    ],
)
def test_what_cannot_be_done_is_refused(lake: Bench, payload: dict[str, Any], words: str) -> None:
    row = change(lake, "row-set", **payload)
    assert row["outcome"] == "refused"
    assert row["message"].startswith(words)
    assert table(lake).version == 1


def test_a_key_is_taken_as_hits_and_the_journal_show_it(lake: Bench) -> None:
    assert change(lake, "row-set", key="[1]", set={"phone": "0099"})["message"].startswith("row [1]: phone")
    assert change(lake, "row-set", key="[1, 2]", set={"phone": "0099"})["outcome"] == "refused"


def test_nothing_to_change_makes_no_version(lake: Bench) -> None:
    assert change(lake, "row-set", key="1", set={"name": "Ann"})["message"] == "row 1 is so already"
    assert table(lake).version == 1


def test_rows_without_keys_are_refused(lake: Bench) -> None:
    lake.commit(BUCKET, dataset("x"))
    lake.settle()
    assert "its `write` is append" in change(lake, "row-set", key="1", set={"name": "x"})["message"]


def test_tables_without_keys_are_told_by_file(lake: Bench) -> None:
    lake.write("data/y/a.csv", "n\n1\n2\n")
    lake.commit(BUCKET, dataset("x", UPSERT), dataset("y"))
    lake.settle()
    lake.write("data/y/a.csv", "n\n1\n2\n3\n")
    lake.settle()
    lake.commit(BUCKET, dataset("x", UPSERT), dataset("y", ", columns: {n: string}"))
    lake.settle()
    told = journal(lake, "op", "old", "new", "source", "version", name="y")
    assert told == [
        ("load", None, "2", "data/y/a.csv", 1),
        ("load", None, "3", "data/y/a.csv", 2),
        ("unload", "2", None, "data/y/a.csv", 2),
        ("load", None, "3", "data/y/a.csv", 3),
    ]


def test_a_later_file_takes_the_row_over(lake: Bench) -> None:
    change(lake, "row-set", key="1", set={"phone": "0099"})
    lake.write("data/x/b.csv", "id,name,phone\n1,Ann,0007\n")
    lake.settle()
    assert rows(lake) == [(1, "Ann", "0007"), (2, "Bob", "0002")]
    assert journal(lake, "field", "old", "new", "source", "version")[-1] == ("phone", "0099", "0007", "data/x/b.csv", 3)


def test_a_content_that_comes_back_is_told_as_well(lake: Bench) -> None:
    """Its rows are there already and become the newest again."""
    first = "id,name,phone\n1,Ann,0001\n2,Bob,0002\n"
    lake.write("data/x/a.csv", first.replace("0001", "0005"))
    lake.settle()
    lake.write("data/x/a.csv", first)
    lake.settle()
    assert rows(lake) == [(1, "Ann", "0001"), (2, "Bob", "0002")]
    told = [row for row in journal(lake, "field", "old", "new", "source", "version") if row[0]]
    assert told == [("phone", "0001", "0005", "data/x/a.csv", 2), ("phone", "0005", "0001", "data/x/a.csv", 3)]


def test_a_table_made_anew_is_given_its_edits_again_in_their_place(lake: Bench) -> None:
    change(lake, "row-set", key="1", set={"phone": "0099"})
    change(lake, "row-delete", key="2")
    lake.write("data/x/b.csv", "id,name,phone\n3,Cy,0003\n")
    lake.settle()
    change(lake, "row-set", key="3", set={"phone": "0033"})
    lake.write("data/x/c.csv", "id,name,phone\n1,Ann,0005\n")
    lake.settle()
    before = rows(lake)
    assert before == [(1, "Ann", "0005"), (3, "Cy", "0033")]
    for spec in (UPSERT + ", columns: {name: {type: binary}}", UPSERT):
        lake.commit(BUCKET, dataset("x", spec))
        assert lake.settle()["Dataset/x"].ready == "True"
        assert rows(lake, columns=["id", "phone"]) == [(1, "0005"), (3, "0033")]
    assert rows(lake) == before


class Killed(BaseException):
    """Nothing in the process sees to it."""


@pytest.mark.parametrize("where", ["edits.before-commit", "edits.after-commit"])
def test_a_crash_does_it_once(lake: Bench, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    request = ask(lake, "row-set", payload={"key": "1", "set": {"phone": "0099"}})

    def killed(point: str) -> None:
        if point == where:
            raise Killed

    monkeypatch.setattr(edits, "hit", killed)
    with pytest.raises(Killed):
        lake.operator.answer()
    monkeypatch.undo()
    lake.open()
    lake.follower.advance()
    lake.operator.answer()
    assert ended(lake, request)["outcome"] == "done"
    assert rows(lake) == [(1, "Ann", "0099"), (2, "Bob", "0002")]
    assert table(lake).version == 2
    assert journal(lake, "op") == [("load",), ("update",)]


def test_an_edit_that_was_folded_before_it_was_answered_is_not_done_twice(lake: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two crashes: one keeps its end from being told, the next comes after compaction has made one file of it and others."""
    change(lake, "row-set", key="2", set={"phone": "0022"})
    request = ask(lake, "row-set", payload={"key": "1", "set": {"phone": "0099"}})

    def killed(point: str) -> None:
        if point == "edits.after-commit":
            raise Killed

    monkeypatch.setattr(edits, "hit", killed)
    with pytest.raises(Killed):
        lake.operator.answer()
    monkeypatch.undo()
    (waiting,) = lake.requests.pending()
    lake.requests.remove(waiting.id)
    lake.open()
    compaction(lake, "maxDeltas: 2")
    change(lake, "row-set", key="1", set={"phone": "0100"})
    compaction(lake, "maxDeltas: 1")
    assert not any(request in ledger.source for ledger in table(lake).ledgers)
    lake.requests.submit(waiting)
    lake.open()
    lake.follower.advance()
    lake.operator.answer()
    row = ended(lake, request)
    assert (row["outcome"], row["message"]) == ("done", "it was done before")
    assert rows(lake) == [(1, "Ann", "0100"), (2, "Bob", "0022")]


def test_a_tombstone_of_a_file_deletes(lake: Bench) -> None:
    lake.commit(BUCKET, dataset("x", UPSERT + ", tombstone: gone"))
    lake.write("data/x/b.csv", "id,name,phone,gone\n1,,,true\n3,Cy,0003,false\n4,,,true\n")
    lake.settle()
    assert rows(lake) == [(2, "Bob", "0002"), (3, "Cy", "0003")]
    assert [column.name for column in table(lake).columns] == COLUMNS
    lake.write("data/x/c.csv", "id,name,phone,gone\n1,Ann,0001,\n")
    lake.settle()
    assert rows(lake) == [(1, "Ann", "0001"), (2, "Bob", "0002"), (3, "Cy", "0003")]


def compaction(lake: Bench, spec: str) -> None:
    lake.commit(BUCKET, dataset("x", UPSERT + f", compaction: {{{spec}}}"))
    assert lake.settle()["Dataset/x"].ready == "True"


def test_deltas_are_folded_into_the_base(lake: Bench) -> None:
    change(lake, "row-set", key="1", set={"phone": "0099"})
    change(lake, "row-delete", key="2")
    lake.write("data/x/b.csv", "id,name,phone\n3,Cy,0003\n")
    lake.settle()
    seen, told = {version: rows(lake, version) for version in (1, 2, 3, 4)}, sorted(journal(lake, "op", "field", "version"), key=str)
    compaction(lake, "maxDeltas: 3")
    assert [(file.role, file.rows, file.deletes) for file in table(lake).files] == [("base", 2, 0)]
    assert table(lake).version == 5
    assert {version: rows(lake, version) for version in seen} == seen
    assert rows(lake) == seen[4] == [(1, "Ann", "0099"), (3, "Cy", "0003")]
    assert sorted(journal(lake, "op", "field", "version"), key=str) == told
    assert len([ledger for ledger in table(lake).ledgers if ledger.kind == "journal"]) == 1
    lake.write("data/x/a.csv", "id,name,phone\n1,Ann,0001\n2,Bob,0002\n4,Di,0004\n")
    lake.settle()
    assert rows(lake) == [(1, "Ann", "0099"), (3, "Cy", "0003"), (4, "Di", "0004")]


def test_what_is_made_anew_after_compaction_has_its_edits(lake: Bench) -> None:
    """But for those that a later file has overtaken."""
    change(lake, "row-set", key="1", set={"phone": "0099"})
    change(lake, "row-set", key="2", set={"phone": "0088"})
    lake.write("data/x/b.csv", "id,name,phone\n2,Bob,0077\n3,Cy,0003\n")
    lake.settle()
    compaction(lake, "maxDeltas: 3")
    assert [ledger.rows for ledger in table(lake).ledgers if ledger.kind == "edit"] == [1]
    change(lake, "row-delete", key="3")
    compaction(lake, "maxDeltas: 1")
    before = rows(lake)
    assert before == [(1, "Ann", "0099"), (2, "Bob", "0077")]
    for more in (", columns: {name: {type: binary}}", ""):
        compaction(lake, "maxDeltas: 9}" + more.replace("}}", "}") if more else "maxDeltas: 9")
    assert rows(lake) == before


def test_a_damaged_base_is_made_again_from_everything(lake: Bench) -> None:
    change(lake, "row-set", key="1", set={"phone": "0099"})
    compaction(lake, "maxDeltas: 1")
    (file,) = table(lake).files
    lake.store.delete(file.key)
    lake.checks.ask("x")
    assert lake.settle()["Dataset/x"].ready == "True"
    assert rows(lake) == [(1, "Ann", "0099"), (2, "Bob", "0002")]


def test_an_edit_beside_a_compaction_stays_on_top(lake: Bench) -> None:
    from controllers.dataset.compacting import compact, folded, within
    from specs.kinds.dataset_rules import Compaction

    for number in range(5):
        change(lake, "row-set", key="1", set={"phone": f"{number:04}"})
    step = compact(table(lake), "because", Compaction.model_validate({"maxDeltas": 2}))
    assert len(step.deltas) == 4
    scope = within(table(lake), set(step.deltas))
    assert [file.sequence for file in scope.files] == [1, 2, 3, 4, 5]
    assert folded(table(lake), scope, (), (), ()).fold == {scope.files[0].source: 1}


def test_what_is_lost_of_the_past_is_done_without(lake: Bench) -> None:
    change(lake, "row-set", key="1", set={"phone": "0099"})
    compaction(lake, "maxDeltas: 1")
    change(lake, "row-set", key="1", set={"phone": "0098"})
    compaction(lake, "maxDeltas: 9")
    assert [version for version, _ in table(lake).versions] == [1, 2, 3, 4]
    first = table(lake).as_of(1).files[0]
    (told, *_) = (ledger for ledger in table(lake).ledgers if ledger.kind == "journal")
    for key in (first.key, told.ref.key):
        lake.store.delete(key)
    assert lake.checks.incomplete(table(lake))
    lake.checks.missed("x")
    assert lake.settle()["Dataset/x"].ready == "True"
    assert [version for version, _ in table(lake).versions] == [3, 4]
    assert rows(lake) == [(1, "Ann", "0098"), (2, "Bob", "0002")]
    assert journal(lake, "op", "new") == [("update", "0098")]
    (event,) = lake.streams.read("events", where={"reason": "ObjectMissing"})
    assert event["message"].endswith("2 rows of the journal and versions before 3 are lost")
    assert not lake.checks.incomplete(table(lake))


def test_the_journal_is_kept_as_long_as_asked(lake: Bench) -> None:
    lake.commit(BUCKET, dataset("x", UPSERT + ", keep: {journal: 60d}"))
    lake.clock.advance(40 * DAY)
    change(lake, "row-set", key="1", set={"phone": "0099"})
    lake.settle()
    assert [row[0] for row in journal(lake, "op")] == ["load", "update"]
    lake.clock.advance(25 * DAY)
    lake.settle()
    assert [row[0] for row in journal(lake, "op")] == ["update"]
    assert {ledger.kind for ledger in table(lake).ledgers} >= {"edit", "journal"}
