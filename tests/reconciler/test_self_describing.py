"""A dropped-in CSV is tagged, described and traced to its file without a word of metadata; what grows old says so, once."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import orjson
import pytest
from small_lake import BUCKET, Bench, dataset
from test_operator import ask, ended

from engines.sql.ledgers import LEDGER_TABLES
from state import reasons
from state.streams.tables import SystemTables
from state.unreferred import Finder

PEOPLE = """person_id,name,mail,zip,joined
P-1,Ann Smith,ann@example.com,02134,2024-03-01
P-2,Bob Jones,bob@example.org,60601,2024-05-12
"""
FRESH = ", freshness: {staleAfter: 3h}"


def table(bench: Bench, name: str) -> list[dict[str, Any]]:
    tables = SystemTables(bench.streams, bench.catalog, bench.book, bench.state.describe, bench.folder / "system")
    found = tables.table(name)
    assert found is not None
    return found.to_pylist()


def people(bench: Bench, *, hours: float = 0, more: str = "") -> None:
    """A file of so long ago."""
    path = bench.write("data/people/a.csv", PEOPLE + more)
    then = (bench.clock() - timedelta(hours=hours)).timestamp()
    os.utime(path, (then, then))


def test_a_dropped_in_csv_is_tagged_described_and_traced_to_its_file(bench: Bench) -> None:
    people(bench)
    bench.commit(BUCKET, dataset("people"))
    bench.settle()
    (row,) = table(bench, "datasets")
    assert row["description"] == "5 columns, 2 rows from 1 file: person_id, name, mail, zip, joined; contains pii in name and mail"
    assert (row["drafted"], row["owner"], orjson.loads(row["sensitivity"])) == (True, None, ["pii"])
    columns = {each["name"]: each for each in table(bench, "columns")}
    assert {name: orjson.loads(each["sensitivity"]) for name, each in columns.items()} == {
        "person_id": [], "name": ["pii"], "mail": ["pii"], "zip": [], "joined": [],
    }  # fmt: skip
    assert (columns["mail"]["distinct_estimate"], columns["mail"]["null_share"], columns["mail"]["min"]) == (2, 0.0, None)
    assert (columns["zip"]["min"], columns["zip"]["max"], columns["joined"]["max"]) == ("02134", "60601", "2024-05-12")
    way = {edge["from_kind"]: (edge["from_name"], edge["to_kind"], edge["to_name"]) for edge in table(bench, "lineage")}
    path, kind, content = way["file"]
    assert (path, kind) == ("data/people/a.csv", "content")
    assert way["content"][:2] == (content, "job")
    assert way["job"] == (way["content"][2], "dataset", "people")


def test_the_spec_s_word_takes_effect_without_reading_anything_again(bench: Bench) -> None:
    people(bench)
    bench.commit(BUCKET, dataset("people"))
    bench.settle()
    version = bench.catalog.table("people").version  # type: ignore[union-attr]
    bench.commit(BUCKET, dataset("people", more=", owner: hr, columns: {name: {sensitivity: [public]}, zip: {sensitivity: [internal]}}"))
    bench.settle()
    (row,) = table(bench, "datasets")
    assert (row["owner"], orjson.loads(row["sensitivity"]), row["version"]) == ("hr", ["pii", "internal"], version)
    assert {each["name"]: each["min"] for each in table(bench, "columns")}["name"] == "Ann Smith"


def test_a_profile_is_needed_as_long_as_its_content(bench: Bench) -> None:
    people(bench)
    bench.commit(BUCKET, dataset("people", more=", write: replace, keep: {versions: 1}"))
    bench.settle()
    people(bench, more="P-3,Zoe Adams,zoe@example.net,02139,2025-01-01\n")
    bench.clock.advance(60)
    bench.settle()
    known = bench.catalog.table("people")
    assert known is not None
    sources = [ledger.source for ledger in known.ledgers if ledger.kind == "profile"]
    assert sources == [binding.digest for binding in known.bindings.values()]
    finder = Finder(bench.catalog, bench.buckets.configs(), bench.clock())
    profiles = list(bench.store.list("datasets/people/profile/"))
    assert sorted(finder.needs("primary", info.key) for info in profiles) == [False, True]
    assert "system.profile" not in LEDGER_TABLES


def test_a_profile_that_was_lost_is_made_again_and_no_value_is_told_meanwhile(bench: Bench) -> None:
    people(bench)
    bench.commit(BUCKET, dataset("people"))
    bench.settle()
    before, rows = table(bench, "columns"), bench.catalog.table("people").files  # type: ignore[union-attr]
    (profile,) = bench.store.list("datasets/people/profile/")
    bench.store.delete(profile.key)
    bench.open()
    bench.follower.advance()
    assert {each["min"] for each in table(bench, "columns")} == {None}
    assert bench.settle()["Dataset/people"].ready == "True"
    assert (table(bench, "columns"), bench.catalog.table("people").files) == (before, rows)  # type: ignore[union-attr]


def stale(bench: Bench) -> str:
    condition = bench.book.get("Dataset/people").condition("Stale")
    return condition.status if condition is not None else "absent"


def test_data_becomes_stale_and_fresh_again_and_somebody_hears_of_it(bench: Bench) -> None:
    heard: list[Any] = []
    people(bench, hours=2)
    bench.commit(BUCKET, dataset("people", more=FRESH))
    bench.statuses.hear = heard.append
    assert (bench.settle()["Dataset/people"].ready, stale(bench), heard) == ("True", "False", [])
    bench.clock.advance(3600)
    status = bench.settle()["Dataset/people"]
    assert (status.ready, status.reason, stale(bench)) == ("True", reasons.STALE, "True")
    bench.clock.advance(3600)
    bench.settle()
    people(bench)
    assert (bench.settle()["Dataset/people"].reason, stale(bench)) == (reasons.SUCCEEDED, "False")
    assert [(event["type"], event["reason"]) for event in heard] == [("Warning", "Stale"), ("Normal", "Fresh")]
    assert [len(bench.events(reason)) for reason in (reasons.STALE, reasons.FRESH)] == [1, 1]


@pytest.mark.parametrize("way", ["suspended", "refused"])
def test_what_is_held_or_refused_stays_stale(bench: Bench, way: str) -> None:
    people(bench, hours=4)
    bench.commit(BUCKET, dataset("people", more=FRESH))
    bench.settle()
    if way == "refused":
        os.utime(bench.write("data/people/b.csv", "person_id,name\n1,2,3\n"), (1, 1))
    else:
        from state.catalog.entry import Suspended

        bench.catalog.commit((Suspended("Dataset/people", "me", "why", None),), actor="me", reason="why")
    status = bench.settle()["Dataset/people"]
    assert (status.ready, stale(bench)) == ("False", "True")
    assert bench.events(reasons.FRESH) == []


def test_whoever_asks_for_freshness_no_more_has_nothing_stale(bench: Bench) -> None:
    people(bench, hours=4)
    bench.commit(BUCKET, dataset("people", more=FRESH))
    bench.settle()
    bench.commit(BUCKET, dataset("people"))
    bench.settle()
    assert stale(bench) == "absent"
    assert [event["message"] for event in bench.events(reasons.FRESH)] == ["`freshness` asks for nothing any more"]


def test_what_is_known_of_a_column_outlives_a_migration(bench: Bench) -> None:
    people(bench)
    bench.commit(BUCKET, dataset("people"))
    bench.settle()
    said = "{from: 1, rename: {mail: contact}, split: {name: {into: [first, last]}}, expression: {domain: 'split_part(mail, ''@'', 2)'}}"
    bench.commit(BUCKET, dataset("people", f", migrations: [{said}]"))
    bench.settle()
    columns = {each["name"]: each for each in table(bench, "columns")}
    assert {name: orjson.loads(each["sensitivity"]) for name, each in columns.items()} == {
        "person_id": [], "first": ["pii"], "last": ["pii"], "contact": ["pii"], "zip": [], "joined": [], "domain": ["pii"],
    }  # fmt: skip
    assert {each["examples"] for each in columns.values() if each["name"] in ("first", "contact", "domain")} == {"[]"}
    assert (columns["contact"]["distinct_estimate"], columns["contact"]["null_share"], columns["zip"]["max"]) == (2, 0.0, "60601")


KEYED = ", primaryKey: person_id, write: upsert, compaction: {maxDeltas: 2}"


def columns(bench: Bench) -> dict[str, tuple[Any, Any, list[str]]]:
    """distinct_estimate, max and sensitivity by column."""
    found = {each["name"]: each for each in table(bench, "columns")}
    return {name: (each["distinct_estimate"], each["max"], orjson.loads(each["sensitivity"])) for name, each in found.items()}


def compacted(bench: Bench) -> None:
    """Two files' changes and one by hand, folded into the base; the values that they replace are nowhere any more."""
    people(bench)
    bench.commit(BUCKET, dataset("people", KEYED))
    bench.settle()
    bench.write("data/people/b.csv", "person_id,name,mail,zip,joined\nP-1,Ann Smith,ann@example.com,99999,2024-03-01\n")
    bench.settle()
    assert columns(bench)["zip"] == (3, "99999", [])
    request = ask(bench, "row-set", "Dataset/people", payload={"key": "P-2", "set": {"zip": "99999"}})
    bench.operator.answer()
    assert ended(bench, request)["outcome"] == "done"
    bench.settle()


