"""What a dataset says about itself: the spec's words, what was found, and what of its values is told."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
import pytest

from state.catalog.data_files import ColumnStats, DataFile
from state.catalog.fold import Inventory, ObjectState
from state.catalog.indexes import Build, Corpus, IndexRecord, ServingManifest
from state.catalog.schemas import Column, Schema
from state.catalog.tables import Binding, Former, Ledger, Table
from state.descriptions import Description, Descriptions, describe
from state.drafting import Facts, by_template
from state.errors import ObjectMissing
from state.lineage import edges
from state.objects import ObjectRef
from state.profiles import ColumnProfile, Finding, Profiles, TableProfile

SCHEMA = Schema(1, (Column(1, "id", "int64"), Column(2, "mail", "string"), Column(3, "price", "decimal(10,2)")))
EMAIL = Finding("email", "pii", 0.9, 10, "90% of 10 sampled values are e-mail addresses")
PROFILE = TableProfile({
    "id": ColumnProfile(10, 0, 10, ("1", "2")),
    "mail": ColumnProfile(10, 2, 8, (), {"email": EMAIL}),
    "price": ColumnProfile(10, 0, 3, ("9.50",)),
}, complete=True)  # fmt: skip


def part(number: int, low: str = "9.50", high: str = "10.00", nulls: int = 1) -> DataFile:
    ref = ObjectRef("lake", f"datasets/people/{number}.parquet", 10, "f" * 64)
    columns = {"id": ColumnStats(number, 9, 0), "mail": ColumnStats("a@x.org", "z@x.org", nulls), "price": ColumnStats(low, high, 0)}
    return DataFile(ref, "base", number, 5, f"content{number}", 0, 1, columns=columns)


TABLE = Table(
    "people", 3, "lake", ("id",), "append", "t", (SCHEMA,), (part(1), part(2, "2.00", "100.00")),
    {f"{n}.csv": Binding(f"{n}.csv", f"content{n}", 99, 1) for n in (1, 2)}, at="2026-03-01T00:00:00.000Z",
    ledgers=(Ledger("profile", ObjectRef("lake", "p.json", 9, "1" * 64), 3, "content1", 2, "2026-02-01T00:00:00.000Z", "j1"),),
)  # fmt: skip


def columns(*names: str) -> list[tuple[str, str]]:
    return [(name, "string") for name in names]


def told(about: Mapping[str, Any] | None = None, table: Table = TABLE, *, governed: bool = False) -> Description:
    state = ObjectState("Dataset/people", managed=Inventory("d", "retain", about or {}), table=table, governed=governed)
    return describe(state, PROFILE)


def test_what_was_found_is_told_with_its_evidence() -> None:
    known = told()
    assert (known.sensitivity, known.drafted, known.owner, known.tags) == (("pii",), True, None, ())
    assert [(column.name, column.sensitivity, column.evidence) for column in known.columns] == [
        ("id", (), None), ("mail", ("pii",), EMAIL.evidence), ("price", (), None),
    ]  # fmt: skip
    assert [(column.null_share, column.distinct) for column in known.columns] == [(0.0, 10), (0.2, 8), (0.0, 3)]


def test_values_are_told_of_what_is_not_sensitive() -> None:
    id_, mail, price = told().columns
    assert (id_.low, id_.high, id_.examples) == (1, 9, ("1", "2"))
    assert (mail.low, mail.high, mail.examples) == (None, None, ())
    assert (price.low, price.high) == ("2.00", "100.00")


@pytest.mark.parametrize("given", [{"governed": True}, {"about": {"sensitivity": ["internal"]}}])
def test_no_values_where_a_policy_governs_or_the_whole_is_sensitive(given: dict[str, Any]) -> None:
    for column in told(**given).columns:
        assert (column.low, column.high, column.examples) == (None, None, ())


def test_the_word_of_the_spec_overrides_what_was_found() -> None:
    known = told({"columns": {"mail": {"sensitivity": ["public"]}, "id": {"sensitivity": ["internal", "pii"], "description": "Who"}}})
    id_, mail, _ = known.columns
    assert (mail.sensitivity, mail.evidence, mail.entities) == (("public",), "the spec says so", ("email",))
    assert (mail.low, mail.high) == ("a@x.org", "z@x.org")
    assert (id_.sensitivity, id_.description, id_.low) == (("pii", "internal"), "Who", None)
    assert known.sensitivity == ("pii", "internal")


def test_the_word_about_the_whole_is_added_and_public_ends_it() -> None:
    assert told({"sensitivity": ["internal"]}).sensitivity == ("pii", "internal")
    public = told({"sensitivity": ["public"]})
    assert public.sensitivity == ("public",)
    assert public.columns[1].low == "a@x.org"


def test_a_description_that_somebody_wrote_is_not_drafted() -> None:
    known = told({"description": "Everybody.", "owner": "hr", "tags": ["staff"]})
    assert (known.description, known.drafted, known.owner, known.tags) == ("Everybody.", False, "hr", ("staff",))


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        (Facts("x", 1, [("a", "int64")], (), 1), "1 column, 1 row from 1 file: a"),
        (
            Facts("x", 100_000, columns("name", "id", "phone", "email"), ("id",), 3, "file", {"pii": {"phone": (), "email": ()}}),
            "4 columns, 100,000 rows from 3 files: id (key), name, phone, email; contains pii in phone and email",
        ),
        (Facts("x", 5, columns(*"abcdefghi"), (), 1, "query"), "9 columns, 5 rows from 1 query: a, b, c, d, e, f, and 3 more"),
        (Facts("x", 4, columns("id"), ("id",), 2, merged=False), "1 column, 4 rows before merging by key from 2 files: id (key)"),
        (Facts("x", 0, [], (), 0), "nothing yet"),
    ],
)  # fmt: skip
def test_drafts(facts: Facts, text: str) -> None:
    assert by_template(facts) == text


def test_lineage_leads_from_file_to_content_job_and_dataset() -> None:
    state = ObjectState("Dataset/people", managed=Inventory("d", "retain", about={"source": {"files": ["*.csv"]}}), table=TABLE)
    assert [edge[:4] for edge in edges(state)] == [
        ("file", "1.csv", "content", "content1"),
        ("file", "2.csv", "content", "content2"),
        ("content", "content1", "job", "j1"),
        ("job", "j1", "dataset", "people"),
        ("content", "content2", "dataset", "people"),
    ]
    derived = replace(state, managed=Inventory("d", "retain", about={"source": {"sql": "SELECT 1 FROM a", "reads": ["a"]}}))
    assert ("dataset", "a", "dataset", "people") in [edge[:4] for edge in edges(derived)]


def test_lineage_leads_on_to_an_index() -> None:
    ref = ObjectRef("lake", "indexes/r/c.parquet", 1, "f" * 64)
    index = IndexRecord(
        "r",
        {"c": Corpus("c", ref, 1, 1, "s", 3, "f", 8)},
        {"b": Build("b", None, "flat", {}, "c", {}, 1, 8, 0.1)},
        ServingManifest("b", None),
    )
    (edge,) = edges(ObjectState("Index/r", managed=Inventory("d", "delete", about={"dataset": "people"}), index=index))
    assert edge[:4] == ("dataset", "people", "index", "r")
    assert edge.version == 3


class Objects:
    """Profiles in memory; counts what is read."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.reads: list[str] = []

    def add(self, name: str, values: tuple[int, ...], **finding: Any) -> Ledger:
        findings = [{"entity": "email", "class": "pii", "evidence": name, **finding}] if finding else []
        sketch = base64.b64encode(struct.pack(f"<{len(values)}Q", *values)).decode()
        column = {"name": "mail", "rows": len(values), "nulls": 1, "sketch": sketch, "examples": [name], "findings": findings}
        self.kept[name] = orjson.dumps({"format": 1, "rows": 3, "columns": [column]})
        return Ledger("profile", ObjectRef("lake", name, 1, name), 1, name, 1, "")

    def read(self, ref: ObjectRef) -> bytes:
        self.reads.append(ref.key)
        if ref.key not in self.kept:
            raise ObjectMissing(ref.bucket, ref.key)
        return self.kept[ref.key]


