"""The catalog: commits by many threads, readers, two writers, checkpoints and their damage."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from state import failpoints
from state.catalog.catalog import Catalog
from state.catalog.checkpoint import KEEP, MANIFESTS, SHARD_FOLDER, manifest_key
from state.catalog.data_files import DataFile
from state.catalog.entry import Change, Dropped, Entry, Managed, Renamed, Retained, Suspended, TableCommit
from state.catalog.fold import Inventory, ObjectState
from state.catalog.index_changes import CorpusAdded
from state.catalog.indexes import Corpus
from state.catalog.log import CatalogLog, WriterId, log_key
from state.catalog.schemas import Column, Schema
from state.catalog.tables import Binding
from state.catalog.view import SHARDS, RefusedEntry, shard_of
from state.errors import BucketUnavailable, CatalogCorrupt, ChangeRefused, DiskFull, FailpointError, LeaseLost, StateError
from state.local_store import LocalStore
from state.objects import ObjectRef, ObjectStore
from state.remote_store import Clients, ObstoreStore

ONE, TWO = WriterId("first", 1), WriterId("second", 2)
SCHEMA = Schema(1, (Column(1, "id", "int64"),))


def now() -> datetime:
    return datetime(2026, 11, 22, 15, 51, 52, tzinfo=UTC)


class Faulty(ObstoreStore):
    """Counts gets; `fault` may raise before or after a put, or make it wait."""

    def __init__(self) -> None:
        super().__init__(Clients.of(MemoryStore()), "lake")
        self.gets: list[str] = []
        self.before: Callable[[str], None] = lambda key: None
        self.after: Callable[[str], None] = lambda key: None

    def get(self, key: str) -> bytes:
        self.gets.append(key)
        return super().get(key)

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        self.before(key)
        super().put(key, data, if_absent=if_absent)
        self.after(key)


@pytest.fixture
def store() -> Faulty:
    return Faulty()


def open_writer(store: ObjectStore, writer: WriterId = ONE, every: int = 512) -> Catalog:
    return Catalog.open(store, writer=writer, clock=now, checkpoint_every=every)


def ingest(name: str, part: int = 1) -> TableCommit:
    file = DataFile(ObjectRef("lake", f"{name}/{part}", 1, "0" * 64), "base", part, 5, f"d{part}", 0, 1)
    schema = SCHEMA if part == 1 else None
    return TableCommit(f"Dataset/{name}", "t", "lake", ("id",), schema=schema, add=(file,), bind=(Binding(f"{part}.csv", "d", 1, 2),))


def commit(catalog: Catalog, *changes: Change, reason: str = "test") -> int:
    return catalog.commit(changes, actor="ann", reason=reason)


def everything(catalog: Catalog) -> dict[str, object]:
    return {name: state.to_dict() for name, state in catalog.objects().items()}


def keys(store: ObjectStore, prefix: str) -> list[str]:
    return [info.key for info in store.list(prefix)]


def test_what_was_committed_is_there_after_opening_again(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    catalog = open_writer(store)
    assert commit(catalog, ingest("a"), Managed("Dataset/a", "digest", "retain"), Managed("Index/i", "digest", "delete")) == catalog.seq
    reader = Catalog.open(store)
    assert everything(reader) == everything(catalog)
    assert list(reader.objects()) == ["Dataset/a", "Index/i"]
    assert list(reader.objects("Dataset")) == ["Dataset/a"]
    table = reader.table("a")
    assert table is not None
    assert (table.version, table.rows, table.binding("1.csv")) == (1, 5, Binding("1.csv", "d", 1, 2))
    assert (reader.table("b"), reader.get("Dataset/b"), reader.index("i")) == (None, None, None)
    with pytest.raises(StateError, match="opened to read"):
        commit(reader, ingest("b"))
    with pytest.raises(StateError, match="opened to read"):
        reader.checkpoint()


def test_an_index_is_found_by_its_name(store: Faulty) -> None:
    catalog = open_writer(store)
    corpus = Corpus("c", ObjectRef("lake", "c", 1, "0" * 64), 1, 1, "s", 1, "f", 4)
    commit(catalog, CorpusAdded("Index/i", corpus))
    index = catalog.index("i")
    assert index is not None
    assert index.corpora == {"c": corpus}


def test_a_commit_without_effect_writes_nothing(store: Faulty) -> None:
    catalog = open_writer(store)
    first = commit(catalog, ingest("a"))
    assert commit(catalog, ingest("a")) == first
    assert commit(catalog) == first
    assert keys(store, "catalog/log/") == [log_key(1), log_key(2)]


def test_callers_that_wait_share_an_entry(store: Faulty) -> None:
    catalog = open_writer(store)
    arrived, release = threading.Event(), threading.Event()

    def wait(key: str) -> None:
        arrived.set()
        assert release.wait(10)

    store.before = wait
    with ThreadPoolExecutor(16) as pool:
        first = pool.submit(commit, catalog, ingest("a0"))
        assert arrived.wait(10)
        store.before = lambda key: None
        others = [pool.submit(commit, catalog, ingest(f"a{number}"), reason=f"ingest {number}") for number in range(1, 14)]
        late = pool.submit(commit, catalog, replace(ingest("a0"), remove=("unknown",)))
        while len(catalog._group._line) < 14:
            pass
        release.set()
        assert first.result() == 2
        assert {other.result() for other in others} == {3}
        with pytest.raises(ChangeRefused):
            late.result()
    shared = list(catalog.entries(after=2))
    assert len(shared) == 1
    assert (shared[0].actor, shared[0].reason) == ("ann", "several")
    assert {(change.object, cause.reason) for change, cause in shared[0].explained()} == {
        (f"Dataset/a{number}", f"ingest {number}") for number in range(1, 14)
    }
    assert everything(Catalog.open(store)) == everything(catalog)


def test_sixteen_threads_lose_nothing(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    catalog = open_writer(store, every=8)

    def work(worker: int) -> None:
        for part in range(1, 5):
            commit(catalog, ingest(f"t{worker}", part))
            table = catalog.table(f"t{worker}")
            assert table is not None
            assert table.version == part

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    assert catalog.seq < 64
    assert everything(Catalog.open(store)) == everything(catalog)


def test_a_commit_in_doubt_is_found_out_by_the_next(store: Faulty) -> None:
    catalog = open_writer(store)

    def no_answer(key: str) -> None:
        raise BucketUnavailable("lake", "put", "timeout")

    store.after = no_answer
    with pytest.raises(BucketUnavailable):
        commit(catalog, ingest("a"))
    assert catalog.get("Dataset/a") is None
    store.after = lambda key: None
    told: list[frozenset[str]] = []
    catalog.subscribe(told.append)
    assert commit(catalog, ingest("b")) == 3
    assert told == [frozenset({"Dataset/a", "Dataset/b"})]
    assert list(catalog.objects()) == ["Dataset/a", "Dataset/b"]
    assert everything(Catalog.open(store)) == everything(catalog)


def test_a_full_disk_loses_nothing(store: Faulty) -> None:
    catalog = open_writer(store)

    def full(key: str) -> None:
        raise DiskFull("lake", key)

    store.before = full
    with pytest.raises(DiskFull):
        commit(catalog, ingest("a"))
    store.before = lambda key: None
    assert commit(catalog, ingest("a")) == 2


@pytest.mark.parametrize("end", [Dropped("Dataset/a"), Retained("Dataset/a"), Renamed("Dataset/b", "Dataset/a")])
def test_a_late_commit_does_not_bring_back_what_was_removed(store: Faulty, end: Change) -> None:
    catalog = open_writer(store)
    commit(catalog, Managed("Dataset/a", "d", "retain"), ingest("a"))
    commit(catalog, end)
    catalog.checkpoint()
    for writer in (catalog, open_writer(store, TWO)):
        before = everything(writer)
        with pytest.raises(ChangeRefused, match="comes too late"):
            commit(writer, ingest("a", 2))
        assert everything(writer) == before
    commit(writer, Managed("Dataset/a", "d", "retain"), replace(ingest("a", 2), schema=SCHEMA))
    assert writer.table("a") is not None


def test_callers_that_share_an_entry_with_a_removal_are_refused(store: Faulty) -> None:
    catalog = open_writer(store)
    commit(catalog, Managed("Dataset/a", "d", "delete"), ingest("a"))
    with pytest.raises(ChangeRefused, match="comes too late"):
        commit(catalog, Dropped("Dataset/a"), ingest("a"))
    assert catalog.knows("Dataset/a")
    commit(catalog, Dropped("Dataset/a"))
    assert not catalog.knows("Dataset/a")
    assert not catalog.knows("Dataset/never")


def test_a_late_commit_that_stands_in_the_log_has_happened(store: Faulty) -> None:
    catalog = open_writer(store)
    commit(catalog, ingest("a"))
    commit(catalog, Dropped("Dataset/a"))
    late = Entry(catalog.seq + 1, "first", 1, "2026-11-22T15:51:52.123Z", "an older version", "late", None, (ingest("a"),))
    CatalogLog(store).append(late)
    assert Catalog.open(store).table("a") is not None
    assert commit(open_writer(store, TWO), ingest("a", 2)) == late.seq + 2


def test_what_json_cannot_say_concerns_its_caller_only(store: Faulty) -> None:
    catalog = open_writer(store)
    with pytest.raises(ValueError, match="JSON"):
        commit(catalog, replace(ingest("a"), bind=(Binding("p", "d", 2**70, 1),)))
    assert commit(catalog, ingest("a")) == 2


def test_a_newer_writer_fences_the_older(store: Faulty) -> None:
    old = open_writer(store)
    commit(old, ingest("a"))
    new = open_writer(store, TWO)
    for _ in range(2):
        with pytest.raises(LeaseLost):
            commit(old, ingest("b"))
    with pytest.raises(LeaseLost):
        old.checkpoint()
    with pytest.raises(LeaseLost):
        open_writer(store, ONE)
    with pytest.raises(LeaseLost):
        open_writer(store, WriterId("third", 2))
    commit(new, ingest("b"))
    assert list(new.objects()) == ["Dataset/a", "Dataset/b"]
    assert open_writer(store, TWO).seq == new.seq


def test_the_last_entry_of_an_older_writer_counts_if_it_comes_before_the_fence(store: Faulty) -> None:
    old = open_writer(store)

    def late(key: str) -> None:
        store.before = lambda key: None
        commit(old, ingest("a"))

    store.before = late  # the new writer has read the log, and is about to put its first entry
    new = open_writer(store, TWO)
    assert list(new.objects()) == ["Dataset/a"]
    assert [entry.writer for entry in new.entries()] == ["first", "first", "second"]


def test_the_fold_refuses_older_epochs(store: Faulty) -> None:
    open_writer(store)
    new = open_writer(store, TWO)
    stray = Entry(3, "first", 1, "2026-11-22T15:51:52.123Z", "old", "late", None, (ingest("a"),))
    CatalogLog(store).append(stray)
    assert commit(new, ingest("b")) == 4
    reader = Catalog.open(store)
    new.checkpoint()
    for catalog in (new, reader, Catalog.open(store)):
        assert list(catalog.objects()) == ["Dataset/b"]
        assert catalog.refused == (RefusedEntry(3, "first", 1),)
        assert [entry.seq for entry in catalog.entries()] == [1, 2, 4]
        assert list(catalog.history("Dataset/a")) == []


def test_readers_refresh_and_subscribers_are_told(store: Faulty) -> None:
    catalog, reader = open_writer(store), Catalog.open(store)
    heard: list[frozenset[str]] = []
    told: list[frozenset[str]] = []
    unsubscribe = catalog.subscribe(heard.append)
    reader.subscribe(told.append)
    before = reader.view()
    commit(catalog, ingest("a"), ingest("b"))
    commit(catalog, ingest("c"))
    unsubscribe()
    commit(catalog, ingest("d"))
    assert heard == [{"Dataset/a", "Dataset/b"}, {"Dataset/c"}]
    assert reader.refresh() == {f"Dataset/{name}" for name in "abcd"}
    assert reader.refresh() == frozenset()
    assert told == [{f"Dataset/{name}" for name in "abcd"}]
    assert everything(reader) == everything(catalog)
    assert before.objects() == {}


def test_what_precedes_a_commit_ends_before_it_is_seen(store: Faulty) -> None:
    catalog = open_writer(store)
    heard: list[str] = []

    def prepare(states: Iterable[ObjectState]) -> Callable[[], None]:
        names = [state.object for state in states if state.table is not None]
        heard.append(f"{names} to come, {catalog.get('Dataset/a')} seen")
        return lambda: heard.append(f"{names} durable, {catalog.get('Dataset/a')} seen")

    store.after = lambda key: heard.append("put")
    end = catalog.precede(prepare)
    commit(catalog, ingest("a"))
    end()
    commit(catalog, ingest("b"))
    assert heard == ["['Dataset/a'] to come, None seen", "put", "['Dataset/a'] durable, None seen", "put"]
    assert set(catalog.objects()) == {"Dataset/a", "Dataset/b"}


def test_history_is_newest_first_and_follows_renames(store: Faulty) -> None:
    catalog = open_writer(store)
    commit(catalog, ingest("old"))
    commit(catalog, ingest("other"))
    commit(catalog, ingest("old", 2))
    commit(catalog, Renamed("Dataset/new", "Dataset/old"))
    commit(catalog, ingest("new", 3))
    assert [entry.seq for entry in catalog.history("Dataset/new")] == [6, 5, 4, 2]
    assert [entry.seq for entry in catalog.history("Dataset/old")] == [5, 4, 2]
    assert [entry.seq for entry in catalog.history("Dataset/other")] == [3]
    assert [entry.seq for entry in catalog.entries(after=2, limit=2)] == [3, 4]


# -- checkpoints


def filled(store: ObjectStore, tables: int = 40) -> Catalog:
    catalog = open_writer(store)
    commit(catalog, *(ingest(f"t{number}") for number in range(tables)))
    catalog.checkpoint()
    return catalog


def test_only_changed_shards_are_written_and_three_checkpoints_kept(store: Faulty) -> None:
    catalog = filled(store)
    first = set(keys(store, SHARD_FOLDER))
    commit(catalog, ingest("t0", 2))
    catalog.checkpoint()
    catalog.checkpoint()
    assert len(set(keys(store, SHARD_FOLDER)) - first) == 1
    for part in range(3, 9):
        commit(catalog, ingest("t0", part))
        catalog.checkpoint()
    assert keys(store, MANIFESTS) == [manifest_key(seq) for seq in range(catalog.seq - KEEP + 1, catalog.seq + 1)]
    assert len(keys(store, SHARD_FOLDER)) == len({shard_of(f"Dataset/t{number}") for number in range(40)}) - 1 + KEEP
    assert everything(Catalog.open(store)) == everything(catalog)


def test_checkpoints_happen_by_themselves_and_failing_ones_do_no_harm(store: Faulty, caplog: pytest.LogCaptureFixture) -> None:
    catalog = open_writer(store, every=8)
    for part in range(1, 8):
        commit(catalog, ingest("a", part))
    assert keys(store, MANIFESTS) == [manifest_key(8)]

    def full(key: str) -> None:
        if key.startswith(SHARD_FOLDER):
            raise DiskFull("lake", key)

    store.before = full
    for part in range(8, 16):
        commit(catalog, ingest("a", part))
    assert "will be tried again" in caplog.text
    assert keys(store, MANIFESTS) == [manifest_key(8)]
    store.before = lambda key: None
    for part in range(16, 19):
        commit(catalog, ingest("a", part))
    assert len(keys(store, MANIFESTS)) == 2
    assert everything(Catalog.open(store)) == everything(catalog)


def test_one_object_is_opened_from_its_shard(store: Faulty) -> None:
    catalog = filled(store)
    commit(catalog, ingest("t1", 2), ingest("t2", 2))
    store.gets.clear()
    reader = Catalog.open(store, only={"Dataset/t1"})
    assert len([key for key in store.gets if key.startswith(SHARD_FOLDER)]) == 1
    assert reader.table("t1") == catalog.table("t1")
    assert list(reader.objects()) == ["Dataset/t1"]
    with pytest.raises(ValueError, match="opened for Dataset/t1, not for Dataset/t2"):
        reader.get("Dataset/t2")
    commit(catalog, ingest("t2", 3))
    assert reader.refresh() == frozenset()
    commit(catalog, ingest("t1", 3))
    assert reader.refresh() == {"Dataset/t1"}
    assert reader.table("t1") == catalog.table("t1")
    with pytest.raises(ValueError, match="whole catalog"):
        Catalog.open(store, writer=TWO, only={"Dataset/t1"})


@pytest.mark.parametrize("at_once", [True, False])
def test_one_object_is_opened_though_it_had_other_names(store: Faulty, at_once: bool) -> None:
    catalog = filled(store)
    reader = None if at_once else Catalog.open(store, only={"Dataset/c"})
    commit(catalog, ingest("t1", 2))
    commit(catalog, Renamed("Dataset/b", "Dataset/t1"))
    commit(catalog, Renamed("Dataset/c", "Dataset/b"), Renamed("Dataset/d", "Dataset/t2"))
    reader = reader or Catalog.open(store, only={"Dataset/c"})
    reader.refresh()
    assert reader.table("c") == catalog.table("c") is not None
    former = Catalog.open(store, only={"Dataset/t2"})
    assert former.get("Dataset/t2") is None


def test_dropped_objects_leave_only_their_version(store: Faulty) -> None:
    catalog = filled(store)
    commit(catalog, Dropped("Dataset/t1"), Suspended("Dataset/t2", "ann", "x"))
    catalog.checkpoint()
    reader = Catalog.open(store)
    assert "Dataset/t1" not in reader.objects()
    assert reader.get("Dataset/t1") is None
    again = open_writer(store, TWO)
    commit(again, Managed("Dataset/t1", "d", "retain"), ingest("t1"))
    table = again.table("t1")
    assert table is not None
    assert table.version == 2


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda data: b"",
    "torn": lambda data: data[: len(data) // 2],
    "changed": lambda data: data.replace(b"1", b"2"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("what", ["manifest", "shard", "every shard", "lost shard"])
def test_a_damaged_checkpoint_is_not_used(store: Faulty, damage: str, what: str) -> None:
    catalog = filled(store)
    for part in (2, 3):
        commit(catalog, ingest("t0", part))
        catalog.checkpoint()
    expected = everything(catalog)
    damaged = [manifest_key(catalog.seq)] if what == "manifest" else keys(store, SHARD_FOLDER)[-1:]
    for key in keys(store, SHARD_FOLDER) if what == "every shard" else damaged:
        if what == "lost shard":
            store.delete(key)
        else:
            store.put(key, DAMAGES[damage](store.get(key)))
    reader = Catalog.open(store)
    assert everything(reader) == expected
    assert len(reader.damaged) == (3 if what == "every shard" else 1)
    healed = open_writer(store, TWO)
    commit(healed, ingest("t0", 4))
    healed.checkpoint()
    assert Catalog.open(store).damaged == ()
    assert everything(Catalog.open(store)) == everything(healed)


def test_a_log_that_ends_before_a_checkpoint_is_no_log(store: Faulty) -> None:
    catalog = filled(store)
    store.put(manifest_key(catalog.seq), b"")
    store.delete(log_key(catalog.seq))
    with pytest.raises(CatalogCorrupt, match=f"{log_key(catalog.seq)} is missing"):
        Catalog.open(store)


def test_an_entry_that_cannot_follow_is_corruption(store: Faulty) -> None:
    open_writer(store)
    CatalogLog(store).append(
        Entry(2, "first", 1, "2026-11-22T15:51:52.123Z", "a", "r", None, (replace(ingest("a"), add=(), remove=("unknown",)),))
    )
    with pytest.raises(CatalogCorrupt, match="does not follow"):
        Catalog.open(store)


def test_a_torn_entry_at_the_end_is_named_to_reader_and_writer(store: Faulty) -> None:
    catalog = open_writer(store)
    store.put(log_key(2), b"")
    with pytest.raises(CatalogCorrupt, match="is empty"):
        Catalog.open(store)
    with pytest.raises(CatalogCorrupt, match="is empty"):
        commit(catalog, ingest("a"))
    store.delete(log_key(2))
    assert commit(catalog, ingest("a")) == 2


def test_every_shard_is_used() -> None:
    assert {shard_of(f"Dataset/{number}") for number in range(5000)} == set(range(SHARDS))


def test_failpoints_are_known_and_leave_the_catalog_usable(store: Faulty) -> None:
    names = [name for name in failpoints.declared() if name.startswith("catalog.")]
    assert len(names) == 7
    catalog = filled(store)

    def go_on(name: str) -> None:
        for number in range(KEEP + 1):
            commit(catalog, Managed("Dataset/t0", f"{name} {number}", "retain"))
            catalog.checkpoint()

    for name in names:
        failpoints.arm({name: "error"})
        with pytest.raises(FailpointError):
            go_on(name)
        assert failpoints.armed() == {}
        go_on(name)
    state = catalog.get("Dataset/t0")
    assert state is not None
    assert state.managed == Inventory(f"{names[-1]} {KEEP}", "retain")
    assert everything(Catalog.open(store)) == everything(catalog)


def test_a_writer_under_whom_the_log_was_emptied_puts_nothing_on_top_of_nothing(store: Faulty) -> None:
    """Else the log would begin at some number, and nobody could read it."""
    at = [now()]
    catalog = Catalog.open(store, writer=ONE, clock=lambda: at[0])
    catalog.commit([ingest("a")], actor="ann", reason="test")
    for info in list(store.list()):
        store.delete(info.key)
    at[0] += timedelta(seconds=2)
    with pytest.raises(CatalogCorrupt, match="is gone: somebody emptied") as caught:
        catalog.commit([ingest("b")], actor="ann", reason="test")
    assert "Restore" in caught.value.explain()
    with pytest.raises(CatalogCorrupt, match="is gone"):
        catalog.checkpoint()
    assert list(store.list()) == []
