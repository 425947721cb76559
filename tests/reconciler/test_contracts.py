"""Quarantine over a dataset's life: it comes and goes with contents, contracts, and the datasets that a contract refers to."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq
import pytest
from small_lake import BUCKET, Bench, dataset

from state import failpoints, reasons
from state.catalog.tables import Table

SHEETS = "Dataset/sheets"
RANGE = ", contract: {ranges: {hours: {min: 0, max: 168}}}"
WHO = ", contract: {references: {who: people.id}}"


def table(bench: Bench, name: str = "sheets") -> Table:
    found = bench.catalog.table(name)
    assert found is not None
    return found


def quarantine(bench: Bench) -> list[tuple[str, int, str]]:
    """(source, line, rule) of what the catalog refers to."""
    ledgers = [ledger for ledger in table(bench).ledgers if ledger.kind == "quarantine"]
    rows = [row for ledger in ledgers for row in pq.read_table(bench.store.path(ledger.ref.key), partitioning=None).to_pylist()]
    assert len(rows) == sum(ledger.rows for ledger in ledgers)
    return sorted((row["source"].rpartition("/")[2], row["line"], row["rule"]) for row in rows)


def settled(bench: Bench, *specs: str) -> Any:
    if specs:
        bench.commit(BUCKET, *specs)
    return bench.settle()[SHEETS]


@pytest.mark.parametrize("write", ["append", "replace", "upsert, primaryKey: id"])
class TestContents:
    def test_rows_are_set_aside_and_told(self, bench: Bench, write: str) -> None:
        bench.write("data/sheets/a.csv", "id,hours\n1,40\n2,200\n3,-1\n")
        status = settled(bench, dataset("sheets", f"{RANGE}, write: {write}"))
        assert status.message == "1 row from 1 file, 2 in quarantine, version 1"
        assert status.detail["quarantine"] == 2
        assert quarantine(bench) == [("a.csv", 3, "range: hours"), ("a.csv", 4, "range: hours")]
        (event,) = bench.events(reasons.ROWS_QUARANTINED)
        expected = "data/sheets/a.csv: 2 of 3 rows are in quarantine (`range: hours` 2), first line 3: `hours` is `200`, above 168"
        assert event["message"] == expected

    def test_a_corrected_file_takes_its_rows_along(self, bench: Bench, write: str) -> None:
        bench.write("data/sheets/a.csv", "id,hours\n1,40\n2,200\n")
        bench.write("data/sheets/b.csv", "id,hours\n3,300\n")
        settled(bench, dataset("sheets", f"{RANGE}, write: {write}"))
        bench.write("data/sheets/a.csv", "id,hours\n1,40\n2,20\n")
        status = settled(bench)
        assert "1 in quarantine" in status.message
        assert quarantine(bench) == [("b.csv", 2, "range: hours")]
        bench.write("data/sheets/b.csv", "id,hours\n3,30\n")
        assert "quarantine" not in settled(bench).message

    def test_a_changed_contract_reads_again(self, bench: Bench, write: str) -> None:
        bench.write("data/sheets/a.csv", "id,hours\n1,40\n2,200\n")
        settled(bench, dataset("sheets", f"{RANGE}, write: {write}"))
        assert settled(bench, dataset("sheets", f"{RANGE.replace('168', '300')}, write: {write}")).message.startswith("2 rows from 1 file")
        assert quarantine(bench) == []
        settled(bench, dataset("sheets", f", contract: {{checks: hours > 100}}, write: {write}"))
        assert quarantine(bench) == [("a.csv", 2, "check: hours > 100")]

    def test_a_content_of_violations_alone_is_read_once(self, bench: Bench, write: str) -> None:
        bench.write("data/sheets/a.csv", "id,hours\n1,1000\n")
        assert settled(bench, dataset("sheets", f"{RANGE}, write: {write}")).reason == reasons.SUCCEEDED
        seq = bench.catalog.seq
        assert settled(bench).reason == reasons.SUCCEEDED
        assert bench.catalog.seq == seq

    def test_a_copy_is_no_second_quarantine_and_a_move_keeps_it(self, bench: Bench, write: str) -> None:
        place = bench.write("data/sheets/a.csv", "id,hours\n1,1000\n")
        settled(bench, dataset("sheets", f"{RANGE}, write: {write}"))
        bench.write("data/sheets/b.csv", "id,hours\n1,1000\n")
        settled(bench)
        place.unlink()
        settled(bench)
        assert quarantine(bench) == [("a.csv", 2, "range: hours")]


def test_what_is_gone_from_a_replaced_table_leaves_quarantine(bench: Bench) -> None:
    place = bench.write("data/sheets/a.csv", "id,hours\n1,1000\n")
    bench.write("data/sheets/b.csv", "id,hours\n1,10\n")
    settled(bench, dataset("sheets", f"{RANGE}, write: replace"))
    place.unlink()
    settled(bench)
    assert quarantine(bench) == []


def test_rows_are_unique_in_the_table_but_not_against_what_they_replace(bench: Bench) -> None:
    bench.write("data/sheets/a.csv", "id,hours\n1,40\n2,20\n")
    settled(bench, dataset("sheets", ", contract: {unique: [[id]]}"))
    bench.write("data/sheets/a.csv", "id,hours\n1,40\n2,20\n3,30\n")
    bench.write("data/sheets/b.csv", "id,hours\n3,40\n4,20\n")
    settled(bench)
    bench.write("data/sheets/c.csv", "id,hours\n4,40\n5,20\n")
    settled(bench)
    assert quarantine(bench) == [("b.csv", 2, "unique: id"), ("c.csv", 2, "unique: id")]
    assert table(bench).rows == 5


def test_a_rejected_file_leaves_the_last_good_version(bench: Bench) -> None:
    bench.write("data/sheets/a.csv", "id,hours\n1,40\n")
    settled(bench, dataset("sheets", ", contract: {ranges: {hours: {max: 168}}, onViolation: reject}"))
    bench.write("data/sheets/a.csv", "id,hours\n1,40\n2,200\n")
    status = settled(bench)
    assert status.reason == reasons.FILE_REFUSED
    assert "data/sheets/a.csv:3: 1 row breaks the contract, first `range: hours`: `hours` is `200`, above 168" in status.message
    assert "version 1 with 1 row stays served" in status.message


def test_a_warning_keeps_the_rows(bench: Bench) -> None:
    bench.write("data/sheets/a.csv", "id,hours\n1,40\n2,200\n")
    status = settled(bench, dataset("sheets", ", contract: {ranges: {hours: {max: 168}}, onViolation: warn}"))
    assert status.message == "2 rows from 1 file, version 1"
    assert [event["message"] for event in bench.events(reasons.CONTRACT_BROKEN)] == [
        "data/sheets/a.csv: 1 of 2 rows breaks the contract (`range: hours` 1), first line 3: `hours` is `200`, above 168"
    ]


def test_a_column_that_may_not_be_empty_is_a_contract(bench: Bench) -> None:
    bench.write("data/sheets/a.csv", "id,hours\n1,\n2,20\n")
    settled(bench, dataset("sheets", ", columns: {hours: {type: int64, nullable: false}}"))
    assert quarantine(bench) == [("a.csv", 2, "required: hours")]


class TestReferences:
    def test_wait_for_the_dataset(self, bench: Bench) -> None:
        bench.write("data/sheets/a.csv", "id,who\n1,ann\n2,bob\n")
        status = settled(bench, dataset("sheets", WHO), dataset("people"))
        assert (status.ready, status.reason) == ("False", reasons.DEPENDENCY_NOT_READY)
        assert status.message == "rows are read once Dataset/people holds any, since `contract.references` looks into it"
        bench.write("data/people/a.csv", "id\nann\n")
        assert settled(bench).message == "1 row from 1 file, 1 in quarantine, version 1"

    def test_a_column_that_is_not_there(self, bench: Bench) -> None:
        bench.write("data/sheets/a.csv", "id,who\n1,ann\n")
        bench.write("data/people/a.csv", "key\nann\n")
        status = settled(bench, dataset("sheets", WHO), dataset("people"))
        assert (status.reason, status.message) == (
            reasons.INVALID_SPEC,
            "`contract.references` of `who`: Dataset/people has no column `id`; it has key",
        )

    def test_rows_are_judged_again_when_the_dataset_changes(self, bench: Bench) -> None:
        bench.write("data/people/a.csv", "id\nann\n")
        bench.write("data/sheets/a.csv", "id,who\n1,ann\n2,bob\n")
        bench.write("data/sheets/b.csv", "id,who\n3,ann\n")
        settled(bench, dataset("sheets", WHO), dataset("people"))
        parts = {file.source: file.key for file in table(bench).files}
        bench.write("data/people/b.csv", "id\ncyd\n")
        settled(bench)
        assert quarantine(bench) == [("a.csv", 3, "reference: who")]
        bench.write("data/people/c.csv", "id\nbob\n")
        assert settled(bench).message.startswith("3 rows from 2 files, version")
        assert quarantine(bench) == []
        clean = table(bench).bindings["data/sheets/b.csv"].digest
        after = {file.source: file.key for file in table(bench).files}
        assert after[clean] == parts[clean]
        assert after != parts
        seq = bench.catalog.seq
        bench.write("data/people/d.csv", "id\ndan\n")
        settled(bench)
        assert bench.catalog.seq == seq + 1  # people's own

    def test_a_row_that_comes_back_does_not_overtake_what_came_since(self, bench: Bench) -> None:
        bench.write("data/people/a.csv", "id\nann\n")
        bench.write("data/sheets/1.csv", "id,who,hours\n1,ann,10\n2,bob,10\n")
        bench.write("data/sheets/2.csv", "id,who,hours\n1,ann,20\n")
        settled(bench, dataset("sheets", f"{WHO}, primaryKey: id, write: upsert"), dataset("people"))
        before = {file.source: file.sequence for file in table(bench).files}
        bench.write("data/people/b.csv", "id\nbob\n")
        settled(bench)
        assert quarantine(bench) == []
        assert {file.source: file.sequence for file in table(bench).files} == before
        assert [file.rows for file in table(bench).data_files] == [2, 1]

    def test_what_was_folded_is_judged_again_in_its_former_order(self, bench: Bench) -> None:
        bench.write("data/people/a.csv", "id\nann\n")
        bench.write("data/sheets/1.csv", "id,who,hours\n1,ann,10\n2,bob,10\n")
        more = f"{WHO}, primaryKey: id, write: upsert, compaction: {{maxDeltas: 1}}"
        settled(bench, dataset("sheets", more), dataset("people"))
        bench.write("data/sheets/2.csv", "id,who,hours\n1,ann,20\n")
        settled(bench)
        assert table(bench).folded
        bench.write("data/people/b.csv", "id\nbob\n")
        settled(bench)
        assert quarantine(bench) == []
        bindings = table(bench).bindings
        places = {file.source: file.sequence for file in table(bench).files} | dict(table(bench).folded)
        assert places[bindings["data/sheets/1.csv"].digest] < places[bindings["data/sheets/2.csv"].digest]

    def test_rows_that_were_taken_stay(self, bench: Bench) -> None:
        bench.write("data/people/a.csv", "id\nann\nbob\n")
        bench.write("data/sheets/a.csv", "id,who\n1,ann\n2,bob\n")
        settled(bench, dataset("sheets", WHO), dataset("people", ", write: replace"))
        bench.write("data/people/a.csv", "id\nann\n")
        assert settled(bench).message == "2 rows from 1 file, version 1"


class TestCrashes:
    @pytest.mark.parametrize("where", ["ingest.part-stored", "dataset.before-commit", "dataset.after-commit"])
    def test_a_killed_commit_is_made_once(self, bench: Bench, where: str) -> None:
        bench.write("data/sheets/a.csv", "id,hours\n1,40\n2,200\n")
        bench.commit(BUCKET, dataset("sheets", RANGE))
        failpoints.arm({where: "error"})
        try:
            status = bench.settle()[SHEETS]
        finally:
            failpoints.disarm()
        bench.close()
        bench.open()
        bench.follower.advance()
        status = bench.settle()[SHEETS]
        assert status.message == "1 row from 1 file, 1 in quarantine, version 1"
        assert quarantine(bench) == [("a.csv", 3, "range: hours")]