def test_profiles_of_contents_are_merged() -> None:
    objects = Objects()
    ledgers = (objects.add("a", (1, 5), share=1.0, sampled=2), objects.add("b", (3, 5, 7), share=0.5, sampled=6))
    profile = Profiles(objects).of(replace(TABLE, ledgers=ledgers)).columns["mail"]
    assert (profile.rows, profile.nulls, profile.distinct, profile.examples) == (5, 2, 4, ())
    assert profile.findings["email"] == Finding("email", "pii", 0.625, 8, "a")


def test_a_table_that_grows_is_read_for_what_is_new_and_one_that_shrinks_anew() -> None:
    objects = Objects()
    profiles, one, two = Profiles(objects), objects.add("a", (1,)), objects.add("b", (2,))
    for ledgers in ((one,), (one,), (one, two), (two,)):
        assert profiles.of(replace(TABLE, ledgers=ledgers)).columns["mail"].distinct == len(ledgers)
    assert objects.reads == ["a", "b", "b"]


def test_what_cannot_be_read_says_nothing_and_is_tried_again() -> None:
    objects = Objects()
    one, lost = objects.add("a", (1,)), objects.add("b", (2,))
    content, objects.kept["b"] = objects.kept.pop("b"), b'{"format": 99}'
    bound = {name: Binding(name, name, 1, 1) for name in "ab"}
    profiles, table = Profiles(objects), replace(TABLE, ledgers=(one, lost), bindings=bound)
    assert (profiles.of(table).columns["mail"].distinct, profiles.of(table).complete) == (1, False)
    del objects.kept["b"]
    mail = Descriptions(profiles)(ObjectState("Dataset/people", table=table)).columns[1]
    assert (mail.distinct, mail.sensitivity, mail.low, mail.examples) == (1, (), None, ()), "it may hold what cannot be read now"
    objects.kept["b"] = content
    assert (profiles.of(table).columns["mail"].distinct, profiles.of(table).complete) == (2, True)
    assert not profiles.of(replace(table, bindings=bound | {"c": Binding("c", "c", 1, 1)})).complete