def test_the_profile_of_what_was_folded_is_of_the_rows_there_are(bench: Bench) -> None:
    compacted(bench)
    known = bench.catalog.table("people")
    assert known is not None
    assert [file.role for file in known.files] == ["base"]
    assert known.files[0].source in [ledger.source for ledger in known.ledgers if ledger.kind == "profile"]
    assert columns(bench)["zip"] == (1, "99999", [])
    assert (columns(bench)["mail"][0], columns(bench)["mail"][2]) == (2, ["pii"])
    bench.write("data/people/c.csv", "person_id,name,mail,zip,joined\nP-3,Zoe Adams,zoe@example.net,02139,2025-01-01\n")
    bench.settle()
    assert columns(bench)["zip"] == (2, "99999", [])
    bench.commit(BUCKET, dataset("people", KEYED + ", columns: {joined: string}"))
    bench.settle()
    assert columns(bench)["zip"] == (2, "99999", [])


def test_a_profile_that_nothing_makes_again_is_done_without(bench: Bench) -> None:
    compacted(bench)
    known = bench.catalog.table("people")
    assert known is not None
    (profile,) = (ledger for ledger in known.ledgers if ledger.kind == "profile" and ledger.source == known.files[0].source)
    bench.store.delete(profile.ref.key)
    bench.open()
    bench.follower.advance()
    assert bench.settle()["Dataset/people"].ready == "True"
    (event,) = bench.events("ObjectMissing")
    assert event["message"].startswith("objects of former versions or")
    assert columns(bench)["zip"] == (None, None, [])
    for number in (1, 2):
        row = f"P-{number},Al,al@example.net,0213{number},2025-01-01"
        bench.write(f"data/people/{number}.csv", f"person_id,name,mail,zip,joined\n{row}\n")
        bench.settle()
    assert columns(bench)["zip"] == (2, None, []), "nobody knows what former versions hold"


