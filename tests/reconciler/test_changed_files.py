"""A changed file of an upserted table: what it says anew is applied, and what was changed by hand or by others since stays."""

from __future__ import annotations

from typing import Any

import pytest
from small_lake import BUCKET, Bench, dataset
from test_edits import UPSERT, change, compaction, journal, rows, table

from state import reasons

A = "id,name,phone\n1,Ann,0001\n2,Bob,0002\n3,Cy,0003\n"


@pytest.fixture
def lake(bench: Bench) -> Bench:
    bench.write("data/x/a.csv", A)
    bench.commit(BUCKET, dataset("x", UPSERT))
    bench.settle()
    return bench


def write(lake: Bench, text: str, name: str = "a") -> None:
    lake.write(f"data/x/{name}.csv", text)
    assert lake.settle()["Dataset/x"].reason == reasons.SUCCEEDED


def kept(lake: Bench) -> list[int]:
    """How many rows each content said of which there is a ledger."""
    return [one.rows for one in table(lake).ledgers if one.kind == "said"]


def test_rows_that_it_does_not_change_stay_as_they_are(lake: Bench) -> None:
    change(lake, "row-set", key="1", set={"phone": "0099"})
    write(lake, "id,name,phone\n2,Rob,0002\n", "b")
    write(lake, A.replace("Cy", "Cyd"))
    assert rows(lake) == [(1, "Ann", "0099"), (2, "Rob", "0002"), (3, "Cyd", "0003")]
    assert [file.rows for file in table(lake).files] == [3, 1, 1, 1]
    assert kept(lake) == [3]
    told = [row for row in journal(lake, "entity", "field", "old", "new", "version") if row[4] == table(lake).version]
    assert told == [("3", "name", "Cy", "Cyd", 4)]


def test_it_is_compared_with_what_it_said_last_however_often_it_changes(lake: Bench) -> None:
    write(lake, A.replace("Cy", "Cyd"))
    change(lake, "row-set", key="3", set={"name": "Cyrus"})
    write(lake, A.replace("Cy", "Cyd").replace("0001", "0011"))
    assert rows(lake) == [(1, "Ann", "0011"), (2, "Bob", "0002"), (3, "Cyrus", "0003")]
    write(lake, A.replace("0001", "0011"))  # back to what it said first of the third row, which is another thing than it said last
    assert rows(lake) == [(1, "Ann", "0011"), (2, "Bob", "0002"), (3, "Cy", "0003")]
    assert sum(one.kind == "said" for one in table(lake).ledgers) == 3  # each has rows in the table


def test_nothing_that_it_says_is_new(lake: Bench) -> None:
    version = table(lake).version
    write(lake, "id,name,phone\n3,Cy,0003\n2,Bob,0002\n")
    assert table(lake).version == version
    change(lake, "row-set", key="1", set={"phone": "0099"})
    change(lake, "row-set", key="2", set={"phone": "0098"})
    write(lake, A)  # the first row comes back to the file
    assert rows(lake) == [(1, "Ann", "0001"), (2, "Bob", "0002"), (3, "Cy", "0003")]  # its first content, made the newest again


def test_a_row_that_both_changed_is_the_files(lake: Bench) -> None:
    change(lake, "row-set", key="1", set={"phone": "0099"})
    write(lake, A.replace("Ann", "Anna"))
    assert rows(lake)[0] == (1, "Anna", "0001")
    (event,) = lake.events(reasons.ROWS_OVERTAKEN)
    assert "they go before 1 row set or deleted by hand" in event["message"]


def test_what_was_folded_is_compared_by_a_version_that_is_kept(lake: Bench) -> None:
    change(lake, "row-set", key="1", set={"phone": "0099"})
    compaction(lake, "maxDeltas: 1")
    assert [file.role for file in table(lake).files] == ["base"]
    write(lake, A.replace("Cy", "Cyd"))
    assert rows(lake) == [(1, "Ann", "0099"), (2, "Bob", "0002"), (3, "Cyd", "0003")]
    assert lake.events(reasons.ROWS_OVERTAKEN) == []


def test_what_nobody_knows_any_more_is_applied_whole_and_told(lake: Bench) -> None:
    lake.commit(BUCKET, dataset("x", UPSERT + ", keep: {versions: 1}"))
    lake.settle()
    change(lake, "row-set", key="1", set={"phone": "0099"})
    lake.commit(BUCKET, dataset("x", UPSERT + ", keep: {versions: 1}, compaction: {maxDeltas: 1}"))
    lake.settle()
    assert [file.role for file in table(lake).files] == ["base"]
    write(lake, A.replace("Cy", "Cyd"))
    assert rows(lake) == [(1, "Ann", "0001"), (2, "Bob", "0002"), (3, "Cyd", "0003")]
    assert len(lake.events(reasons.ROWS_OVERTAKEN)) == 1
    change(lake, "row-set", key="1", set={"phone": "0098"})  # from now on it is known
    lake.settle()
    write(lake, A.replace("Cy", "Cyril"))
    assert rows(lake) == [(1, "Ann", "0098"), (2, "Bob", "0002"), (3, "Cyril", "0003")]


