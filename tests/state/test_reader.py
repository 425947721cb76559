"""The one reader: damage is noticed and named, remote objects are cached once, verified and bounded."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import obstore
import pytest

from state import reader as reading
from state.buckets import Buckets
from state.errors import BucketUnavailable, BucketUnknown, ObjectCorrupt, ObjectMissing, SecretMissing, StateError
from state.objects import ObjectRef, ObjectStore, OpenObject
from state.places import BucketConfig
from state.reader import ObjectReader


class Clock:
    """Unix seconds that only move when told to."""

    def __init__(self) -> None:
        self.now = 1_900_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def buckets(tmp_path: Path) -> Buckets:
    buckets = Buckets()
    buckets.attach(BucketConfig("lake", "local", str(tmp_path / "lake")))
    buckets.attach(BucketConfig("far", "memory"))
    return buckets


@pytest.fixture
def reader(buckets: Buckets, tmp_path: Path, clock: Clock) -> ObjectReader:
    return ObjectReader(buckets, tmp_path / "cache", 1000, clock=clock)


def put(buckets: Buckets, bucket: str, key: str, data: bytes) -> ObjectRef:
    buckets.store(bucket).put(key, data)
    return ObjectRef.of(bucket, key, data)


def cached(tmp_path: Path) -> set[int]:
    return {path.stat().st_size for path in (tmp_path / "cache" / "objects").glob("*/*")}


def count_downloads(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    real: Callable[[str], OpenObject] = store.open

    def counted(key: str) -> OpenObject:
        calls.append(key)
        return real(key)

    monkeypatch.setattr(store, "open", counted)
    return calls


def test_local_objects_are_opened_in_place(buckets: Buckets, reader: ObjectReader, tmp_path: Path) -> None:
    ref = put(buckets, "lake", "a/b", b"table")
    assert reader.path(ref) == tmp_path / "lake" / "a" / "b"
    assert reader.read(ref) == b"table"
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("bucket", ["lake", "far"])
@pytest.mark.parametrize(
    ("content", "expected", "found"),
    [
        (b"tabl", "5 bytes", "4 bytes"),
        (b"table and more", "5 bytes", "bytes"),
        (b"", "5 bytes", "0 bytes"),
        (b"tablE", "sha256 " + ObjectRef.of("", "", b"table").sha256, "sha256 " + ObjectRef.of("", "", b"tablE").sha256),
    ],
)
def test_damage_is_named(buckets: Buckets, reader: ObjectReader, bucket: str, content: bytes, expected: str, found: str) -> None:
    ref = put(buckets, bucket, "a/b", b"table")
    buckets.store(bucket).put("a/b", content)
    for read in (reader.path, reader.read):
        with pytest.raises(ObjectCorrupt, match=f"{bucket}/a/b is damaged") as caught:
            read(ref)
        assert caught.value.expected == expected
        assert found in caught.value.found
        assert (caught.value.bucket, caught.value.key) == (bucket, "a/b")


@pytest.mark.parametrize("bucket", ["lake", "far"])
def test_what_is_missing_is_missing(buckets: Buckets, reader: ObjectReader, bucket: str) -> None:
    for read in (reader.path, reader.read):
        with pytest.raises(ObjectMissing, match=f"{bucket}/a/b"):
            read(ObjectRef.of(bucket, "a/b", b"x"))
        with pytest.raises(BucketUnknown, match="nowhere"):
            read(ObjectRef.of("nowhere", "a/b", b"x"))


@pytest.mark.parametrize("bucket", ["lake", "far"])
def test_what_of_many_is_not_whole(buckets: Buckets, reader: ObjectReader, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refs = [put(buckets, bucket, f"d/{number}", b"table") for number in range(20)]
    asked: list[str] = []
    head = obstore.head
    monkeypatch.setattr(obstore, "head", lambda store, path: asked.append(path) or head(store, path))
    assert reader.lacking(refs) == frozenset()
    assert not asked  # one listing tells all of them
    buckets.store(bucket).delete("d/3")
    put(buckets, bucket, "d/4", b"tab")
    missing = ObjectRef.of("nowhere", "d/1", b"x")
    assert reader.lacking([*refs, missing]) == {refs[3], refs[4], missing}


def test_what_of_many_was_found_damaged_stays_so_until_it_is_another(buckets: Buckets, reader: ObjectReader) -> None:
    refs = [put(buckets, "lake", f"d/{number}", b"table %d" % number) for number in range(3)]
    buckets.store("lake").put("d/1", b"tAble 1")
    assert reader.lacking(refs) == frozenset()  # nobody has read it yet
    with pytest.raises(ObjectCorrupt):
        reader.path(refs[1])
    assert reader.lacking(refs) == {refs[1]}
    buckets.store("lake").put("d/1", b"table 1")
    place = buckets.store("lake").path("d/1")
    assert place is not None
    os.utime(place, ns=(0, place.stat().st_mtime_ns + 1_000_000_000))  # two writes within a tick of the clock look the same
    assert reader.lacking(refs) == frozenset()


def test_damage_after_a_good_read_is_noticed(buckets: Buckets, reader: ObjectReader) -> None:
    ref = put(buckets, "lake", "a", b"table")
    path = reader.path(ref)
    with path.open("r+b") as file:
        file.truncate(3)
    with pytest.raises(ObjectCorrupt, match="found 3 bytes"):
        reader.path(ref)
    path.write_bytes(b"tablE")
    os.utime(path, ns=(0, 1))
    with pytest.raises(ObjectCorrupt, match="sha256"):
        reader.path(ref)


def test_an_object_is_hashed_once(buckets: Buckets, reader: ObjectReader, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = put(buckets, "lake", "a", b"table")
    hashed: list[Path] = []
    real = reading.sha256_file
    monkeypatch.setattr(reading, "sha256_file", lambda path: hashed.append(path) or real(path))
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(reader.path, [ref] * 32))) == 1
    assert len(hashed) == 1


def test_remote_objects_are_downloaded_once(buckets: Buckets, reader: ObjectReader, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = put(buckets, "far", "a", b"table")
    calls = count_downloads(buckets.store("far"), monkeypatch)
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(reader.path, [ref] * 32))
    assert len(paths) == 1
    assert paths.pop().read_bytes() == b"table"
    assert len(calls) == 1
    assert reader.read(ref) == b"table"
    assert len(calls) == 1


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 20, 25])
def test_large_objects_come_in_pieces(buckets: Buckets, reader: ObjectReader, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr("state.remote_store.PIECE", 10)
    data = bytes(range(size))
    assert reader.read(put(buckets, "far", "a", data)) == data


def test_a_damaged_cache_is_repaired(buckets: Buckets, tmp_path: Path, clock: Clock) -> None:
    ref = put(buckets, "far", "a", b"table")
    ObjectReader(buckets, tmp_path / "cache", 1000, clock=clock).path(ref).write_bytes(b"tablE")
    assert ObjectReader(buckets, tmp_path / "cache", 1000, clock=clock).path(ref).read_bytes() == b"table"


def test_nothing_corrupt_enters_the_cache(buckets: Buckets, reader: ObjectReader, tmp_path: Path) -> None:
    ref = put(buckets, "far", "a", b"table")
    buckets.store("far").put("a", b"tablE")
    with pytest.raises(ObjectCorrupt):
        reader.path(ref)
    assert cached(tmp_path) == set()
    assert [path for path in (tmp_path / "cache" / ".tmp").rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_the_cache_is_bounded_and_keeps_what_was_used_last(buckets: Buckets, reader: ObjectReader, tmp_path: Path, clock: Clock) -> None:
    refs = [put(buckets, "far", str(size), bytes(size)) for size in (300, 301, 302, 303)]
    for ref in refs[:3]:
        reader.path(ref)
        clock.now += 100
    reader.path(refs[0])
    clock.now += 100
    reader.path(refs[3])
    assert cached(tmp_path) == {300, 302, 303}
    assert reader.path(refs[1]).stat().st_size == 301


def test_what_was_just_handed_out_is_not_taken_away(buckets: Buckets, reader: ObjectReader, clock: Clock) -> None:
    paths = [reader.path(put(buckets, "far", str(size), bytes(size))) for size in (600, 601, 602)]
    assert all(path.exists() for path in paths)
    clock.now += 100
    reader.path(put(buckets, "far", "new", bytes(10)))
    assert sum(path.exists() for path in paths) == 1


class TestRescue:
    @pytest.fixture
    def buckets(self, tmp_path: Path) -> Buckets:
        buckets = Buckets()
        buckets.attach(BucketConfig("lake", "local", str(tmp_path / "lake"), rescue="mirror"))
        buckets.attach(BucketConfig("far", "memory", rescue="mirror"))
        buckets.attach(BucketConfig("lost", "local", str(tmp_path / "lost"), rescue="nowhere"))
        buckets.attach(BucketConfig("mirror", "local", str(tmp_path / "mirror")))
        return buckets

    @pytest.mark.parametrize("bucket", ["lake", "far"])
    @pytest.mark.parametrize("damage", ["missing", "longer", "other", "unreachable", "unsigned"])
    def test_the_same_object_elsewhere_answers(
        self, buckets: Buckets, reader: ObjectReader, bucket: str, damage: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ref = put(buckets, bucket, "a/b", b"table")
        put(buckets, "mirror", "a/b", b"table")
        store = buckets.store(bucket)
        errors: dict[str, StateError] = {
            "unreachable": BucketUnavailable(bucket, "get", "down"),
            "unsigned": SecretMissing("keys", "the secrets file"),
        }
        if damage in errors:

            def refused(*_: object) -> None:
                raise errors[damage]

            for name in ("get", "open", "path"):
                monkeypatch.setattr(store, name, refused)
        elif damage == "missing":
            store.delete("a/b")
        else:
            store.put("a/b", b"tablet" if damage == "longer" else b"tablE")
        found = reader.find(ref)
        assert (found.path.read_bytes(), found.rescue) == (b"table", "mirror")
        assert reader.read(ref) == b"table"
        first, second = reversed(buckets.failures.newest())
        assert found.failure == first
        kind = errors[damage].slug if damage in errors else "object-missing" if damage == "missing" else "object-corrupt"
        for failure in (first, second):
            assert (failure.op, failure.key, failure.kind, failure.rescue_bucket) == ("get", "a/b", kind, "mirror")

    def test_a_file_that_cannot_be_read_where_it_lies_is_a_failure_of_its_bucket(
        self, buckets: Buckets, reader: ObjectReader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ref = put(buckets, "lake", "a", b"table")
        put(buckets, "mirror", "a", b"table")
        real = reading.sha256_file

        def broken(path: Path) -> str:
            if "lake" in path.parts:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return real(path)

        monkeypatch.setattr(reading, "sha256_file", broken)
        found = reader.find(ref)
        assert found.path.read_bytes() == b"table"
        assert buckets.failures.newest() == [found.failure]
        assert found.failure is not None
        assert (found.failure.bucket, found.failure.op, found.failure.kind) == ("lake", "get", "bucket-unavailable")

    def test_what_answers_once_more_is_told_as_not_asked(self, buckets: Buckets, reader: ObjectReader) -> None:
        ref = put(buckets, "mirror", "a", b"table")
        failure = reader.find(replace(ref, bucket="lake")).failure
        assert failure is not None
        reader.again(failure)
        again, first = buckets.failures.newest()
        assert first == failure
        assert (again.bucket, again.key, again.kind, again.attempt, again.rescue_bucket) == ("lake", "a", "object-missing", 0, "mirror")

    def test_its_own_bucket_comes_first(self, buckets: Buckets, reader: ObjectReader) -> None:
        ref = put(buckets, "lake", "a", b"1")
        put(buckets, "mirror", "a", b"1")
        assert reader.find(ref).rescue is None
        assert buckets.failures.newest() == []

    def test_another_object_under_the_key_is_none(self, buckets: Buckets, reader: ObjectReader) -> None:
        ref = put(buckets, "lake", "a", b"table")
        buckets.store("lake").delete("a")
        put(buckets, "mirror", "a", b"other")
        with pytest.raises(ObjectMissing, match="lake/a does not exist"):
            reader.find(ref)
        told = {(failure.bucket, failure.kind, failure.rescue_bucket) for failure in buckets.failures.newest()}
        assert told == {("lake", "object-missing", None), ("mirror", "object-corrupt", None)}

    def test_a_rescue_bucket_that_is_none(self, buckets: Buckets, reader: ObjectReader) -> None:
        ref = put(buckets, "lost", "a", b"table")
        buckets.store("lost").delete("a")
        with pytest.raises(ObjectMissing, match="lost/a does not exist"):
            reader.find(ref)


class TestObjectsThatNothingRefersTo:
    @pytest.mark.parametrize("bucket", ["lake", "far"])
    def test_facts_and_digest(self, buckets: Buckets, reader: ObjectReader, bucket: str, tmp_path: Path) -> None:
        ref = put(buckets, bucket, "in/é.csv", b"id\n1\n")
        info, digest = reader.take(bucket, "in/é.csv")
        assert (info, digest) == (buckets.store(bucket).head("in/é.csv"), ref.sha256)
        assert cached(tmp_path) == (set() if bucket == "lake" else {5})
        with pytest.raises(ObjectMissing):
            reader.take(bucket, "in/none.csv")

    def test_what_was_taken_is_not_asked_for_again(self, buckets: Buckets, reader: ObjectReader, monkeypatch: pytest.MonkeyPatch) -> None:
        ref = put(buckets, "far", "a", b"once")
        downloads = count_downloads(buckets.store("far"), monkeypatch)
        reader.take("far", "a")
        assert reader.path(ref).read_bytes() == b"once"
        assert downloads == ["a"]

    def test_one_that_breaks_off_is_nothing(
        self, buckets: Buckets, reader: ObjectReader, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        put(buckets, "far", "a", b"whole")
        store = buckets.store("far")
        real = store.open

        def cut(key: str) -> OpenObject:
            opened = real(key)
            return replace(opened, pieces=(piece[:3] for piece in opened.pieces))

        monkeypatch.setattr(store, "open", cut)
        with pytest.raises(BucketUnavailable, match="a broke off after 3 of 5 bytes"):
            reader.take("far", "a")
        assert cached(tmp_path) == set()

    def test_a_file_of_ones_own_outlives_eviction(self, buckets: Buckets, reader: ObjectReader, clock: Clock, tmp_path: Path) -> None:
        held = reader.own(put(buckets, "far", "a.csv.gz", b"a" * 900), ".gz")
        clock.now += 2 * reading.GRACE
        reader.path(put(buckets, "far", "b", b"b" * 800))
        assert cached(tmp_path) == {800}
        assert (held.read_bytes(), held.suffix) == (b"a" * 900, ".gz")


def test_a_folder_is_new_and_lies_where_the_cache_does(reader: ObjectReader, tmp_path: Path) -> None:
    first, second = reader.folder(), reader.folder()
    assert first != second
    assert list(first.iterdir()) == []
    assert (tmp_path / "cache") in first.parents
    shutil.rmtree(tmp_path / "cache")
    assert reader.folder().is_dir(), "the cache may go at any time"
