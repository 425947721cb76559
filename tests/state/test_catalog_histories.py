"""Whatever happened in whatever order, and wherever the process died: log, checkpoints and the writer's memory tell one story."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from itertools import count
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from state.catalog.catalog import Catalog
from state.catalog.checkpoint import KEEP, MANIFESTS, SHARD_FOLDER
from state.catalog.data_files import DataFile
from state.catalog.entry import Adopted, Approved, Change, Dropped, Managed, Renamed, Resumed, Retained, Suspended, TableCommit
from state.catalog.fold import ObjectState
from state.catalog.log import WriterId
from state.catalog.schemas import extend_schema
from state.catalog.tables import Binding, Table
from state.errors import ChangeRefused
from state.objects import ObjectInfo, ObjectRef, ObjectStore
from state.remote_store import Clients, ObstoreStore

T = TypeVar("T")
NAMES = [f"Dataset/{letter}" for letter in "abcd"]


def changed(catalog: Catalog, name: str, number: int, drop_column: bool) -> TableCommit:
    """A commit that adds a file of its own, replaces the oldest of three, and sometimes drops a column and adds another."""
    state = catalog.get(name)
    table = state.table if state is not None and state.table is not None else Table(name)
    schema = extend_schema(table.schema, [("id", "int64"), (f"c{number}", "string")], table.next_column_id, schema_id=table.next_schema_id)
    if drop_column:
        schema = type(schema)(schema.id, schema.columns[1:])
    file = DataFile(ObjectRef("lake", f"{name}/{number}", 1, "0" * 64), "base", table.next_sequence, 5, str(number), 0, schema.id)
    gone = tuple(found.key for found in table.files[:-1])[:1]
    bind = (Binding(f"{number}.csv", "d", 1, 2),)
    return TableCommit(name, "t", "lake", schema=schema, add=(file,), remove=gone, bind=bind, unbind=tuple(table.bindings)[:1])


names = st.sampled_from(NAMES)
marks: st.SearchStrategy[Change] = st.one_of(
    st.builds(Managed, names, st.sampled_from("xy"), st.just("retain")),
    st.builds(Retained, names),
    st.builds(Adopted, names),
    st.builds(Dropped, names),
    st.builds(Renamed, names, names),
    st.builds(Suspended, names, st.just("ann"), st.sampled_from("xy")),
    st.builds(Resumed, names, st.just("ann")),
    st.builds(Approved, names, st.sampled_from("pq"), st.just("ann"), st.just("d")),
)
moves = st.tuples(names, st.booleans()) | st.lists(marks, min_size=1, max_size=3) | st.sampled_from(["checkpoint", "reopen", "refresh"])
steps = st.lists(moves, max_size=30)


def everything(catalog: Catalog) -> dict[str, object]:
    return {name: state.to_dict() for name, state in catalog.objects().items()}


def copy(store: ObjectStore, prefix: str = "") -> ObstoreStore:
    """Another store with the objects below a prefix: the log alone, say."""
    other = ObstoreStore(Clients.of(MemoryStore()), "copy")
    for info in store.list(prefix):
        other.put(info.key, store.get(info.key))
    return other


@given(steps)
def test_log_checkpoints_and_memory_agree(story: list[tuple[str, bool] | list[Change] | str]) -> None:
    store = ObstoreStore(Clients.of(MemoryStore()), "lake")
    epoch = 1
    writer, reader = Catalog.open(store, writer=WriterId("w1", 1), checkpoint_every=5), Catalog.open(store)
    for number, step in enumerate(story):
        match step:
            case "checkpoint":
                writer.checkpoint()
            case "refresh":
                reader.refresh()
            case "reopen":
                epoch += 1
                writer = Catalog.open(store, writer=WriterId(f"w{epoch}", epoch), checkpoint_every=5)
            case (str(name), bool(drop_column)):
                before = writer.get(name)
                wanted_again = Managed(name, "x", "retain")
                writer.commit([wanted_again, changed(writer, name, number, drop_column)], actor="ann", reason="test")
                check_follows(before and before.table, writer.get(name))
            case _:
                assert isinstance(step, list)
                before_all = everything(writer)
                try:
                    writer.commit(step, actor="ann", reason="test")
                except ChangeRefused:
                    assert everything(writer) == before_all
    reader.refresh()
    wanted = everything(writer)
    assert everything(reader) == wanted
    assert everything(Catalog.open(store)) == wanted
    assert everything(Catalog.open(copy(store, "catalog/log/"))) == wanted
    for name in NAMES:
        assert Catalog.open(store, only={name}).get(name) == writer.get(name)


def check_follows(before: Table | None, state: ObjectState | None) -> None:
    """Each of these commits moves the version by one, and no id of a dropped column comes back."""
    assert state is not None
    assert state.table is not None
    if before is not None:
        assert state.table.version == before.version + 1
        retired = {column.id for schema in before.schemas for column in schema.columns} - {column.id for column in before.columns}
        assert not retired & {column.id for column in state.table.columns}


class Killed(BaseException):
    """The process is no more. Not an Exception, so that nothing survives by catching it."""


class Mortal(ObstoreStore):
    """A store that dies at its n-th operation, before or after that was done, and stays dead."""

    def __init__(self, disk: MemoryStore, lives: int, after: bool) -> None:
        super().__init__(Clients.of(disk), "lake")
        self.lives = lives
        self.after = after

    def _live(self, action: Callable[[], T]) -> T:
        self.lives -= 1
        if self.lives < 0 or (self.lives == 0 and not self.after):
            raise Killed
        result = action()
        if self.lives == 0:
            raise Killed
        return result

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        self._live(lambda: super(Mortal, self).put(key, data, if_absent=if_absent))

    def get(self, key: str) -> bytes:
        return self._live(lambda: super(Mortal, self).get(key))

    def head(self, key: str) -> ObjectInfo:
        return self._live(lambda: super(Mortal, self).head(key))

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        return self._live(lambda: super(Mortal, self).list(prefix, after))

    def delete(self, key: str) -> None:
        self._live(lambda: super(Mortal, self).delete(key))


ROUNDS = 12


def work(store: ObjectStore, epoch: int) -> Catalog:
    """As a reconciler does: open, look how far the table is, and do the rest."""
    catalog = Catalog.open(store, writer=WriterId(f"w{epoch}", epoch), checkpoint_every=4)
    while (table := catalog.table("a")) is None or table.version < ROUNDS:
        number = 0 if table is None else table.version
        catalog.commit([changed(catalog, "Dataset/a", number, number % 3 == 2)], actor="ann", reason="test")
        catalog.commit([Managed(f"Dataset/{number}", str(number), "retain")], actor="ann", reason="test")
    return catalog


def finish(disk: MemoryStore, epoch: int) -> dict[str, object]:
    store = ObstoreStore(Clients.of(disk), "lake")
    work(store, epoch)
    marked = Catalog.open(store, writer=WriterId(f"w{epoch}", epoch))
    for number in range(ROUNDS):  # a mark that the death came between is observed to be missing, and made
        marked.commit([Managed(f"Dataset/{number}", str(number), "retain")], actor="ann", reason="test")
    assert everything(Catalog.open(copy(store, "catalog/log/"))) == everything(marked)
    return everything(marked)


@pytest.mark.parametrize("after", [False, True])
def test_dying_at_any_operation_loses_and_doubles_nothing(after: bool) -> None:
    undisturbed = finish(MemoryStore(), 1)
    for lives in count(1):
        disk = MemoryStore()
        with contextlib.suppress(Killed):
            work(Mortal(disk, lives, after), 1)
            break
        with contextlib.suppress(Killed):  # and once more, while it recovers
            work(Mortal(disk, lives // 2 + 1, after), 2)
        assert finish(disk, 3) == undisturbed, f"died at operation {lives}"
    assert lives > 80


def test_what_was_acknowledged_is_there_at_every_death() -> None:
    for lives in range(1, 60):
        disk = MemoryStore()
        acknowledged: list[int] = []
        with contextlib.suppress(Killed):
            catalog = Catalog.open(Mortal(disk, lives, after=lives % 2 == 0), writer=WriterId("w1", 1), checkpoint_every=4)
            for number in range(60):
                catalog.commit([Managed(f"Dataset/{number}", "x", "retain")], actor="ann", reason="test")
                acknowledged.append(number)
        found = Catalog.open(ObstoreStore(Clients.of(disk), "lake")).objects()
        assert len(acknowledged) <= len(found) <= len(acknowledged) + 1
        assert all(f"Dataset/{number}" in found for number in acknowledged)


def test_nothing_of_a_dead_checkpoint_stays_for_ever() -> None:
    disk = MemoryStore()
    for lives in range(1, 30):
        with contextlib.suppress(Killed):
            work(Mortal(disk, lives * 7, after=False), lives)
    store = ObstoreStore(Clients.of(disk), "lake")
    catalog = work(store, 100)
    catalog.commit([Managed("Dataset/last", "x", "retain")], actor="ann", reason="test")
    catalog.checkpoint()
    manifests = [store.get(info.key) for info in store.list(MANIFESTS)]
    assert len(manifests) == KEEP
    for info in store.list(SHARD_FOLDER):
        assert any(info.key.encode() in manifest for manifest in manifests)
