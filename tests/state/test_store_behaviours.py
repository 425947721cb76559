"""What every ObjectStore does, run against each implementation. A new store joins by a line in `STORES`."""

from __future__ import annotations

import secrets
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from obstore.store import MemoryStore

from examples.s3_server import S3Server
from state import remote_store
from state.buckets import open_store, probe
from state.catalog.catalog import Catalog
from state.catalog.entry import Managed
from state.catalog.log import WriterId
from state.errors import KeyInvalid, LeaseHeld, LeaseLost, ObjectExists, ObjectMissing, StateError
from state.lease import Holder, Lease
from state.local_store import LocalStore
from state.objects import PIECE, ObjectRef, ObjectStore
from state.places import BucketConfig, Service
from state.remote_store import Clients, ObstoreStore, open_memory


def s3(request: pytest.FixtureRequest) -> ObjectStore:
    """Below a prefix of its own in a bucket of a real server."""
    server: S3Server = request.getfixturevalue("s3_server")
    request.getfixturevalue("monkeypatch").setenv("LAKEHOUSE_SECRET__KEYS__ACCESS_KEY_ID", server.access_key)
    request.getfixturevalue("monkeypatch").setenv("LAKEHOUSE_SECRET__KEYS__SECRET_ACCESS_KEY", server.secret_key)
    service = Service("lake", server.endpoint, secret="keys")
    return open_store(BucketConfig("lake", "s3", prefix=f"tests/{secrets.token_hex(8)}", service=service))


STORES: dict[str, Callable[[pytest.FixtureRequest], ObjectStore]] = {
    "local": lambda request: LocalStore(request.getfixturevalue("tmp_path") / "lake", "lake"),
    "memory": lambda request: open_memory("lake"),
    "memory with a prefix": lambda request: open_memory("lake", "below/here"),
    "s3": s3,
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> ObjectStore:
    return STORES[request.param](request)


def keys(store: ObjectStore, prefix: str = "", after: str | None = None) -> list[str]:
    return [info.key for info in store.list(prefix, after)]


def test_what_was_put_is_read_back(store: ObjectStore) -> None:
    store.put("a/b/c.json", b"hello")
    assert store.get("a/b/c.json") == b"hello"
    assert store.head("a/b/c.json").size == 5
    store.put("a/b/c.json", b"other")
    assert store.get("a/b/c.json") == b"other"


def test_an_empty_object_is_an_object(store: ObjectStore) -> None:
    store.put("empty", b"", if_absent=True)
    assert store.get("empty") == b""
    with pytest.raises(ObjectExists):
        store.put("empty", b"late", if_absent=True)


def test_put_if_absent_leaves_the_first_untouched(store: ObjectStore) -> None:
    store.put("log/1", b"first", if_absent=True)
    with pytest.raises(ObjectExists, match="lake/log/1"):
        store.put("log/1", b"second", if_absent=True)
    assert store.get("log/1") == b"first"


def test_the_sizes_of_many(store: ObjectStore) -> None:
    there = {f"d/x/{number:03d}": number for number in range(20)} | {f"d/x/profile/{number}": 7 for number in range(3)}
    for key, size in there.items():
        store.put(key, b"." * size)
    assert store.sizes([*there, "d/x/gone", "d/x/profile", "d/x/000/below", "d/none/1", "../x", ""]) == there


def test_sizes_say_nothing_wrong_of_few(store: ObjectStore) -> None:
    store.put("a/b", b"1")
    assert store.sizes(["a/b", "a/c", "a"]).items() <= {"a/b": 1}.items()
    assert store.sizes([]) == {}


def test_what_is_few_among_others_is_not_listed_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_store, "LIST_CHUNK", 10)
    store = open_memory("lake")
    for number in range(1000):
        store.put(f"d/x/{number:04d}", b"1")
    wanted = [f"d/x/{number:04d}" for number in range(0, 1000, 50)]
    assert store.sizes(wanted) == {"d/x/0000": 1}


