"""The generic loop over a controller that does what the test says: endings, errors, holding, status and events."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from small_lake import BUCKET, Bench, dataset

from controllers.outcome import Failed, Outcome, Ready, Stalled, Waiting
from controllers.step import Started, Work
from engines.errors import BuildFailed, FileChanged, FileUnreadable, JobCrashed, JobFailed, ModelUnavailable
from reconciler.loop import Reconciler, Visit
from reconciler.world import Desired
from specs.errors import LakehouseError
from specs.resource import Key, Resource
from state import failpoints, reasons
from state.catalog.entry import Resumed, Suspended
from state.errors import BucketUnavailable, ChangeRefused, DiskFull, LeaseLost, ObjectCorrupt, ObjectMissing, SecretMissing, StateError
from state.turns import Turns

X = Key("Dataset", "x")


@dataclass(frozen=True)
class Act:
    name: str
    why: str = "the test says so"
    work: Work | None = None

    def summary(self) -> str:
        return f"do {self.name}"


@dataclass
class Scripted:
    """A controller whose world is a list of steps that are still to be taken."""

    left: list[Act] = field(default_factory=list)
    ending: Outcome = field(default_factory=lambda: Ready("done"))
    at_once: int = 1
    acted: list[tuple[str, str]] = field(default_factory=list)
    on_observe: Callable[[], None] = lambda: None
    on_act: Callable[[Act], Started | None] = lambda step: None
    drifted: tuple[str, ...] = ()

    def observe(self, resource: Resource) -> int:
        self.on_observe()
        return len(self.left)

    def drift(self, observed: int) -> Sequence[str]:
        return self.drifted

    def plan(self, resource: Resource, observed: int) -> Sequence[Act]:
        return self.left[: self.at_once]

    def conclude(self, resource: Resource, observed: int) -> Outcome:
        return self.ending

    def act(self, resource: Resource, step: Act, revision: str) -> Started | None:
        self.acted.append((step.name, revision))
        started = self.on_act(step)
        if started is None:
            self.left = [other for other in self.left if other != step]
        return started


class Visits:
    """A loop over one scripted object."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.controller = Scripted()
        bench.commit(BUCKET, dataset("x"))
        self.desired: Callable[[Key], Desired | None] = bench.world.desired
        self.circle: tuple[Key, ...] = ()
        self.stopped: list[str] = []
        self.turns = Turns()
        self.reconciler = Reconciler(
            {"Dataset": self.controller},
            lambda key: self.desired(key),
            lambda key: self.circle,
            bench.catalog,
            bench.statuses,
            bench.clock,
            self.turns,
            self.stopped.append,
        )

    def visit(self) -> Visit:
        visit = self.reconciler.visit(X)
        assert visit is not None
        return visit

    def status(self) -> Any:
        return self.bench.book.get("Dataset/x")

    def events(self) -> list[tuple[str, str]]:
        return [(event["type"], event["reason"]) for event in self.bench.events() if event["object"] == "Dataset/x"]


@pytest.fixture
def visits(bench: Bench) -> Visits:
    return Visits(bench)


class TestDrift:
    def test_is_told_once_and_so_is_its_end(self, visits: Visits) -> None:
        for drifted in ((), ("d", "c", "b", "a"), ("d", "c", "b", "a"), ("a",), (), ()):
            visits.controller.drifted = drifted
            visits.visit()
        told = [(event["reason"], event["message"]) for event in visits.bench.events() if event["reason"].startswith("Drift")]
        assert told == [
            ("DriftDetected", "missing or damaged: d, c, b and 1 more"),
            ("DriftDetected", "missing or damaged: a"),
            ("DriftRepaired", "what was missing or damaged is whole again: a"),
        ]


