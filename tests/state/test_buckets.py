"""The registry of buckets, and what a store that breaks its promises looks like to the probe."""

from __future__ import annotations

import os
import time
from pathlib import Path

import obstore
import pytest

from state.buckets import LEFT_OVER, Buckets, open_store, probe
from state.errors import BucketInvalid, BucketUnavailable, BucketUnknown, KeyInvalid
from state.local_store import LocalStore
from state.places import BucketConfig, Service
from state.remote_store import open_memory


def test_attaching_again_changes_nothing_and_another_configuration_replaces(tmp_path: Path) -> None:
    buckets = Buckets()
    first = buckets.attach(BucketConfig("a", "local", str(tmp_path / "one")))
    assert buckets.attach(BucketConfig("a", "local", str(tmp_path / "one"))) is first
    assert buckets.store("a") is first
    second = buckets.attach(BucketConfig("a", "local", str(tmp_path / "two")))
    assert buckets.store("a") is second is not first
    buckets.attach(BucketConfig("b", "memory"))
    assert list(buckets.configs()) == ["a", "b"]
    assert buckets.config("b") == BucketConfig("b", "memory")
    buckets.detach("a")
    buckets.detach("a")
    with pytest.raises(BucketUnknown, match="'a'"):
        buckets.store("a")


def test_a_configuration_travels_as_json(tmp_path: Path) -> None:
    config = BucketConfig("a", "local", str(tmp_path), "some/prefix")
    assert BucketConfig.from_dict(config.to_dict()) == config
    open_store(config).put("key", b"1")
    assert (tmp_path / "some" / "prefix" / "key").read_bytes() == b"1"


@pytest.mark.parametrize(
    ("inner", "outer", "below"),
    [
        (BucketConfig("a", "local", "/l"), BucketConfig("b", "local", "/l", timeout=1.0, rescue="c"), ""),
        (BucketConfig("a", "local", "/l/x", "y"), BucketConfig("b", "local", "/l"), "x/y"),
        (BucketConfig("a", "local", "/l"), BucketConfig("b", "local", "/l/x"), None),
        (BucketConfig("a", "local", "/lake"), BucketConfig("b", "local", "/l"), None),
        (BucketConfig("a", "s3", None, "p/q", Service("b")), BucketConfig("b", "s3", None, "p", Service("b", region="r")), "q"),
        (BucketConfig("a", "s3", None, "", Service("b")), BucketConfig("b", "s3", None, "", Service("b", "http://s")), None),
        (BucketConfig("a", "memory", "/l"), BucketConfig("b", "memory", "/l"), None),
    ],
)
def test_one_place_within_another(inner: BucketConfig, outer: BucketConfig, below: str | None) -> None:
    assert inner.below(outer) == below


@pytest.mark.parametrize(
    "document", [{"backend": "s3", "root": None}, {"backend": "local", "root": None}, {"backend": "local", "root": "relative"}]
)
def test_what_cannot_be_opened_is_refused(document: dict[str, str | None]) -> None:
    with pytest.raises(BucketInvalid, match="Bucket a: "):
        open_store(BucketConfig.from_dict({"name": "a", **document}))


def test_a_prefix_that_leaves_the_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyInvalid):
        open_store(BucketConfig("a", "local", str(tmp_path), "../b"))


def test_a_store_that_overwrites_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path, "lake")
    real = store.put
    monkeypatch.setattr(store, "put", lambda key, data, if_absent=False: real(key, data))
    found = probe(store)
    assert (found.reachable, found.writable, found.conditional_put) == (True, True, False)
    assert list(store.list()) == []


def test_a_store_that_cannot_be_written_is_reachable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = probe(LocalStore(tmp_path / "file", "lake"))
    assert (found.reachable, found.writable) == (True, False)
    assert found.problem is not None


def test_a_bucket_that_cannot_be_swept_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    buckets = Buckets()
    for name in "abm":
        buckets.attach(BucketConfig(name, "memory" if name == "m" else "local", str(tmp_path / name)))
    for name in "ab":
        buckets.store(name).put("key", b"1")
        (tmp_path / name / ".tmp" / "1-dead").mkdir()

    def denied() -> int:
        raise BucketUnavailable("a", "sweep", "Permission denied")

    monkeypatch.setattr(open_store(buckets.config("a")), "sweep_staging", denied)
    buckets.sweep_staging()
    assert [(tmp_path / name / ".tmp" / "1-dead").exists() for name in "ab"] == [True, False]
    assert "Permission denied" in caplog.text


def test_failures_of_the_wire_are_tried_again_and_then_told(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    store = open_memory("far")
    monkeypatch.setattr(store, "_sleep", waits.append)
    store.put("a", b"1")
    failures = iter([OSError("connection reset"), OSError("connection reset")])
    real = obstore.get

    def flaky(client: object, path: str) -> object:
        error = next(failures, None)
        if error is not None:
            raise error
        return real(client, path)  # type: ignore[arg-type]

    monkeypatch.setattr(obstore, "get", flaky)
    assert store.get("a") == b"1"
    assert waits == [0.1, 0.2]
    failures = iter([OSError("connection reset\nDebug source: …")] * 9)
    with pytest.raises(BucketUnavailable, match=r"^Bucket far did not answer \(get\) after 3 attempts: connection reset\.$"):
        store.get("a")


def test_the_probe_removes_what_a_killed_one_left_and_no_other_that_is_under_way(tmp_path: Path) -> None:
    store = LocalStore(tmp_path, "lake")
    for name in ("killed", "under-way"):
        store.put(f"probe/{name}", b"first")
    long_ago = time.time() - LEFT_OVER - 1
    os.utime(tmp_path / "probe/killed", (long_ago, long_ago))
    assert probe(store).conditional_put
    assert [info.key for info in store.list("probe/")] == ["probe/under-way"]