@pytest.mark.parametrize(
    ("start", "length"), [(0, None), (0, 5), (PIECE - 3, 7), (PIECE + 1, None), (3 * PIECE, 9), (0, 0), (0, 4 * PIECE)]
)
def test_an_object_is_read_piece_by_piece(store: ObjectStore, start: int, length: int | None) -> None:
    content = bytes(range(256)) * 4 * 1024 * 2 + b"end"
    store.put("a/b", content)
    opened = store.open("a/b", start, length)
    assert (opened.info.key, opened.info.size, opened.info.etag) == ("a/b", len(content), store.head("a/b").etag)
    assert b"".join(opened.pieces) == content[start:][: len(content) if length is None else length]
    early = store.open("a/b")
    assert next(early.pieces)
    early.pieces.close()


def test_opening_what_is_not_there(store: ObjectStore) -> None:
    store.put("a/b", b"1")
    for key in ("c", "a", "a/b/c"):
        with pytest.raises(ObjectMissing):
            store.open(key)


def test_the_etag_changes_with_the_content(store: ObjectStore) -> None:
    store.put("a", b"1")
    before = store.head("a").etag
    store.put("a", b"2")
    assert before
    assert store.head("a").etag != before


@pytest.mark.parametrize(
    ("start", "length", "expected"), [(0, 3, b"012"), (7, 3, b"789"), (8, 9, b"89"), (10, 1, b""), (99, 1, b""), (0, 0, b""), (3, 0, b"")]
)
def test_ranges_end_where_the_object_ends(store: ObjectStore, start: int, length: int, expected: bytes) -> None:
    store.put("a", b"0123456789")
    assert store.get_range("a", start, length) == expected


def test_what_is_missing_is_missing(store: ObjectStore) -> None:
    store.put("a/b", b"")
    for key in ("nothing", "a", "a/b/c", "x/y/z"):
        with pytest.raises(ObjectMissing):
            store.get(key)
        with pytest.raises(ObjectMissing):
            store.head(key)
        with pytest.raises(ObjectMissing):
            store.get_range(key, 0, 1)
        store.delete(key)
    assert keys(store) == ["a/b"]


def test_deleting_is_idempotent_and_frees_the_key(store: ObjectStore) -> None:
    store.put("a/b", b"1", if_absent=True)
    store.delete("a/b")
    store.delete("a/b")
    assert keys(store) == []
    store.put("a/b", b"2", if_absent=True)
    assert store.get("a/b") == b"2"


def test_a_staged_file_is_moved(store: ObjectStore) -> None:
    staged = store.stage()
    staged.write_bytes(b"table")
    store.put_file("t/1.parquet", staged, if_absent=True)
    assert store.get("t/1.parquet") == b"table"
    assert not staged.exists()
    late = store.stage()
    assert late != staged
    late.write_bytes(b"late")
    with pytest.raises(ObjectExists):
        store.put_file("t/1.parquet", late, if_absent=True)
    assert not late.exists()
    assert store.get("t/1.parquet") == b"table"
    again = store.stage()
    again.write_bytes(b"again")
    store.put_file("t/1.parquet", again)
    assert store.get("t/1.parquet") == b"again"


def test_listing_is_by_key_with_any_prefix_and_after(store: ObjectStore) -> None:
    names = ["a", "b/1", "b/2", "b/2.x/y", "b/20", "b.c/1", "b0", "bb/1/2/3", "c", "é/1"]
    for name in reversed(names):
        store.put(name, name.encode())
    assert keys(store) == sorted(names)
    assert keys(store, "b") == sorted(n for n in names if n.startswith("b"))
    assert keys(store, "b/") == ["b/1", "b/2", "b/2.x/y", "b/20"]
    assert keys(store, "b/2") == ["b/2", "b/2.x/y", "b/20"]
    assert keys(store, "b/", after="b/2") == ["b/2.x/y", "b/20"]
    assert keys(store, after="b/2.x") == ["b/2.x/y", "b/20", "b0", "bb/1/2/3", "c", "é/1"]
    assert keys(store, "zz") == keys(store, "a/nothing/") == keys(store, after="é/2") == []
    assert {info.key: info.size for info in store.list("b/2")} == {"b/2": 3, "b/2.x/y": 7, "b/20": 4}


NO_KEYS = ["", "/a", "a/", "a//b", "../a", "a/../b", ".", "a/.", "a\nb", "a\x00b", "x" * 256, "y/" * 600 + "z", "\ud800"]


