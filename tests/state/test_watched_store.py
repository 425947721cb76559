"""A watched store records what fails, and leaves a bucket alone that keeps failing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from obstore.store import MemoryStore

from state.errors import BucketUnavailable, DiskFull, ObjectExists, ObjectMissing, StateError
from state.failures import BucketFailure, Failures
from state.remote_store import Clients, ObstoreStore
from state.watched_store import LONGEST, PATIENCE, Breaker, WatchedStore

NOW = datetime(2026, 11, 28, tzinfo=UTC)


class Flaky(ObstoreStore):
    """Fails as long as it has an error; counts what is asked of it."""

    def __init__(self) -> None:
        super().__init__(Clients.of(MemoryStore()), "far")
        self.error: StateError | None = None
        self.asked = 0

    def get(self, key: str) -> bytes:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return super().get(key)


class Bench:
    def __init__(self) -> None:
        self.now = 0.0
        self.flaky = Flaky()
        self.failures = Failures(lambda: NOW)
        self.told: list[BucketFailure] = []
        self.failures.listen(self.told.append)
        self.store = WatchedStore(self.flaky, self.failures, Breaker(lambda: self.now))

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
    assert [failure.kind for failure in bench.told] == ["disk-full"]


def test_a_bucket_that_keeps_failing_is_left_alone(bench: Bench) -> None:
    bench.store.put("a", b"1")
    bench.fail(PATIENCE)
    assert bench.flaky.asked == PATIENCE
    with pytest.raises(BucketUnavailable, match=r"it failed 3 times in a row and is asked again in 1 s"):
        bench.store.get("a")
    assert bench.flaky.asked == PATIENCE
    bench.now += 1.0
    bench.fail()  # one may try
    assert bench.flaky.asked == PATIENCE + 1
    bench.now += 1.5
    with pytest.raises(BucketUnavailable, match="asked again in"):
        bench.store.get("a")
    for _ in range(20):
        bench.now += LONGEST
        bench.fail()
    bench.flaky.error = None
    bench.now += LONGEST
    assert bench.store.get("a") == b"1"
    assert bench.store.get("a") == b"1"
    assert len(bench.told) == bench.flaky.asked - 2, "two were answered; what was not asked is no failed operation"


def test_while_one_tries_others_wait(bench: Bench) -> None:
    bench.fail(PATIENCE)
    breaker = Breaker(lambda: bench.now)
    for _ in range(PATIENCE):
        breaker.failed()
    bench.now += 1.0
    assert breaker.wait() == 0.0
    assert breaker.wait() > 0.0
    breaker.succeeded()
    assert breaker.wait() == 0.0


def test_that_nothing_is_there_is_an_answer(bench: Bench) -> None:
    bench.fail(PATIENCE)
    bench.flaky.error = None
    bench.now += 1.0
    with pytest.raises(ObjectMissing):
        bench.store.get("a")
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
        with bench.failures.trying() as answered:
            bench.fail(PATIENCE + 1)
            assert bench.told == []
            answered("mirror")
        assert [(failure.rescue_bucket, failure.attempt) for failure in bench.told] == [("mirror", 3)] * PATIENCE + [("mirror", 0)]

    def test_what_was_not_asked_and_not_answered_is_no_row(self, bench: Bench) -> None:
        bench.fail(PATIENCE)
        bench.told.clear()
        with bench.failures.trying():
            bench.fail(2)
        assert bench.told == []