class TestEndings:
    @pytest.mark.parametrize(
        ("ending", "ready", "reconciling", "stalled", "event"),
        [
            (Ready("all is well", {"rows": 3}), "True", "False", "False", "Normal"),
            (Waiting(reasons.SOURCE_EMPTY, "no file yet"), "False", "True", "False", "Normal"),
            (Failed(reasons.DISK_FULL, "no space"), "False", "True", "False", "Warning"),
            (Stalled(reasons.SOURCE_GONE, "a.csv is gone"), "False", "False", "True", "Warning"),
        ],
    )
    def test_become_conditions(self, visits: Visits, ending: Any, ready: str, reconciling: str, stalled: str, event: str) -> None:
        visits.controller.ending = ending
        assert visits.visit() == Visit(ending, 0)
        status = visits.status()
        assert (status.ready, status.reason, status.message) == (ready, ending.reason, ending.message)
        assert {condition.type: condition.status for condition in status.conditions} == {
            "Ready": ready, "Reconciling": reconciling, "Stalled": stalled,
        }  # fmt: skip
        desired = visits.bench.world.objects[X]
        for condition in status.conditions:
            assert (condition.reason, condition.observed_digest, condition.revision) == (ending.reason, desired.digest, desired.revision)
            assert condition.last_transition
        assert dict(status.detail) == dict(ending.detail)
        assert visits.events() == [(event, ending.reason)]

    def test_name_their_blocker(self, visits: Visits) -> None:
        visits.controller.ending = Waiting(reasons.REFERENCE_MISSING, "…", blocked_by="Bucket/b")
        visits.visit()
        assert visits.status().detail == {"blockedBy": "Bucket/b"}

    @pytest.mark.parametrize(
        ("ending", "detail"),
        [
            (Waiting("Ingesting", "a.csv", detail={"progress": 0.5}), {"rows": 5, "progress": 0.5}),
            (Waiting("ReferenceMissing", "no bucket", blocked_by="Bucket/b"), {"rows": 5, "blockedBy": "Bucket/b"}),
            (Stalled("Suspended", "for now"), {"rows": 5}),
            (Stalled("FileRefused", "b.csv", detail={"rows": 6, "refused": ["b.csv"]}), {"rows": 6, "refused": ["b.csv"]}),
            (Failed("Failed", "once"), {"rows": 5}),
        ],
    )
    def test_keep_what_was_good_before(self, visits: Visits, ending: Outcome, detail: dict[str, object]) -> None:
        for outcome in (Ready("5 rows", {"rows": 5}), ending):
            visits.controller.ending = outcome
            visits.visit()
        assert visits.status().detail == detail
        for outcome in (Failed("Failed", "again"), Ready("now 7", {"versions": 7})):
            visits.controller.ending = outcome
            visits.visit()
            expected = {"rows": detail["rows"]} if isinstance(outcome, Failed) else {"versions": 7}
            assert visits.status().detail == expected

    def test_what_nobody_wants_is_not_visited(self, visits: Visits) -> None:
        visits.desired = lambda key: None
        assert visits.reconciler.visit(X) is None
        assert "Dataset/x" not in visits.bench.book