def test_a_profile_whose_file_is_gone_is_done_without(bench: Bench) -> None:
    people(bench)
    bench.commit(BUCKET, dataset("people"))
    bench.settle()
    (bench.folder / "data/people/a.csv").unlink()
    bench.settle()
    (profile,) = bench.store.list("datasets/people/profile/")
    bench.store.delete(profile.key)
    bench.open()
    bench.follower.advance()
    bench.settle()
    known = bench.catalog.table("people")
    assert known is not None
    assert (known.rows, [ledger.kind for ledger in known.ledgers]) == (2, ["journal"])


def test_what_a_query_gives_is_looked_at_as_well(bench: Bench) -> None:
    people(bench)
    said = 'apiVersion: lakehouse/v1\nkind: Dataset\nmetadata: {name: top}\nspec: {source: {sql: "SELECT mail, zip FROM people"}}\n'
    bench.commit(BUCKET, dataset("people"), said)
    bench.settle()
    found = {(each["dataset"], each["name"]): each for each in table(bench, "columns")}
    assert orjson.loads(found["top", "mail"]["sensitivity"]) == ["pii"]
    assert (found["top", "zip"]["max"], found["top", "zip"]["distinct_estimate"]) == ("60601", 2)
    (profile,) = bench.store.list("datasets/top/profile/")
    bench.store.delete(profile.key)
    before = bench.catalog.table("top")
    bench.open()
    bench.follower.advance()
    assert bench.settle()["Dataset/top"].ready == "True"
    assert bench.catalog.table("top").files == before.files  # type: ignore[union-attr]
    assert {each["max"] for each in table(bench, "columns") if each["dataset"] == "top"} == {None}
