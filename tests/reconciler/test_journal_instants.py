"""The journal tells when a change was committed, which is when its version came: not when the job wrote of it."""

from __future__ import annotations

from typing import Any

from small_lake import BUCKET, Bench, dataset
from test_edits import UPSERT, change

from engines.reading import TableName
from engines.sql.session import Session
from engines.sql.tables import CatalogTables
from state.catalog.entry import TableCommit
from state.timestamps import iso


def journal(bench: Bench) -> list[dict[str, Any]]:
    """As a query sees it."""
    tables = CatalogTables(bench.catalog, bench.state.objects, None, bench.folder / "views")  # type: ignore[arg-type]
    source = tables.resolve(TableName("system.journal"))
    assert source is not None
    with Session().frame("SELECT * FROM system.journal", {}, [source]) as frame:
        return frame.to_arrow_table().to_pylist()


def instants(bench: Bench) -> dict[int, set[str]]:
    """By version, those of its rows of the journal."""
    found: dict[int, set[str]] = {}
    for row in journal(bench):
        assert row["at"].utcoffset() is not None
        found.setdefault(row["version"], set()).add(iso(row["at"]))
    return found


def lived(bench: Bench) -> dict[int, set[str]]:
    """A table of three versions, a minute apart, and when each of them came."""
    bench.write("data/x/1.csv", "id,name\n1,Ann\n2,Bob\n")
    bench.commit(BUCKET, dataset("x", UPSERT))
    bench.settle()
    bench.clock.advance(60)
    change(bench, "row-set", key="1", set={"name": "Anna"})
    bench.clock.advance(60)
    bench.write("data/x/2.csv", "id,name\n2,Rob\n3,Cy\n")
    bench.settle()
    table = bench.catalog.table("x")
    assert table is not None
    return {version: {at} for version, at in table.versions}


def test_rows_have_the_instant_of_their_version(bench: Bench) -> None:
    came = lived(bench)
    assert len({at for (at,) in came.values()}) == 3
    assert instants(bench) == came


def test_what_is_folded_keeps_its_instants(bench: Bench) -> None:
    came = lived(bench)
    bench.clock.advance(60)
    bench.commit(BUCKET, dataset("x", UPSERT + ", compaction: {maxDeltas: 2}"))
    bench.settle()
    table = bench.catalog.table("x")
    assert table is not None
    assert (table.version, len([one for one in table.ledgers if one.kind == "journal"])) == (4, 1)
    assert instants(bench) == came


def test_an_empty_journal_can_be_asked(bench: Bench) -> None:
    bench.commit(BUCKET, dataset("x"))
    bench.settle()
    assert journal(bench) == []


def test_what_waits_for_others_is_of_the_moment_when_all_are_seen(bench: Bench) -> None:
    together = ", publish: together"
    bench.write("data/x/1.csv", "id\n1\n")
    bench.write("data/y/1.csv", 'id,broken\n"1\n')
    bench.commit(BUCKET, dataset("x", together), dataset("y", together))
    bench.settle()
    assert bench.catalog.table("x") is None
    bench.clock.advance(3600)
    bench.write("data/y/1.csv", "id\n1\n")
    bench.settle()
    (entry,) = [one for one in bench.catalog.entries() if any(isinstance(change, TableCommit) and change.add for change in one.changes)]
    assert {change.at for change in entry.changes if isinstance(change, TableCommit)} == {iso(bench.clock())}
    assert instants(bench) == {1: {iso(bench.clock())}}
