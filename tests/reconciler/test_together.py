"""`publish: together`: several datasets become visible in one catalog entry, or none of them."""

from __future__ import annotations

import pytest
from small_lake import BUCKET, Bench, dataset

from state import failpoints, reasons
from state.catalog.entry import Suspended, TableCommit

TOGETHER = ", publish: together"
A, B, C = (f"Dataset/{name}" for name in "abc")


def write(bench: Bench, **rows: str) -> None:
    for name, content in rows.items():
        bench.write(f"data/{name}/1.csv", content)


def entries(bench: Bench) -> list[list[str]]:
    """The tables that each entry moved."""
    found = [[change.object for change in entry.changes if isinstance(change, TableCommit)] for entry in bench.catalog.entries()]
    return [sorted(names) for names in found if names]


def both(bench: Bench, more: str = "") -> None:
    bench.commit(BUCKET, dataset("a", TOGETHER + more), dataset("b", TOGETHER + more))


def rows(bench: Bench) -> tuple[int, ...]:
    tables = [bench.catalog.table(name) for name in "ab"]
    return tuple(table.rows if table is not None else 0 for table in tables)


def test_one_entry_moves_them_all(bench: Bench) -> None:
    write(bench, a="id\n1\n", b="id\n1\n2\n", c="id\n1\n")
    bench.commit(BUCKET, dataset("a", TOGETHER), dataset("b", TOGETHER), dataset("c"))
    statuses = bench.settle()
    assert entries(bench) == [[A, B], [C]]
    assert {statuses[name].reason for name in (A, B, C)} == {reasons.SUCCEEDED}
    write(bench, a="id\n3\n4\n", b="id\n3\n")
    bench.settle()
    assert entries(bench)[2:] == [[A, B]]
    assert rows(bench) == (2, 1)


def test_one_that_changes_alone_waits_for_nobody(bench: Bench) -> None:
    write(bench, a="id\n1\n", b="id\n1\n")
    both(bench)
    bench.settle()
    write(bench, b="id\n2\n3\n")
    bench.settle()
    assert entries(bench)[1:] == [[B]]


def test_one_without_files_holds_nobody_up(bench: Bench) -> None:
    write(bench, a="id\n1\n")
    both(bench)
    statuses = bench.settle()
    assert (statuses[A].reason, statuses[B].reason) == (reasons.SUCCEEDED, reasons.SOURCE_EMPTY)


def test_one_that_is_refused_holds_the_others_up(bench: Bench) -> None:
    write(bench, a="id\n1\n", b="id\n1\n")
    both(bench)
    bench.settle()
    write(bench, a="id\n1\n2\n", b="id\n1,2\n")
    bench.write("data/b/2.csv", "id\n5\n")
    statuses = bench.settle()
    assert rows(bench) == (1, 1)
    assert statuses[A].reason == reasons.AWAITING_OTHERS
    assert statuses[A].message.startswith(
        "ready, and published together with others when these are, too: Dataset/b: FileRefused: data/b/1.csv:2: "
    )
    write(bench, b="id\n7\n")
    statuses = bench.settle()
    assert rows(bench) == (2, 2)
    assert entries(bench)[-1] == [A, B]
    assert statuses[A].reason == reasons.SUCCEEDED


def test_what_was_removed_while_it_waited_is_made_again(bench: Bench) -> None:
    write(bench, a="id\n1\n", b="id\n1,2\n")
    both(bench)
    bench.settle()
    for part in (bench.folder / "lake/datasets/a").rglob("*.parquet"):
        part.unlink()
    write(bench, b="id\n1\n2\n")
    bench.settle()  # finds that it is gone
    bench.settle()
    assert rows(bench) == (1, 2)
    assert entries(bench)[-1] == [A, B]
    assert len(list((bench.folder / "lake/datasets/a").glob("*.parquet"))) == 1


def test_one_whose_new_spec_is_faulty_holds_the_others_up(bench: Bench) -> None:
    write(bench, a="id\n1\n", b="id\n1\n")
    both(bench)
    bench.settle()
    bench.commit(BUCKET, dataset("a", TOGETHER + ", columns: {id: string}"), dataset("b", TOGETHER + ", colums: {id: string}"))
    statuses = bench.settle()
    assert "Dataset/b: its newest spec cannot be used" in statuses[A].message
    both(bench, ", columns: {id: string}")
    bench.settle()
    assert entries(bench)[1:] == [[A, B]]


def test_a_suspended_one_and_one_that_leaves_hold_nobody_up(bench: Bench) -> None:
    write(bench, a="id\n1\n", b="id\n1\n")
    both(bench)
    bench.settle()
    write(bench, a="id\n1\n2\n", b="id\n1,2\n")
    bench.settle()
    bench.catalog.commit((Suspended(B, "me", "later"),), actor="me", reason="later")
    bench.settle()
    assert rows(bench) == (2, 1)
    write(bench, a="id\n1\n2\n3\n")
    bench.settle()
    assert rows(bench) == (3, 1)


def test_who_leaves_the_group_holds_nobody_up(bench: Bench) -> None:
    write(bench, a="id\n1\n", b="id\n1,2\n")
    both(bench)
    assert bench.settle()[A].reason == reasons.AWAITING_OTHERS
    bench.commit(BUCKET, dataset("a", TOGETHER), dataset("b"))
    assert bench.settle()[A].reason == reasons.SUCCEEDED


def test_one_that_refers_to_another_comes_after_it(bench: Bench) -> None:
    write(bench, a="id\n1\n", b="id\n1\n")
    bench.commit(BUCKET, dataset("a", TOGETHER), dataset("b", TOGETHER + ", contract: {references: {id: a.id}}"))
    statuses = bench.settle()
    assert {statuses[name].reason for name in (A, B)} == {reasons.SUCCEEDED}
    assert entries(bench) == [[A], [B]]


@pytest.mark.parametrize("where", ["together.before-commit", "together.after-commit"])
def test_after_a_crash_it_is_all_or_nothing(bench: Bench, where: str) -> None:
    write(bench, a="id\n1\n", b="id\n1\n2\n")
    both(bench)
    failpoints.arm({where: "error"})
    try:
        bench.settle()
    finally:
        failpoints.disarm()
    assert rows(bench) in ((0, 0), (1, 2))
    bench.close()
    bench.open()
    bench.follower.advance()
    statuses = bench.settle()
    assert rows(bench) == (1, 2)
    assert {statuses[name].reason for name in (A, B)} == {reasons.SUCCEEDED}
    assert entries(bench) == [[A, B]]
