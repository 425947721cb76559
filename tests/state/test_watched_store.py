"""A watched store records what fails, and leaves a bucket alone that keeps failing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from obstore.store import MemoryStore

from state.errors import BucketUnavailable, DiskFull, ObjectExists, ObjectMissing, SecretMissing, StateError
from state.failures import BucketFailure, Failures
from state.objects import ObjectInfo
from state.remote_store import Clients, ObstoreStore
from state.streams.ids import is_id
from state.watched_store import LONGEST, PATIENCE, Breaker, WatchedStore

NOW = datetime(2026, 11, 28, tzinfo=UTC)


class Flaky(ObstoreStore):
    """Fails as long as it has an error; counts what is asked of it."""

    def __init__(self) -> None:
        super().__init__(Clients.of(MemoryStore()), "far")
        self.error: StateError | None = None
        self.asked = 0

    def get(self, key: str) -> bytes:
        self._ask()
        return super().get(key)

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        self._ask()
        return super().list(prefix, after)

    def _ask(self) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error


class Bench:
    def __init__(self) -> None:
        self.now = 0.0
        self.flaky = Flaky()
        self.failures = Failures(lambda: NOW)
        self.told: list[BucketFailure] = []
        self.failures.listen(self.told.append)
        self.beside: list[Callable[[], None]] = []
        self.store = WatchedStore(self.flaky, self.failures, Breaker(lambda: self.now), beside=self.beside.append)

    def fail(self, times: int = 1) -> None:
        self.flaky.error = BucketUnavailable("far", "get", "down", attempts=3)
        for _ in range(times):
            with pytest.raises(BucketUnavailable):
                self.store.get("a")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_failure_is_a_row(bench: Bench) -> None:
    bench.fail()
    (failure,) = bench.told
    assert bench.failures.newest() == [failure] == [bench.failures.last("far")]
    row = dict(failure.to_row())
    assert isinstance(row.pop("duration_ms"), float)
    assert is_id(row.pop("id"))
    assert row == {
        "at": "2026-11-28T00:00:00.000Z",
        "bucket": "far",
        "op": "get",
        "key": "a",
        "class": "bucket-unavailable",
        "message": "Bucket far did not answer (get) after 3 attempts: down.",
        "attempt": 3,
        "rescued": False,
        "rescue_bucket": None,
    }


def test_a_full_disk_is_one_and_answers_are_none(bench: Bench) -> None:
    with pytest.raises(ObjectMissing):
        bench.store.get("nothing")
    bench.store.put("a", b"1", if_absent=True)
    with pytest.raises(ObjectExists):
        bench.store.put("a", b"1", if_absent=True)
    assert bench.told == []
    bench.flaky.error = DiskFull("far", "/lake")
    with pytest.raises(DiskFull):
        bench.store.get("a")
    bench.flaky.error = SecretMissing("keys", "the secrets file")
    with pytest.raises(SecretMissing):
        bench.store.get("a")
    assert [failure.kind for failure in bench.told] == ["disk-full", "secret-missing"]


def test_a_bucket_that_keeps_failing_is_left_alone(bench: Bench) -> None:
    bench.store.put("a", b"1")
    bench.fail(PATIENCE)
    assert bench.flaky.asked == PATIENCE
    with pytest.raises(BucketUnavailable, match=r"it failed 3 times in a row and is asked again in 1 s"):
        bench.store.get("a")
    assert bench.flaky.asked == PATIENCE
    assert bench.beside == []


def test_it_is_tried_again_beside_whoever_asks_and_later_each_time(bench: Bench) -> None:
    bench.store.put("a", b"1")
    bench.fail(PATIENCE)
    asked = bench.flaky.asked
    for pause in (1.0, 2.0, 4.0, 8.0, LONGEST, LONGEST):
        bench.now += pause - 0.01
        bench.fail(2)
        assert bench.beside == [], "it is too early"
        bench.now += 0.01
        bench.fail(3)
        (probe,) = bench.beside
        assert bench.flaky.asked == asked, "nobody waits for the server, and one asks it"
        probe()
        bench.beside.clear()
        asked += 1
        assert (bench.told[-1].op, bench.told[-1].attempt) == ("list", 3)
    bench.flaky.error = None
    bench.now += LONGEST
    with pytest.raises(BucketUnavailable):
        bench.store.get("a")
    bench.beside.pop()()
    assert bench.store.get("a") == b"1"
    assert len(bench.told) == PATIENCE + 6, "what was not asked is no failed operation"


def test_the_thread_of_its_own_closes_it(bench: Bench) -> None:
    bench.store = WatchedStore(bench.flaky, bench.failures, Breaker(lambda: bench.now))
    bench.fail(PATIENCE)
    bench.flaky.error = None
    bench.now += 1.0
    with pytest.raises(BucketUnavailable):
        bench.store.get("a")
    for thread in threading.enumerate():
        if thread.name == "bucket-probe":
            thread.join()
    with pytest.raises(ObjectMissing):
        bench.store.get("a")


def test_that_nothing_is_there_is_an_answer(bench: Bench) -> None:
    bench.fail(PATIENCE - 1)
    bench.flaky.error = None
    with pytest.raises(ObjectMissing):
        bench.store.get("a")
    bench.fail(PATIENCE - 1)
    assert not bench.beside
    bench.flaky.error = None
    with pytest.raises(ObjectMissing):
        bench.store.get("a")


def test_a_store_that_fails_at_once_is_always_asked(bench: Bench) -> None:
    bench.store = WatchedStore(bench.flaky, bench.failures, None)
    bench.fail(PATIENCE + 5)
    assert bench.flaky.asked == PATIENCE + 5


def test_a_break_on_the_way_is_recorded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.store.put("a", b"1")
    opened = bench.flaky.open("a")

    def broken(*_: object) -> object:
        def pieces() -> object:
            yield b"1"
            raise BucketUnavailable("far", "get", "cut off")

        return type(opened)(opened.info, pieces())  # type: ignore[arg-type]

    monkeypatch.setattr(bench.flaky, "open", broken)
    with pytest.raises(BucketUnavailable, match="cut off"):
        list(bench.store.open("a").pieces)
    assert [failure.op for failure in bench.told] == ["get"]


def test_a_journal_that_cannot_be_written_fails_nobody(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    def full(_: BucketFailure) -> None:
        raise DiskFull("state", "/wal")

    bench.failures.listen(full)
    bench.fail()
    assert "not in the journal" in caplog.text


class TestTrying:
    def test_what_was_answered_elsewhere_says_so(self, bench: Bench) -> None:
        with bench.failures.trying() as trial:
            bench.fail(PATIENCE + 1)
            assert bench.told == []
            trial.rescue = "mirror"
        assert trial.failures == bench.told
        assert [(failure.rescue_bucket, failure.attempt) for failure in bench.told] == [("mirror", 3)] * PATIENCE + [("mirror", 0)]

    def test_what_was_not_asked_and_not_answered_is_no_row(self, bench: Bench) -> None:
        bench.fail(PATIENCE)
        bench.told.clear()
        with bench.failures.trying():
            bench.fail(2)
        assert bench.told == []
