"""The fold: what each change makes of a state, and what it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from state.catalog.data_files import DataFile
from state.catalog.entry import (
    Adopted,
    Approved,
    BucketOpened,
    Change,
    Dropped,
    Managed,
    Renamed,
    Resumed,
    Retained,
    Suspended,
    TableCommit,
)
from state.catalog.fold import Approval, Inventory, ObjectState, Suspension, apply, check_wanted, fold
from state.catalog.index_changes import BuildAdded, CorpusAdded, Forgotten, Served, ServedBeside, TruthMade
from state.catalog.indexes import Build, Corpus, EvalTruth, IndexRecord, ServingManifest, Tail
from state.catalog.schemas import Column, Schema, extend_schema
from state.catalog.tables import Binding, Refusal, Table
from state.errors import ChangeRefused
from state.objects import ObjectRef
from state.references import references

NAME, INDEX = "Dataset/a", "Index/i"
SCHEMA = Schema(1, (Column(1, "id", "int64"), Column(2, "city", "string")))
WITHOUT_CITY = Schema(2, (Column(1, "id", "int64"),))


def ref(key: str, size: int = 10) -> ObjectRef:
    return ObjectRef("lake", key, size, "0" * 64)


def file(key: str, size: int = 10, schema_id: int = 1) -> DataFile:
    return DataFile(ref(key, size), "base", 1, 5, f"content of {key}", 0, schema_id)


def commit(**what: Any) -> TableCommit:
    return TableCommit(NAME, "t1", "lake", ("id",), "upsert", **what)


def after(*changes: Change, start: ObjectState | None = None) -> ObjectState:
    state = start
    for change in changes:
        state = apply(state, change)
    assert state is not None
    return state


def table_after(*changes: Change) -> Table:
    table = after(*changes).table
    assert table is not None
    return table


def keys(table: Table) -> list[str]:
    return [found.key for found in table.files]


FIRST = commit(schema=SCHEMA, add=(file("1"), file("2")))


def test_versions_count_changes_of_files_and_schema_only() -> None:
    state = after(FIRST)
    for change, version in (
        (FIRST, 1),
        (replace(FIRST, transformation="t2", schema=None), 1),
        (commit(bind=(Binding("p", "d", 1, 2),), refuse=(Refusal("q", "d", 3, "ragged", "t1"),)), 1),
        (commit(add=(file("3"),), remove=("1",)), 2),
        (commit(schema=WITHOUT_CITY), 3),
        (commit(remove=("2",), add=(file("2"),)), 3),
        (commit(unbind=("p", "unknown"), accept=("q", "unknown")), 3),
    ):
        state = apply(state, change)
        assert state.table is not None
        assert state.table.version == version, change
    assert state.table is not None
    assert (keys(state.table), state.table.bindings, state.table.refusals) == (["2", "3"], {}, {})


def test_a_change_without_effect_gives_the_same_state() -> None:
    state = after(FIRST, Managed(NAME, "d", "retain"), Suspended(NAME, "ann", "x"), Approved(NAME, "p", "ann", "d"))
    again: tuple[Change, ...] = (
        FIRST,
        replace(FIRST, schema=None),
        Managed(NAME, "d", "retain"),
        Suspended(NAME, "ann", "x"),
        Approved(NAME, "p", "ann", "d"),
        Adopted(NAME),
    )
    for change in again:
        assert apply(state, change) is state
    assert fold({NAME: state}.get, again) == {}
    assert fold({}.get, [Resumed(NAME, "ann"), Dropped(NAME), Retained(NAME), Served(INDEX, None)]) == {}


def test_a_file_replaced_under_its_key_keeps_its_place() -> None:
    before = table_after(FIRST)
    repaired = table_after(FIRST, commit(remove=("1",), add=(file("1", size=11),)))
    assert (repaired.version, repaired.files[0].ref.size, repaired.snapshot) == (2, 11, before.snapshot)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (commit(remove=("9",)), "no file 9"),
        (commit(remove=("1", "1")), "no file 1"),
        (commit(add=(file("1", size=11),)), "other content"),
        (commit(add=(file("3"), file("3", size=11))), "other content"),
        (commit(add=(file("3", schema_id=8),)), "no schema 8"),
        (commit(schema=Schema(1, WITHOUT_CITY.columns)), "Id 1 was given"),
        (commit(schema=Schema(0, ())), "Id 0 was given"),
        (commit(schema=Schema(2, (*SCHEMA.columns, Column(3, "city", "string")))), "share a name"),
        (commit(schema=Schema(2, (*SCHEMA.columns, Column(2, "town", "string")))), "share a name or an id"),
        (commit(schema=Schema(2, (Column(0, "id", "int64"),))), "used before"),
        (Renamed(NAME, "Dataset/b"), "folded together"),
    ],
)
def test_what_would_lose_or_double_rows_is_refused(change: Change, says: str) -> None:
    with pytest.raises(ChangeRefused, match=says):
        after(FIRST, change)


def test_the_id_of_a_dropped_column_is_never_given_again() -> None:
    dropped = after(FIRST, commit(schema=WITHOUT_CITY))
    with pytest.raises(ChangeRefused, match=r"Column ids \[2\]"):
        apply(dropped, commit(schema=Schema(3, (*WITHOUT_CITY.columns, Column(2, "email", "string")))))
    table = dropped.table
    assert table is not None
    assert apply(dropped, commit(schema=extend_schema(table.schema, [("city", "string")], table.next_column_id))).table is not None


def test_a_former_schema_comes_back_as_it_was() -> None:
    table = table_after(FIRST, commit(schema=WITHOUT_CITY), commit(schema=SCHEMA))
    assert (table.schema, table.version, table.next_schema_id, table.next_column_id) == (SCHEMA, 3, 3, 3)


def test_retained_data_is_adopted_again() -> None:
    retained = after(FIRST, Managed(NAME, "d", "retain"), Retained(NAME))
    assert (retained.retained, retained.managed) == (True, None)
    adopted = after(Managed(NAME, "e", "retain"), Adopted(NAME), start=retained)
    assert (adopted.retained, adopted.managed) == (False, Inventory("e", "retain"))
    with pytest.raises(ChangeRefused, match="no data to adopt"):
        apply(None, Adopted(NAME))


def test_versions_go_on_after_a_table_was_dropped() -> None:
    dropped = after(FIRST, commit(remove=("1",)), Dropped(NAME))
    assert dropped == ObjectState(NAME, last_version=2)
    assert dropped.gone
    assert apply(dropped, Dropped(NAME)) is dropped
    again = apply(dropped, FIRST)
    assert again.table is not None
    assert again.table.version == 3


def test_marks_of_an_object() -> None:
    state = after(Suspended(NAME, "ann", "audit", "2026-12-01"), Approved(NAME, "p1", "bob", "d"))
    assert state.suspended == Suspension("ann", "audit", "2026-12-01")
    assert state.approvals == {"p1": Approval("bob", "d")}
    assert apply(state, Resumed(NAME, "ann")).suspended is None
    opened = apply(None, BucketOpened("Bucket/b", {"backend": "local"}, True))
    assert opened.bucket is not None
    assert (opened.bucket.name, opened.bucket.config, opened.bucket.conditional_put) == ("b", {"backend": "local"}, True)


def folded(changes: Sequence[Change], *states: ObjectState) -> dict[str, ObjectState]:
    return fold({state.object: state for state in states}.get, changes)


def test_a_rename_moves_everything() -> None:
    source = after(FIRST, Managed(NAME, "d", "retain"), Suspended(NAME, "ann", "x"))
    target = after(Managed("Dataset/b", "e", "delete"))
    moved = folded([Renamed("Dataset/b", NAME)], source, target)
    assert moved[NAME] == ObjectState(NAME, last_version=1)
    assert moved["Dataset/b"].managed == Inventory("e", "delete")
    assert moved["Dataset/b"].suspended == source.suspended
    assert source.table is not None
    assert moved["Dataset/b"].table == replace(source.table, name="b")


def test_a_rename_never_repeats_a_version() -> None:
    moved = folded([Renamed("Dataset/b", NAME)], after(FIRST), ObjectState("Dataset/b", last_version=5))["Dataset/b"]
    assert moved.table is not None
    assert moved.table.version == 6


def test_a_rename_needs_a_source_and_room() -> None:
    with pytest.raises(ChangeRefused, match="does not exist"):
        folded([Renamed("Dataset/b", NAME)])
    with pytest.raises(ChangeRefused, match="data of its own"):
        folded([Renamed(NAME, "Dataset/b")], after(FIRST), after(replace(FIRST, object="Dataset/b")))


CORPUS = Corpus("c1", ref("c1"), 5, 9, "s", 1, "f", 4)
BUILD = Build("b1", "g1", "hnsw", {"m": 16}, "c1", {"graph": ref("g")}, 9, 4, 0.5)
BUILT = (CorpusAdded(INDEX, CORPUS), BuildAdded(INDEX, BUILD), BuildAdded(INDEX, replace(BUILD, digest="b2", parameters={"m": 32})))


def serve(build: str) -> Served:
    return Served(INDEX, ServingManifest(build, None))


def index_after(*changes: Change) -> IndexRecord:
    index = after(*changes).index
    assert index is not None
    return index


def test_serving_remembers_what_served_before() -> None:
    index = index_after(*BUILT, serve("b1"), serve("b1"), serve("b2"))
    assert index.serving == ServingManifest("b2", None)
    assert index.previous == ServingManifest("b1", None)
    stopped = index_after(*BUILT, serve("b1"), Served(INDEX, None))
    assert (stopped.serving, stopped.previous) == (None, ServingManifest("b1", None))


def with_tail(build: str, version: int, base: str = "c1") -> Served:
    tail = Tail(f"t{version}", ref(f"t{version}"), base, f"s{version}", version, "", 1, 1, 0, 2)
    return Served(INDEX, ServingManifest(build, None, tail=tail))


def test_newer_rows_alone_do_not_change_the_way_back() -> None:
    index = index_after(*BUILT, serve("b1"), with_tail("b1", 2), serve("b2"), with_tail("b2", 3), with_tail("b2", 4))
    assert index.serving == with_tail("b2", 4).manifest
    assert index.previous == with_tail("b1", 2).manifest
    assert [tail.table_version for tail in index.tails] == [4, 2]


@pytest.mark.parametrize(
    ("moves", "back"),
    [
        ("b1 b2:a b3:a", "b1"),
        ("b1 b2:a b3:b", "b2"),
        ("b1 b2:a b3", "b2"),
        ("b1 b2 b3", "b2"),
        ("b1 b2:a b3:a b1:a", "b3"),  # never to what serves
        ("b1 b2:a b2:b b3:b", "b2"),
        ("b1 b2:a b3:a b1:b b2:b", "b3"),
    ],
)
def test_the_steps_of_one_change_have_one_way_back(moves: str, back: str) -> None:
    """moves: builds that serve one after the other, each with its cause."""
    third = BuildAdded(INDEX, replace(BUILD, digest="b3", parameters={"m": 8}))
    served = [replace(serve(build), cause=cause) for build, _, cause in (move.partition(":") for move in moves.split())]
    index = index_after(*BUILT, third, *served)
    assert index.previous == ServingManifest(back, None)
    assert IndexRecord.from_dict(index.to_dict()) == index


OTHER = (
    CorpusAdded(INDEX, replace(CORPUS, digest="c9", fingerprint="other/1")),
    BuildAdded(INDEX, replace(BUILD, digest="b9", corpus="c9")),
)


def beside(build: str | None, model: str = "other") -> ServedBeside:
    return ServedBeside(INDEX, model, None if build is None else ServingManifest(build, None))


def test_a_model_answers_beside_the_one_that_serves() -> None:
    index = index_after(*BUILT, *OTHER, serve("b1"), beside("b9"))
    assert (index.serving, dict(index.beside)) == (ServingManifest("b1", None), {"other": ServingManifest("b9", None)})
    assert list(index.answers) == ["f", "other"]
    assert index.by_model("other").serving == ServingManifest("b9", None)
    assert index.by_model("nobody").serving is None
    assert index_after(*BUILT, *OTHER, serve("b1"), beside("b9"), beside(None)).beside == {}


def test_models_change_places() -> None:
    index = index_after(*BUILT, *OTHER, serve("b1"), beside("b9"), serve("b9"))
    assert (index.serving, index.previous) == (ServingManifest("b9", None), ServingManifest("b1", None))
    assert list(index.answers) == ["other", "f"]
    index = index_after(*BUILT, *OTHER, serve("b1"), serve("b9"), serve("b2"))
    assert {model: manifest.build for model, manifest in index.answers.items()} == {"f": "b2", "other": "b9"}
    assert index.previous == ServingManifest("b9", None)


def test_the_same_recipe_by_another_model_is_another_way() -> None:
    twin = (OTHER[0], BuildAdded(INDEX, replace(BUILD, digest="b9", corpus="c9")))
    assert index_after(*BUILT, *twin, serve("b1"), serve("b9")).previous == ServingManifest("b1", None)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (beside("b7"), "has no build b7"),
        (beside("b1"), "build b1 is not of the model other"),
        (Forgotten(INDEX, builds=("b9",)), "answers for other by a build"),
        (ServedBeside(INDEX, "other", replace(with_tail("b9", 2).manifest or ServingManifest("", None))), "the tail is of corpus c1"),
    ],
)
def test_what_cannot_answer_beside_is_refused(change: Change, match: str) -> None:
    with pytest.raises(ChangeRefused, match=match):
        index_after(*BUILT, *OTHER, serve("b1"), beside("b9"), change)


def test_a_build_made_again_replaces_the_former() -> None:
    healed = replace(BUILD, files={"graph": ref("g", size=11)})
    assert index_after(*BUILT, serve("b1"), BuildAdded(INDEX, healed)).builds["b1"] == healed


def test_forgetting_takes_the_way_back_along() -> None:
    index = index_after(*BUILT, serve("b1"), serve("b2"), Forgotten(INDEX, builds=("b1",)))
    assert (set(index.builds), index.previous) == ({"b2"}, None)
    assert index_after(*BUILT, Forgotten(INDEX, ("c1",), ("b1", "b2"))).corpora == {}


def truth(name: str, digest: str, corpus: str = "c1") -> TruthMade:
    return TruthMade(INDEX, EvalTruth(name, digest, corpus, ref(digest), 10, 500))


def test_answers_take_the_place_of_the_sets_former_ones() -> None:
    index = index_after(*BUILT, truth("e", "t1"), truth("f", "t2"), truth("e", "t3"))
    assert {name: kept.digest for name, kept in index.truths.items()} == {"e": "t3", "f": "t2"}
    state = after(*BUILT, truth("e", "t1"), truth("f", "t2"), truth("e", "t3"))
    assert {found.key for found in references(state)} >= {"t3", "t2"}
    assert "t1" not in {found.key for found in references(state)}
    assert index_after(*BUILT, truth("e", "t1"), Forgotten(INDEX, truths=("e",))).truths == {}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (truth("e", "t1", "c9"), "no corpus c9, which the answers of e are of"),
        (Forgotten(INDEX, truths=("e",)), "no answers of e to forget"),
        (serve("b9"), "no build b9 to serve"),
        (with_tail("b1", 2, "c9"), "the tail is of corpus c9, the build of c1"),
        (BuildAdded(INDEX, replace(BUILD, corpus="c9")), "no corpus c9"),
        (Forgotten(INDEX, builds=("b9",)), "no build or corpus b9"),
        (Forgotten(INDEX, builds=("b1",)), "serves build b1"),
        (Forgotten(INDEX, corpora=("c1",), builds=("b2",)), "builds over corpus c1"),
    ],
)
def test_what_serves_stays_whole(change: Change, says: str) -> None:
    with pytest.raises(ChangeRefused, match=says):
        after(*BUILT, serve("b1"), change)


MANAGED = Managed(NAME, "d", "retain")
GIVING: tuple[Change, ...] = (
    commit(add=(file("3"),)),
    CorpusAdded(NAME, CORPUS),
    BuildAdded(NAME, BUILD),
    Served(NAME, None),
    BucketOpened(NAME, {}, True),
    Renamed(NAME, INDEX),
)


@pytest.mark.parametrize("change", GIVING, ids=lambda change: change.op)
@pytest.mark.parametrize(
    ("past", "says"),
    [
        ((FIRST, Dropped(NAME)), "was removed"),
        ((MANAGED, Dropped(NAME)), "was removed"),
        ((MANAGED, FIRST, Retained(NAME)), "is retained"),
    ],
)
def test_what_comes_after_a_removal_comes_too_late(change: Change, past: tuple[Change, ...], says: str) -> None:
    state = after(*past)
    with pytest.raises(ChangeRefused, match=f"{NAME} {says}.*`{change.op}` comes too late"):
        check_wanted(state, change)
    check_wanted(apply(state, MANAGED), change)


@pytest.mark.parametrize("past", [(), (FIRST,), (MANAGED, FIRST)])
def test_what_was_not_removed_takes_every_change(past: tuple[Change, ...]) -> None:
    state = after(*past) if past else None
    for change in GIVING:
        check_wanted(state, change)


def test_removed_objects_may_be_marked() -> None:
    dropped = after(FIRST, Dropped(NAME))
    for change in (MANAGED, Suspended(NAME, "ann", "its spec is faulty"), Approved(NAME, "p", "ann", "d"), Dropped(NAME), Retained(NAME)):
        check_wanted(dropped, change)
    check_wanted(after(MANAGED, FIRST, Retained(NAME)), Adopted(NAME))