class TestWriting:
    def test_the_same_ending_is_written_once(self, visits: Visits) -> None:
        visits.visit()
        first = visits.status().observed_at
        for _ in range(3):
            visits.bench.clock.advance(60)
            visits.visit()
        assert len(list(visits.bench.streams.read("status"))) == 1
        assert visits.events() == [("Normal", reasons.SUCCEEDED)]
        assert visits.status().observed_at > first, "that it was looked at is known in memory"

    def test_other_details_are_a_status_but_no_event(self, visits: Visits) -> None:
        visits.controller.ending = Ready("done", {"rows": 1})
        visits.visit()
        visits.controller.ending = Ready("done", {"rows": 2})
        visits.visit()
        assert len(list(visits.bench.streams.read("status"))) == 2
        assert len(visits.events()) == 1

    def test_a_condition_keeps_its_instant_while_it_holds(self, visits: Visits) -> None:
        def since() -> dict[str, str]:
            return {condition.type: condition.last_transition for condition in visits.status().conditions}

        visits.controller.ending = Stalled(reasons.SOURCE_GONE, "a")
        visits.visit()
        first = since()
        visits.bench.clock.advance(60)
        visits.controller.ending = Stalled(reasons.FILE_REFUSED, "b")
        visits.visit()
        assert since() == first
        visits.controller.ending = Ready("c")
        visits.visit()
        assert since()["Ready"] > first["Ready"]
        assert since()["Reconciling"] == first["Reconciling"]

    def test_the_applied_revision_is_the_last_that_was_ready(self, visits: Visits) -> None:
        bench = visits.bench
        visits.visit()
        assert (visits.status().revision, visits.status().applied_revision) == ("0", "0")
        bench.commit(BUCKET, dataset("x", ", owner: me"))
        visits.controller.ending = Failed(reasons.FAILED, "no")
        visits.visit()
        assert (visits.status().revision, visits.status().applied_revision) == ("1", "0")
        visits.controller.ending = Ready("done")
        visits.visit()
        assert (visits.status().revision, visits.status().applied_revision) == ("1", "1")

    def test_an_unchanged_spec_keeps_its_revision_through_a_restart(self, visits: Visits) -> None:
        bench = visits.bench
        visits.visit()
        bench.commit(BUCKET, dataset("x"), README="other")
        bench.open()
        bench.follower.advance()
        assert bench.world.objects[X].revision == "0"

    def test_what_cannot_be_written_is_told_from_memory_and_retried(self, visits: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
        visits.visit()

        def full(records: object) -> None:
            raise DiskFull("b", "/lake")

        with monkeypatch.context() as patch:
            patch.setattr(visits.bench.streams, "commit", full)
            visits.controller.ending = Ready("more")
            visit = visits.visit()
            assert isinstance(visit.outcome, Failed)
            assert visit.outcome.reason == reasons.DISK_FULL
            assert visits.status().reason == reasons.DISK_FULL
        assert visits.visit().outcome == Ready("more")
        assert visits.status().message == "more"


class TestRounds:
    def test_acts_and_observes_until_nothing_is_left(self, visits: Visits) -> None:
        visits.controller.left = [Act("a"), Act("b"), Act("c")]
        assert visits.visit() == Visit(Ready("done"), 3)
        assert visits.controller.acted == [("a", "0"), ("b", "0"), ("c", "0")]

    def test_takes_several_steps_of_a_plan_in_order(self, visits: Visits) -> None:
        visits.controller.left, visits.controller.at_once = [Act("a"), Act("b"), Act("c")], 2
        assert visits.visit().steps == 3

    def test_a_job_ends_the_visit(self, visits: Visits) -> None:
        visits.controller.left = [Act("a")]
        visits.controller.on_act = lambda step: Started(reasons.INGESTING, "42 %", 0.42)
        outcome = visits.visit().outcome
        assert outcome == Waiting(reasons.INGESTING, "42 %", seconds=2.0, detail={"progress": 0.42})
        assert visits.status().detail == {"progress": 0.42}

    def test_what_is_undone_for_ever_does_not_converge(self, visits: Visits) -> None:
        visits.controller.left = [Act("a")]
        visits.controller.on_observe = lambda: visits.controller.left.__setitem__(slice(None), [Act("a")])
        visit = visits.visit()
        assert visit == Visit(Failed(reasons.NOT_CONVERGING, "still not there after 9 rounds: do a"), 9)

    def test_rounds_that_lead_on_are_no_repetition(self, visits: Visits) -> None:
        todo = [Act(name) for name in "abcdefghijklmnop"]
        visits.controller.left = todo[:1]
        visits.controller.on_observe = lambda: visits.controller.left.__setitem__(slice(None), todo[:1])
        visits.controller.on_act = lambda step: todo.remove(step)
        visit = visits.visit()
        assert (type(visit.outcome), visit.steps) == (Ready, 16)

    def test_steps_that_never_end_do_not_keep_others_waiting(self, visits: Visits) -> None:
        names = (Act(str(number)) for number in itertools.count())
        visits.controller.left = []
        visits.controller.on_observe = lambda: visits.controller.left.__setitem__(slice(None), [next(names)])
        assert visits.visit().outcome == Failed(reasons.NOT_CONVERGING, "still not there after 100 rounds: do 99")


ERRORS: list[tuple[Exception, str]] = [
    (DiskFull("b", "/lake"), reasons.DISK_FULL),
    (BucketUnavailable("b", "get", "refused"), reasons.BUCKET_UNAVAILABLE),
    (ObjectCorrupt("b", "k", expected="x", found="y"), reasons.OBJECT_CORRUPT),
    (ObjectMissing("b", "k"), reasons.OBJECT_MISSING),
    (FileChanged("a.csv", "changed"), reasons.INGEST_FAILED),
    (FileUnreadable("a.csv", "permission denied"), reasons.INGEST_FAILED),
    (BuildFailed("no"), reasons.BUILD_FAILED),
    (JobFailed("no"), reasons.JOB_FAILED),
    (JobCrashed("no"), reasons.JOB_FAILED),
    (ModelUnavailable("no"), reasons.MODEL_UNAVAILABLE),
    (ChangeRefused("no"), reasons.CONFLICT),
    (StateError("no"), reasons.FAILED),
    (LakehouseError("no", remedy="Do that."), reasons.FAILED),
    (SecretMissing("kb", "the secrets file"), reasons.SECRET_MISSING),
]


class TestErrors:
    @pytest.mark.parametrize(("error", "reason"), ERRORS, ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "")
    @pytest.mark.parametrize("where", ["observe", "act"])
    def test_have_a_reason(self, visits: Visits, error: LakehouseError, reason: str, where: str) -> None:
        def fail(*_: object) -> None:
            raise error

        visits.controller.left = [Act("a")]
        setattr(visits.controller, f"on_{where}", fail)
        assert visits.visit().outcome == Failed(reason, error.explain())
        assert visits.status().reason == reason

    def test_a_surprise_is_logged_and_told(self, visits: Visits, caplog: pytest.LogCaptureFixture) -> None:
        def fail() -> None:
            raise ZeroDivisionError("oops")

        visits.controller.on_observe = fail
        with caplog.at_level(logging.ERROR):
            assert visits.visit().outcome == Failed(reasons.INTERNAL_ERROR, "ZeroDivisionError: oops")
        assert "Traceback" in caplog.text

    def test_a_lost_lease_is_nobodys_status(self, visits: Visits) -> None:
        def fail() -> None:
            raise LeaseLost("gone", epoch=1, newer=2)

        visits.controller.on_observe = fail
        with pytest.raises(LeaseLost):
            visits.visit()
        assert "Dataset/x" not in visits.bench.book

    @pytest.mark.parametrize("point", ["loop.before-observe", "loop.before-step", "loop.after-step"])
    def test_a_failure_between_steps_is_retried(self, visits: Visits, point: str) -> None:
        visits.controller.left = [Act("a"), Act("b")]
        failpoints.arm({point: "error"})
        assert isinstance(visits.visit().outcome, Failed)
        assert visits.visit().outcome == Ready("done")
        assert [name for name, _ in visits.controller.acted] == ["a", "b"]


class TestHolding:
    @pytest.fixture
    def suspend(self, visits: Visits) -> Iterator[Callable[[str | None], None]]:
        def suspend(until: str | None) -> None:
            visits.bench.catalog.commit((Suspended("Dataset/x", "ada", "repairs", until),), actor="ada", reason="repairs")

        return suspend  # type: ignore[return-value]

    def test_suspended(self, visits: Visits, suspend: Callable[[str | None], None]) -> None:
        visits.controller.left = [Act("a")]
        suspend(None)
        assert visits.visit() == Visit(Stalled(reasons.SUSPENDED, "suspended by ada: repairs"), 0)
        visits.bench.catalog.commit((Resumed("Dataset/x", "ada"),), actor="ada", reason="done")
        assert visits.visit().outcome == Ready("done")

    def test_until_its_time(self, visits: Visits, suspend: Callable[[str | None], None]) -> None:
        visits.controller.left = [Act("a")]
        suspend("2026-01-02T04:04:05.000Z")
        outcome = visits.visit().outcome
        message = "suspended by ada until 2026-01-02T04:04:05.000Z: repairs"
        assert outcome == Stalled(reasons.SUSPENDED, message, seconds=3600.0)
        visits.bench.clock.advance(3600)
        assert visits.visit().outcome == Ready("done")

    def test_without_any_spec(self, visits: Visits) -> None:
        visits.bench.commit(BUCKET, dataset("x").replace("source", "sauce"), dataset("x").replace("source", "sauce"))
        # the last good one of the same file stays in force
        assert visits.bench.world.resource(X) is not None
        desired = visits.bench.world.objects[X]
        visits.desired = lambda key: Desired(key, None, desired.errors, "1")
        outcome = visits.visit().outcome
        assert isinstance(outcome, Stalled)
        assert outcome.reason == reasons.INVALID_SPEC
        assert outcome.message.startswith("specs/all.yaml:")
        assert visits.controller.acted == []

    def test_a_faulty_newest_document_works_on_and_shows(self, visits: Visits) -> None:
        visits.controller.left = [Act("a")]
        visits.bench.commit(BUCKET, dataset("x").replace("source", "sauce"))
        visit = visits.visit()
        assert visit.steps == 1
        assert isinstance(visit.outcome, Stalled)
        assert visit.outcome.reason == reasons.INVALID_SPEC
        assert visit.outcome.message.endswith(" The last good spec stays in force: done")

    def test_in_a_circle(self, visits: Visits) -> None:
        visits.controller.left = [Act("a")]
        y = Key("Dataset", "y")
        visits.circle = (X, y, X)
        visit = visits.visit()
        message = "it refers to itself: Dataset/x -> Dataset/y -> Dataset/x (specs/all.yaml:6); remove one of these references"
        assert visit.outcome == Stalled(reasons.DEPENDENCY_CYCLE, message)
        assert visits.controller.acted == []


class TestNotes:
    """Statuses of what no spec asks for."""

    def test_are_written_when_they_change(self, bench: Bench) -> None:
        for message in ("a", "a", "b"):
            bench.statuses.note("Dataset/old", "False", reasons.PRUNE_HELD, message, "1")
        assert [event["message"] for event in bench.events()] == ["a", "b"]
        status = bench.book.get("Dataset/old")
        assert (status.ready, status.reason, status.digest) == ("False", reasons.PRUNE_HELD, "")

    def test_keep_the_applied_revision(self, visits: Visits) -> None:
        visits.visit()
        visits.bench.statuses.note("Dataset/x", "True", reasons.RETAINED, "kept", "9")
        assert visits.status().applied_revision == "0"

    def test_removal_is_said_once(self, visits: Visits) -> None:
        visits.visit()
        for _ in range(2):
            visits.bench.statuses.remove("Dataset/x", "gone", "9")
        assert visits.events() == [("Normal", reasons.SUCCEEDED), ("Normal", reasons.REMOVED)]
        assert "Dataset/x" not in visits.bench.book
        assert visits.status().ready == "Unknown"


class TestJobs:
    """Jobs of an object go on while a step waits for them, and no longer."""

    def test_are_stopped_where_nothing_is_left_to_do(self, visits: Visits) -> None:
        visits.visit()
        assert visits.stopped == ["Dataset/x"]

    def test_are_stopped_where_it_is_left_alone(self, visits: Visits) -> None:
        change = Suspended("Dataset/x", "ada", "repairs", None)
        visits.bench.catalog.commit((change,), actor="ada", reason="repairs")
        visits.controller.left = [Act("a")]
        visits.visit()
        assert visits.stopped == ["Dataset/x"]

    def test_go_on_where_a_step_waits_for_them(self, visits: Visits) -> None:
        visits.controller.left = [Act("a")]
        visits.controller.on_act = lambda step: Started("Ingesting", "half", 0.5)
        visits.visit()
        assert visits.stopped == []

    def test_go_on_where_the_visit_failed(self, visits: Visits) -> None:
        visits.controller.left = [Act("a")]

        def broken(step: Act) -> Started | None:
            raise BucketUnavailable("primary", "away")

        visits.controller.on_act = broken
        visits.visit()
        assert visits.stopped == []
