"""A real S3 server behind a network that fails: what was carried out and not answered is known as one's own, and nothing half is taken."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

import pytest
from harness_proxy import Fault, Proxy

from examples.s3_server import S3Server
from state.buckets import Buckets, open_store
from state.catalog.catalog import Catalog
from state.catalog.entry import Managed
from state.catalog.log import WriterId
from state.errors import BucketUnavailable, ObjectCorrupt, ObjectExists
from state.lease import Holder, Lease
from state.objects import ObjectRef, ObjectStore
from state.places import BucketConfig, Service
from state.reader import ObjectReader
from state.requests import Request, RequestQueue
from state.streams import ids
from state.streams.stream import Streams
from state.streams.wal import wal_paths
from state.watched_store import PATIENCE

NOW = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)
LARGE = bytes(range(256)) * 4096 * 3


@pytest.fixture
def proxy(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    monkeypatch.setenv("LAKEHOUSE_SECRET__KEYS__ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("LAKEHOUSE_SECRET__KEYS__SECRET_ACCESS_KEY", s3_server.secret_key)
    with Proxy(s3_server.endpoint) as running:
        yield running


@pytest.fixture
def prefix() -> str:
    return f"faults/{token_hex(8)}"


def config(endpoint: str, prefix: str, *, timeout: float = 20.0, rescue: str | None = None) -> BucketConfig:
    return BucketConfig("lake", "s3", prefix=prefix, service=Service("lake", endpoint, secret="keys"), timeout=timeout, rescue=rescue)


@pytest.fixture
def store(proxy: Proxy, prefix: str) -> ObjectStore:
    return open_store(config(proxy.endpoint, prefix))


@pytest.fixture
def direct(s3_server: S3Server, proxy: Proxy, prefix: str) -> ObjectStore:
    """The same objects, past the proxy."""
    return open_store(config(s3_server.endpoint, prefix))


def keys(store: ObjectStore, prefix: str = "") -> list[str]:
    return [info.key for info in store.list(prefix)]


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.SLOW_DOWN])
def test_what_is_asked_again_is_done(proxy: Proxy, store: ObjectStore, fault: Fault) -> None:
    proxy.on("PUT", "a", fault, times=1)
    store.put("a", b"1")
    proxy.on("GET", "a", fault, times=1)
    assert store.get("a") == b"1"
    proxy.on("HEAD", "a", fault, times=1)
    assert store.head("a").size == 1
    proxy.on("GET", "list-type", fault, times=1)
    assert keys(store) == ["a"]
    proxy.on("POST", "delete", fault, times=1)
    store.delete("a")
    assert keys(store) == []
    assert [seen.fault for seen in proxy.seen].count(fault) == 5


def test_a_conditional_put_that_won_unheard_says_that_it_exists(proxy: Proxy, store: ObjectStore) -> None:
    proxy.on("PUT", "a", Fault.CUT_AFTER, times=1)
    with pytest.raises(ObjectExists):
        store.put("a", b"mine", if_absent=True)
    assert store.get("a") == b"mine"


def test_a_commit_whose_answer_was_cut_is_one_commit(proxy: Proxy, store: ObjectStore, direct: ObjectStore) -> None:
    catalog = Catalog.open(store, writer=WriterId("w1", 1))
    proxy.on("PUT", "catalog/log/", Fault.CUT_AFTER, times=1)
    seq = catalog.commit([Managed("Dataset/a", "x", "retain")], actor="ann", reason="test")
    assert catalog.commit([Managed("Dataset/b", "x", "retain")], actor="ann", reason="test") == seq + 1
    reader = Catalog.open(direct)
    assert [entry.objects for entry in reader.entries(after=1)] == [{"Dataset/a"}, {"Dataset/b"}]


def test_a_commit_that_nobody_answered_for_is_found_by_the_next(proxy: Proxy, store: ObjectStore, direct: ObjectStore) -> None:
    catalog = Catalog.open(store, writer=WriterId("w1", 1))
    proxy.on("PUT", "catalog/log/", Fault.CUT_AFTER, times=1)
    proxy.on("PUT", "catalog/log/", Fault.CUT_BEFORE, times=2)
    with pytest.raises(BucketUnavailable) as doubt:
        catalog.commit([Managed("Dataset/a", "x", "retain")], actor="ann", reason="test")
    assert doubt.value.attempts == 3
    catalog.commit([Managed("Dataset/b", "x", "retain")], actor="ann", reason="test")
    catalog.commit([Managed("Dataset/a", "x", "retain")], actor="ann", reason="again, which changes nothing")
    assert [entry.objects for entry in Catalog.open(direct).entries(after=1)] == [{"Dataset/a"}, {"Dataset/b"}]


def test_a_claim_whose_answer_was_cut_is_ones_own(proxy: Proxy, store: ObjectStore) -> None:
    proxy.on("PUT", "lease/0", Fault.CUT_AFTER, times=1)
    lease = Lease.acquire(store, Holder("me", "desk", 1, "", "m", "1"), lambda: NOW)
    assert lease.epoch == 1
    lease.check()


def test_a_flush_that_is_cut_moves_each_event_once(proxy: Proxy, store: ObjectStore, direct: ObjectStore, tmp_path: Path) -> None:
    streams = Streams(store, tmp_path / "wal", lambda: NOW)
    told = [streams.append("events", {"message": str(number)}) for number in range(3)]
    proxy.on("PUT", "streams/events/", Fault.CUT_AFTER)
    with pytest.raises(BucketUnavailable):
        streams.flush()
    told.append(streams.append("events", {"message": "more"}))
    proxy.heal()
    streams.flush()
    assert wal_paths(tmp_path / "wal") == []
    assert len(keys(direct, "streams/")) == 2
    assert [event["id"] for event in Streams(direct, tmp_path / "none", lambda: NOW).read("events")] == told


def test_a_request_that_is_submitted_twice_is_one(proxy: Proxy, store: ObjectStore) -> None:
    queue = RequestQueue(store)
    request = Request(ids.encode(1 << 100), "reconcile", "", "ann", "test")
    proxy.on("PUT", "requests/", Fault.CUT_AFTER, times=1)
    queue.submit(request)
    assert queue.pending() == (request,)


def test_a_get_that_breaks_off_is_whole_or_an_error(proxy: Proxy, store: ObjectStore) -> None:
    store.put("a", LARGE)
    proxy.on("GET", "a", Fault.TRUNCATE, times=1)
    assert store.get("a") == LARGE
    proxy.on("GET", "a", Fault.TRUNCATE, times=1)
    assert b"".join(store.open("a").pieces) == LARGE
    proxy.on("GET", "a", Fault.TRUNCATE)
    with pytest.raises(BucketUnavailable):
        store.get("a")


def test_what_stays_truncated_is_rescued(proxy: Proxy, prefix: str, direct: ObjectStore, tmp_path: Path) -> None:
    buckets = Buckets()
    far = buckets.attach(config(proxy.endpoint, prefix, rescue="mirror"))
    mirror = buckets.attach(BucketConfig("mirror", "local", str(tmp_path / "mirror")))
    reader = ObjectReader(buckets, tmp_path / "cache", 1 << 30)
    far.put("a", LARGE)
    ref = ObjectRef.of("lake", "a", LARGE)
    proxy.on("GET", "a", Fault.TRUNCATE)
    with pytest.raises((BucketUnavailable, ObjectCorrupt)):
        reader.find(ref)
    mirror.put("a", LARGE)
    found = reader.find(ref)
    assert (found.path.read_bytes(), found.rescue) == (LARGE, "mirror")


def test_a_server_that_throttles_is_given_time_and_then_up(proxy: Proxy, store: ObjectStore) -> None:
    proxy.on("PUT", "a", Fault.SLOW_DOWN, times=2)
    store.put("a", b"1", if_absent=True)
    assert [seen.fault for seen in proxy.seen] == [Fault.SLOW_DOWN, Fault.SLOW_DOWN, Fault.PASS]
    proxy.on("GET", "a", Fault.SLOW_DOWN)
    with pytest.raises(BucketUnavailable, match=r"\(get\) after 3 attempts: 503 Slow Down|503 Service Unavailable \(SlowDown\)"):
        store.get("a")


def test_an_answer_that_never_comes_is_given_up_and_the_deed_stands(proxy: Proxy, prefix: str, direct: ObjectStore) -> None:
    store = open_store(config(proxy.endpoint, prefix, timeout=0.5))
    proxy.on("PUT", "a", Fault.HOLD)
    with pytest.raises(BucketUnavailable) as given_up:
        store.put("a", b"1")
    assert given_up.value.attempts == 1, "the first attempt takes all of the time there is"
    assert direct.get("a") == b"1"


def test_a_dead_service_is_soon_left_alone(proxy: Proxy, prefix: str) -> None:
    store = Buckets().attach(config(proxy.endpoint, prefix))
    store.put("a", b"1")
    proxy.on("GET", "a", Fault.CUT_BEFORE)
    for _ in range(PATIENCE):
        with pytest.raises(BucketUnavailable):
            store.get("a")
    asked = len(proxy.seen)
    with pytest.raises(BucketUnavailable, match=f"it failed {PATIENCE} times in a row and is asked again in"):
        store.get("a")
    assert len(proxy.seen) == asked