@pytest.mark.parametrize("key", NO_KEYS)
def test_what_is_no_key_is_refused_by_every_method(store: ObjectStore, key: str) -> None:
    for method in (store.get, store.head, store.delete, store.path, lambda k: store.put(k, b""), lambda k: store.get_range(k, 0, 1)):
        with pytest.raises(KeyInvalid):
            method(key)
    with pytest.raises(KeyInvalid):
        store.put_file(key, store.stage())
    assert keys(store) == []


def test_of_many_threads_one_wins(store: ObjectStore) -> None:
    start = threading.Barrier(8)

    def claim(number: int) -> int:
        start.wait()
        won = 0
        for turn in range(20):
            try:
                store.put(f"race/{turn}", str(number).encode(), if_absent=True)
                won += 1
            except ObjectExists:
                assert store.get(f"race/{turn}") != b""
        return won

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, range(8))) == 20


def test_readers_never_see_half_an_overwrite(store: ObjectStore) -> None:
    versions = {bytes([i]) * 50_000 for i in range(4)}
    store.put("a", min(versions))
    done = threading.Event()

    def write() -> None:
        for _ in range(10):
            for version in versions:
                store.put("a", version)
        done.set()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while not done.is_set():
            assert store.get("a") in versions
        writing.result()


SEGMENTS = st.text(st.sampled_from("ab.-é ~%"), min_size=1, max_size=3).filter(lambda text: text not in (".", ".."))
KEYS = st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(KEYS, max_size=8), prefix=KEYS | st.just(""), after=KEYS | st.none())
def test_listing_agrees_with_a_sorted_set(store: ObjectStore, names: set[str], prefix: str, after: str | None) -> None:
    for key in keys(store):
        store.delete(key)
    # In a folder no key can begin with another one and a slash.
    names = {name for name in names if not any(other.startswith(f"{name}/") for other in names)}
    kept = set()
    for name in names:
        try:
            store.put(name, b"")
            kept.add(name)
        except KeyInvalid:  # an empty folder of an earlier example is in the way
            assert isinstance(store, LocalStore)
    assert keys(store, prefix, after) == sorted(n for n in kept if n.startswith(prefix) and (after is None or n > after))


def test_the_probe_finds_every_promise_kept_and_cleans_up(store: ObjectStore) -> None:
    found = probe(store)
    assert (found.reachable, found.writable, found.conditional_put, found.problem) == (True, True, True, None)
    assert found.latency > 0
    assert keys(store) == []


@pytest.mark.parametrize("asleep", ["between two commits", "within a commit"])
def test_a_writer_that_slept_through_its_replacement_cannot_commit(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, asleep: str
) -> None:
    """Whether it wakes before its put or is in the middle of it."""
    now = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)
    real = store.put

    def lead(name: str, at: datetime) -> Catalog:
        lease = Lease.acquire(store, Holder(name, name, 1, "", name, "1"), lambda: at)
        return Catalog.open(store, writer=WriterId(name, lease.epoch))

    def mark(catalog: Catalog, name: str) -> int:
        return catalog.commit([Managed(f"Dataset/{name}", "x", "retain")], actor="ann", reason=name)

    def replace() -> None:
        monkeypatch.setattr(store, "put", real)
        with pytest.raises(LeaseHeld, match="process 1 on old"):
            lead("new", now + timedelta(seconds=10))
        taken.append(lead("new", now + timedelta(seconds=20)))

    def put(key: str, data: bytes, *, if_absent: bool = False) -> None:
        if key.startswith("catalog/log/"):
            replace()
        real(key, data, if_absent=if_absent)

    taken: list[Catalog] = []
    old = lead("old", now)
    mark(old, "a")
    if asleep == "within a commit":
        monkeypatch.setattr(store, "put", put)
    else:
        replace()
    for late in ("b", "c"):
        with pytest.raises(LeaseLost):
            mark(old, late)
    (new,) = taken
    mark(new, "d")
    seen = Catalog.open(store)
    assert sorted(seen.objects()) == ["Dataset/a", "Dataset/d"]
    assert (seen.epoch, seen.refused) == (2, ())


def test_a_reference_describes_its_bytes() -> None:
    ref = ObjectRef.of("lake", "a", b"abc")
    assert ref.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert ObjectRef.from_dict(ref.to_dict()) == ref


def test_a_staging_folder_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone" / "x"))
    (tmp_path / "gone").touch()
    with pytest.raises(StateError, match="taken"):
        ObstoreStore(Clients.of(MemoryStore()), "lake").stage()