def test_contents_that_return(lake: Bench) -> None:
    b, c = A.replace("Bob", "Rob"), A.replace("0001", "0011")
    write(lake, b)
    write(lake, c)
    assert rows(lake) == [(1, "Ann", "0011"), (2, "Bob", "0002"), (3, "Cy", "0003")]
    write(lake, b)  # of which the table has but one row
    assert rows(lake) == [(1, "Ann", "0001"), (2, "Rob", "0002"), (3, "Cy", "0003")]
    write(lake, A)
    assert rows(lake) == [(1, "Ann", "0001"), (2, "Bob", "0002"), (3, "Cy", "0003")]
    write(lake, c)
    assert rows(lake) == [(1, "Ann", "0011"), (2, "Bob", "0002"), (3, "Cy", "0003")]


def test_a_copy_and_a_renamed_file_say_what_they_are_a_copy_of(lake: Bench) -> None:
    write(lake, A.replace("Cy", "Cyd"))
    (lake.folder / "data/x/a.csv").rename(lake.folder / "data/x/c.csv")
    lake.settle()
    change(lake, "row-set", key="1", set={"phone": "0099"})
    write(lake, A.replace("Cy", "Cyril"), "c")
    assert rows(lake) == [(1, "Ann", "0099"), (2, "Bob", "0002"), (3, "Cyril", "0003")]


def test_two_files_that_become_the_same(lake: Bench) -> None:
    write(lake, "id,name,phone\n1,Anne,0001\n", "b")
    same = "id,name,phone\n1,Ann,0001\n2,Bob,0022\n3,Cy,0003\n"
    lake.write("data/x/b.csv", same)
    write(lake, same)
    assert rows(lake) == [(1, "Ann", "0001"), (2, "Bob", "0022"), (3, "Cy", "0003")]


def test_a_new_column_and_a_missing_one(lake: Bench) -> None:
    change(lake, "row-set", key="1", set={"phone": "0099"})
    write(lake, "id,name,phone,city\n1,Ann,0001,\n2,Bob,0002,Rome\n3,Cy,0003,\n")
    columns = ["id", "phone", "city"]
    assert rows(lake, columns=columns) == [(1, "0099", None), (2, "0002", "Rome"), (3, "0003", None)]
    write(lake, "id,name,phone\n1,Ann,0001\n2,Bob,0002\n3,Cy,0003\n4,Di,0004\n")  # of the second row it says no city any more
    assert rows(lake, columns=columns)[:3] == [(1, "0099", None), (2, "0002", None), (3, "0003", None)]


def test_tombstones_are_what_a_row_says(bench: Bench) -> None:
    bench.write("data/x/a.csv", "id,name,phone,gone\n1,Ann,0001,false\n2,Bob,0002,true\n")
    bench.commit(BUCKET, dataset("x", UPSERT + ", tombstone: gone"))
    bench.settle()
    change(bench, "row-set", key="2", set={"name": "Bobby", "phone": "0022"}, create=True)
    write(bench, "id,name,phone,gone\n1,Ann,0001,true\n2,Bob,0002,true\n")
    assert rows(bench) == [(2, "Bobby", "0022")]


@pytest.mark.parametrize("lost", ["part", "ledger"])
def test_a_lost_object_of_a_changed_file(lake: Bench, lost: str) -> None:
    write(lake, A.replace("Cy", "Cyd"))
    change(lake, "row-set", key="1", set={"phone": "0099"})
    newest = next(file for file in table(lake).files if file.sequence == 2)
    key = newest.key if lost == "part" else next(one.ref.key for one in table(lake).ledgers if one.kind == "said")
    (lake.folder / "lake" / key).unlink()
    lake.clock.advance(3600)
    for _ in range(2):
        lake.settle()
    assert rows(lake) == [(1, "Ann", "0099"), (2, "Bob", "0002"), (3, "Cyd", "0003")]
    write(lake, A.replace("Cy", "Cyril"))
    assert rows(lake) == [(1, "Ann", "0099"), (2, "Bob", "0002"), (3, "Cyril", "0003")]


def test_rows_that_were_set_aside_come_to_the_others(bench: Bench) -> None:
    spec: Any = UPSERT + ", contract: {references: {team: teams.id}}"
    bench.write("data/teams/t.csv", "id\n1\n")
    bench.write("data/x/a.csv", "id,name,phone,team\n1,Ann,0001,1\n2,Bob,0002,2\n3,Cy,0003,1\n")
    bench.commit(BUCKET, dataset("teams"), dataset("x", spec))
    bench.settle()
    bench.write("data/x/a.csv", "id,name,phone,team\n1,Ann,0001,1\n2,Bob,0002,2\n3,Cyd,0003,1\n")
    bench.settle()
    change(bench, "row-set", key="1", set={"phone": "0099"})
    assert rows(bench) == [(1, "Ann", "0099"), (3, "Cyd", "0003")]
    bench.write("data/teams/t.csv", "id\n1\n2\n")
    for _ in range(3):
        bench.settle()
    assert rows(bench) == [(1, "Ann", "0099"), (2, "Bob", "0002"), (3, "Cyd", "0003")]
