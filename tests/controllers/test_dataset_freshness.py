"""When a dataset is stale, and what its ending says of it; which ledgers a commit notes and lets go of."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from controllers.dataset.files import SourceFile
from controllers.dataset.freshness import aged, freshness
from controllers.dataset.ledgers import letting_go
from controllers.outcome import Aspect, Outcome, Ready, Stalled, Waiting
from specs.kinds.dataset import DatasetSpec
from specs.parse import parse_file
from state import reasons
from state.catalog.data_files import DataFile
from state.catalog.entry import TableCommit
from state.catalog.fold import ObjectState, apply
from state.catalog.schemas import Schema
from state.catalog.tables import Binding, Ledger, Origin, Table
from state.objects import ObjectRef
from state.timestamps import iso

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
WORDS = "its newest data is of 2026-03-10 10:00 UTC, and `staleAfter` is {}"


def spec(text: str = ", freshness: {staleAfter: 3h}") -> DatasetSpec:
    document = f"apiVersion: lakehouse/v1\nkind: Dataset\nmetadata: {{name: x}}\nspec: {{source: {{files: x.csv}}{text}}}\n"
    return parse_file("x.yaml", document.encode()).resources[0].spec_as(DatasetSpec)


def ns(at: datetime) -> int:
    return int(at.timestamp() * 1e9)


def table(bound: datetime | None = None) -> Table:
    return Table("x", 1, "primary", at=iso(NOW - 5 * HOUR), bindings={"a": Binding("a", "d", 1, ns(bound) if bound else 0)})


def left(known: Table | None, *files: datetime, of: DatasetSpec | None = None) -> float | None:
    listed = [SourceFile("a", "d", 1, ns(at)) for at in files]
    found = freshness(of or spec(), known, listed, NOW)
    return None if found is None else found.left / 3600


def test_age_counts_from_the_newest_file_that_matches() -> None:
    assert left(table(), NOW - 9 * HOUR, NOW - 2 * HOUR) == 1
    assert left(table(NOW), NOW - 9 * HOUR) == -6, "whatever the catalog remembers of it"


def test_without_a_file_it_counts_from_the_newest_that_was_read_and_else_from_the_version() -> None:
    assert left(table(NOW - HOUR)) == 2
    assert left(table()) == -2


def test_of_a_source_that_is_no_file_it_counts_from_the_last_read() -> None:
    query = (
        "apiVersion: lakehouse/v1\nkind: Dataset\nmetadata: {name: x}\nspec: {source: {sql: SELECT 1 AS a}, freshness: {staleAfter: 3h}}\n"
    )
    of = parse_file("x.yaml", query.encode()).resources[0].spec_as(DatasetSpec)
    read = replace(table(), origin=Origin(slot=iso(NOW), read=iso(NOW - HOUR)))
    assert left(read, NOW, of=of) == 2
    assert left(replace(table(), origin=Origin(slot=iso(NOW))), of=of) == -2, "what honoured a slot may have been refused"
    assert left(read, NOW - 4 * HOUR) == -1, "it is of files by now"
    assert Origin.from_dict(read.origin.to_dict()) == read.origin  # type: ignore[union-attr]


def test_nothing_is_stale_that_is_asked_for_nothing_or_holds_nothing() -> None:
    assert left(table(), NOW, of=spec("")) is None
    assert left(None) is None
    assert left(Table("x")) is None


def ending(outcome: Outcome, hours: int) -> Outcome:
    return aged(
        outcome, freshness(spec(f", freshness: {{staleAfter: {hours}h}}"), table(), [SourceFile("a", "d", 1, ns(NOW - 2 * HOUR))], NOW)
    )


def test_what_is_fresh_is_looked_at_when_it_becomes_stale() -> None:
    fresh = Aspect("Stale", False, reasons.FRESH, WORDS.format("3h"))
    assert ending(Ready("well"), 3) == Ready("well", seconds=3600, also=(fresh,))
    assert ending(Ready("well", seconds=9.0), 3).seconds == 9.0  # type: ignore[union-attr]
    assert ending(Stalled("FileRefused", "no"), 3) == Stalled("FileRefused", "no", seconds=3600, also=(fresh,))
    assert ending(Ready("well"), 24 * 365).seconds == 86_400  # type: ignore[union-attr]


@pytest.mark.parametrize("hours", [1, 2])
def test_what_is_stale_says_so_and_stays_what_it_is(hours: int) -> None:
    words = WORDS.format(f"{hours}h")
    stale = Aspect("Stale", True, reasons.STALE, words)
    assert ending(Ready("well"), hours) == Ready(f"well; stale: {words}", reason=reasons.STALE, also=(stale,))
    assert ending(Stalled("FileRefused", "no"), hours) == Stalled("FileRefused", "no", also=(stale,))
    assert ending(Waiting("Ingesting", "busy"), hours) == Waiting("Ingesting", "busy")
    assert aged(Ready("well"), None) == Ready("well", also=())


def noted(source: str, key: str) -> Ledger:
    return Ledger("profile", ObjectRef("primary", key, 1, "f" * 64), 2, source, 1, "", "job")


def part(source: str) -> DataFile:
    return DataFile(ObjectRef("primary", f"{source}.parquet", 1, "f" * 64), "base", 1, 1, source, 0, 1)


def committed(before: Table | None, change: TableCommit, *profiles: Ledger) -> Table:
    after = apply(ObjectState("Dataset/x", table=before), letting_go(replace(change, note=profiles), before)).table
    assert after is not None
    return after


def change(**given: object) -> TableCommit:
    return TableCommit("Dataset/x", "t", "primary", at="2026-03-01T00:00:00.000Z", **given)  # type: ignore[arg-type]


def test_profiles_come_and_go_with_their_contents() -> None:
    first = committed(
        None,
        change(schema=Schema(1, ()), add=(part("a"), part("b")), bind=(Binding("a.csv", "a", 1, 1),)),
        noted("a", "pa"),
        noted("b", "pb"),
    )
    assert [ledger.ref.key for ledger in first.ledgers] == ["pa", "pb"]
    without = committed(first, change(remove=("a.parquet", "b.parquet")))
    assert [ledger.ref.key for ledger in without.ledgers] == ["pa", "pb"], "a version that is kept has both"
    forgotten = committed(without, change(forget=2))
    assert [ledger.ref.key for ledger in forgotten.ledgers] == ["pa"], "a path is still bound to the content of the other"
    assert committed(forgotten, change(unbind=("a.csv",))).ledgers == ()


def test_a_profile_that_is_written_anew_takes_the_former_ones_place() -> None:
    first = committed(None, change(schema=Schema(1, ()), add=(part("a"),)), noted("a", "pa"))
    assert [ledger.ref.key for ledger in committed(first, change(), noted("a", "pa2")).ledgers] == ["pa2"]
    assert [ledger.ref.key for ledger in committed(first, change(), noted("a", "pa")).ledgers] == ["pa"]