def test_what_only_a_former_version_holds_is_found_in_its_column_as_long_as_that_is_kept() -> None:
    objects = Objects()
    ledgers = objects.add("content1", (1,)), objects.add("content2", (2,)), objects.add("gone", (3,), share=1.0, sampled=4)
    ledgers = (*ledgers, objects.add("less clear", (4,), share=0.5, sampled=8))
    removed = tuple(replace(part(9), source=source, columns={}) for source in ("gone", "less clear"))
    then = Former(2, "2026-02-01T00:00:00.000Z", 1, ("id",), removed=removed)
    profiles, table = Profiles(objects), replace(TABLE, ledgers=ledgers, former=(then,))
    told = profiles.of(table)
    assert (told.columns["mail"].distinct, told.columns["mail"].findings, told.complete) == (2, {}, True)
    mail = describe(ObjectState("Dataset/people", table=table), told).columns[1]
    assert (mail.sensitivity, mail.evidence, mail.distinct, mail.low) == (("pii",), "in a former version, gone", 2, None)
    assert not profiles.of(replace(table, ledgers=ledgers[:2])).complete, "nobody knows what it held"
    kept = profiles.of(replace(table, ledgers=ledgers[:2], former=()))
    assert (kept.former, kept.complete) == ({}, True)


def test_what_is_known_is_not_made_up_again_until_it_changes() -> None:
    objects = Objects()
    one, two = objects.add("a", (1,)), objects.add("b", (2,))
    content = objects.kept.pop("b")
    told, state = Descriptions(Profiles(objects)), ObjectState("Dataset/people", table=replace(TABLE, ledgers=(one, two)))
    first = told(state)
    assert told(state) is first
    objects.kept["b"] = content
    assert told(state).columns[1].distinct == 2
    managed = replace(state, managed=Inventory("digest", "retain", about={"owner": "ann"}))
    assert (told(managed).owner, told(state).owner) == ("ann", None)
