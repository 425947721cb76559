"""Records, changes and entries: their JSON form, and what a table derives from its files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.catalog import entry as entries
from state.catalog.data_files import ColumnStats, DataFile
from state.catalog.entry import CHANGES, Cause, Change, Entry, Suspended, TableCommit
from state.catalog.fold import Approval, BucketRecord, Inventory, ObjectState, Suspension
from state.catalog.indexes import Build, Choice, Corpus, EvalTruth, IndexRecord, ServingManifest, Tail
from state.catalog.schemas import Column, Schema, extend_schema
from state.catalog.tables import Binding, Origin, Refusal, Table
from state.errors import CatalogCorrupt
from state.objects import ObjectRef

texts = st.text(max_size=8)
counts = st.integers(0, 2**60)
scalars = st.none() | st.booleans() | texts | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
documents = st.dictionaries(texts, scalars | st.lists(scalars, max_size=2), max_size=2)
maybe = st.none() | texts


def many(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(values, max_size=2).map(tuple)


def keyed(values: st.SearchStrategy[Any], name: str) -> st.SearchStrategy[Any]:
    return st.lists(values, max_size=2).map(lambda found: {getattr(value, name): value for value in found})


refs = st.builds(ObjectRef, texts, texts, counts, texts)
schemas = st.builds(Schema, counts, many(st.builds(Column, counts, texts, texts)))
stats = st.dictionaries(texts, st.builds(ColumnStats, scalars, scalars, counts), max_size=2)
row_keys = st.none() | many(scalars)
roles = st.sampled_from(["base", "delta"])
files = st.builds(DataFile, refs, roles, counts, counts, texts, counts, counts, row_keys, row_keys, stats)
bindings = st.builds(Binding, texts, texts, counts, counts, st.booleans())
refusals = st.builds(Refusal, texts, texts, st.none() | counts, texts, texts)
origins = st.builds(Origin, texts, texts, texts, st.dictionaries(texts, counts, max_size=2), texts)
tables = st.builds(
    Table,
    texts,
    counts,
    texts,
    many(texts),
    texts,
    texts,
    many(schemas),
    many(files),
    keyed(bindings, "path"),
    keyed(refusals, "path"),
    st.booleans(),
    origin=st.none() | origins,
)
corpora = st.builds(Corpus, texts, refs, counts, counts, texts, counts, texts, counts)
seconds = st.floats(0, 1e6)
builds = st.builds(
    Build, texts, maybe, texts, documents, texts, st.dictionaries(texts, refs, max_size=2), counts, counts, seconds, seconds, counts
)
tails = st.builds(Tail, texts, refs, texts, texts, counts, texts, counts, counts, counts, counts)
manifests = st.builds(ServingManifest, texts, maybe, documents, st.none() | tails)
served = st.none() | manifests
choices = st.none() | st.builds(Choice, maybe, maybe, documents, documents) | st.builds(Choice, maybe, model=texts, instead_of=texts)
truths = st.builds(EvalTruth, texts, texts, texts, refs, counts, counts, counts, counts, counts, counts)
indexes = st.builds(
    IndexRecord,
    texts,
    keyed(corpora, "digest"),
    keyed(builds, "digest"),
    served,
    served,
    choices,
    keyed(truths, "eval_set"),
    st.dictionaries(texts, manifests, max_size=2),
)

changes: dict[str, st.SearchStrategy[Change]] = {
    "table-commit": st.builds(
        TableCommit,
        texts,
        texts,
        texts,
        many(texts),
        texts,
        st.none() | schemas,
        many(files),
        many(texts),
        many(bindings),
        many(texts),
        many(refusals),
        many(texts),
        origin=st.none() | origins,
    ),
    "corpus-added": st.builds(entries.CorpusAdded, texts, corpora),
    "build-added": st.builds(entries.BuildAdded, texts, builds),
    "served": st.builds(entries.Served, texts, served),
    "served-beside": st.builds(entries.ServedBeside, texts, texts, served),
    "chosen": st.builds(entries.Chosen, texts, choices),
    "truth-made": st.builds(entries.TruthMade, texts, truths),
    "forgotten": st.builds(entries.Forgotten, texts, many(texts), many(texts), many(texts)),
    "bucket-opened": st.builds(entries.BucketOpened, texts, documents, st.booleans()),
    "managed": st.builds(entries.Managed, texts, texts, texts),
    "retained": st.builds(entries.Retained, texts),
    "adopted": st.builds(entries.Adopted, texts),
    "renamed": st.builds(entries.Renamed, texts, texts),
    "dropped": st.builds(entries.Dropped, texts),
    "suspended": st.builds(Suspended, texts, texts, texts, maybe),
    "resumed": st.builds(entries.Resumed, texts, texts),
    "asked": st.builds(entries.Asked, texts, texts, texts),
    "approved": st.builds(entries.Approved, texts, texts, texts, texts),
}
states = st.builds(
    ObjectState,
    texts,
    st.none() | st.builds(Inventory, texts, texts),
    st.none() | st.builds(Suspension, texts, texts, maybe),
    st.dictionaries(texts, st.builds(Approval, texts, texts), max_size=2),
    st.none() | tables,
    st.none() | indexes,
    st.none() | st.builds(BucketRecord, texts, documents, st.booleans()),
    counts,
    texts,
)


def test_every_change_has_an_op_and_a_strategy() -> None:
    assert set(CHANGES) == set(changes)
    assert len(CHANGES) == len(get_args(Change))


@given(st.data())
def test_entries_survive_storage(data: st.DataObject) -> None:
    moved = tuple(data.draw(changes[op]) for op in data.draw(st.lists(st.sampled_from(sorted(changes)), max_size=3)))
    causes = data.draw(st.sampled_from([(), tuple(Cause("a", str(number)) for number in range(len(moved)))]))
    entry = Entry(data.draw(counts), "w", 1, "2026-11-22T15:51:52.123Z", data.draw(texts), "", data.draw(maybe), moved, causes)
    assert Entry.decode(entry.encode(), "k") == entry


@given(states)
def test_states_survive_storage(state: ObjectState) -> None:
    assert ObjectState.from_dict(orjson.loads(orjson.dumps(state.to_dict()))) == state


ENTRY = Entry(7, "w", 1, "2026-11-22T15:51:52.123Z", "ann", "because", None, (Suspended("Dataset/a", "ann", "holiday"),))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        pytest.param(lambda data: b"", "is empty", id="empty"),
        pytest.param(lambda data: data[:-5], "is no complete JSON", id="torn"),
        pytest.param(lambda data: b"[]", "cannot be understood", id="another document"),
        pytest.param(lambda data: data.replace(b'"format":1', b'"format":2'), "unknown format 2", id="newer format"),
        pytest.param(lambda data: data.replace(b'"suspended"', b'"sharded"'), "unknown op `sharded`", id="unknown op"),
        pytest.param(lambda data: data.replace(b'"why"', b'"wherefore"'), "wherefore", id="unknown field"),
        pytest.param(lambda data: data.replace(b'"epoch":1,', b""), "epoch", id="missing field"),
    ],
)
def test_a_damaged_entry_is_named_with_a_remedy(damage: Any, says: str) -> None:
    with pytest.raises(CatalogCorrupt, match=says) as raised:
        Entry.decode(damage(ENTRY.encode()), "catalog/log/7.json")
    assert "catalog/log/7.json" in str(raised.value)
    assert raised.value.remedy


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        replace(ENTRY, seq=2**70).encode()


def test_an_entry_explains_each_change() -> None:
    first, second = Suspended("Dataset/a", "ann", "x"), Suspended("Dataset/b", "bob", "y")
    own = replace(ENTRY, changes=(first, second))
    assert list(own.explained()) == [(first, Cause("ann", "because")), (second, Cause("ann", "because"))]
    causes = (Cause("ann", "x", "r1"), Cause("bob", "y", "r2"))
    assert list(replace(own, causes=causes).explained()) == list(zip((first, second), causes, strict=True))


def file(key: str, role: Any = "base", sequence: int = 1) -> DataFile:
    return DataFile(ObjectRef("lake", key, 10, "0" * 64), role, sequence, 5, "d", 0, 1)


def test_a_table_derives_from_its_files() -> None:
    table = Table("t", 3, files=(file("b", "delta", 2), file("a"), file("c", "delta", 1)))
    assert table.rows == 15
    assert table.size == 30
    assert [found.key for found in table.data_files] == ["a", "c", "b"]
    assert table.next_sequence == 3
    assert table.file("c") == file("c", "delta", 1)
    assert table.file("z") is None
    assert table.schema.columns == table.columns == ()


def test_a_snapshot_is_the_content_and_not_the_version() -> None:
    table = Table("t", 1, files=(file("a"), file("b")))
    assert table.snapshot == replace(table, version=9, name="u").snapshot
    for other in ((file("b"), file("a")), (file("a"), file("b", "delta")), (file("a"), file("b", sequence=2)), (file("a"),)):
        assert replace(table, files=other).snapshot != table.snapshot


def test_schemas_are_extended_and_never_changed() -> None:
    first = extend_schema(None, [("id", "int64"), ("name", "string")], 1)
    assert first == Schema(1, (Column(1, "id", "int64"), Column(2, "name", "string")))
    assert extend_schema(first, [("name", "string")], 3) is first
    assert extend_schema(first, [("city", "string"), ("id", "int64")], 7) == Schema(2, (*first.columns, Column(7, "city", "string")))
    with pytest.raises(ValueError, match="`id` is int64, not string"):
        extend_schema(first, [("id", "string")], 3)
    dropped = Schema(2, (Column(1, "id", "int64"),))
    table = Table("t", schemas=(first, dropped))
    assert extend_schema(table.schema, [("name", "string")], table.next_column_id, schema_id=table.next_schema_id) == Schema(
        3, (Column(1, "id", "int64"), Column(3, "name", "string"))
    )
