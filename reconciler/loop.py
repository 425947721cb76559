"""The one generic loop: takes a key, observes, plans, acts, observes again, and writes the ending as status.

Level-triggered: nothing is carried from one visit to the next but the world itself. An object's failure holds up
nobody else. One thread hop a visit: everything a controller does is blocking code, run by a bounded number of threads.
This module and the HTTP boundary are the only ones that may catch `Exception`: a surprise is reported as Failed, with
its traceback in the log, and retried.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controllers.controller import Controller
from controllers.outcome import Failed, Outcome, Stalled, Waiting
from controllers.step import Started, Step
from engines.errors import BuildFailed, FileError, JobError, ModelUnavailable, SourceUnavailable
from reconciler.status_writer import StatusWriter
from reconciler.world import SPEC_FILE, Desired
from specs.errors import LakehouseError
from specs.resource import Key
from state import reasons
from state.catalog.catalog import Catalog
from state.catalog.fold import ObjectState
from state.errors import (
    BucketUnavailable,
    CatalogCorrupt,
    ChangeRefused,
    DiskFull,
    LeaseLost,
    ObjectCorrupt,
    ObjectMissing,
    SecretError,
    StateError,
)
from state.failpoints import declare, hit
from state.timestamps import from_iso
from state.turns import Turns

_log = logging.getLogger(__name__)

_BEFORE_OBSERVE = declare("loop.before-observe")
_BEFORE_STEP = declare("loop.before-step")
_AFTER_STEP = declare("loop.after-step")
_BEFORE_STATUS = declare("loop.before-status")
_AFTER_STATUS = declare("loop.after-status")

_MOST_REPEATED = 8
"""Rounds that a visit has taken before, after which it gives up: something undoes them."""
_MOST_ROUNDS = 100
"""Rounds of a visit in all: others wait for its thread."""
_SHOWN = 3
"""Names of what drifted in an event."""
_PROGRESS_EVERY = 2.0
"""Seconds after which the progress of a job is told again."""

_REASONS: tuple[tuple[type[LakehouseError], str], ...] = (
    (DiskFull, reasons.DISK_FULL),
    (BucketUnavailable, reasons.BUCKET_UNAVAILABLE),
    (ObjectCorrupt, reasons.OBJECT_CORRUPT),
    (ObjectMissing, reasons.OBJECT_MISSING),
    (CatalogCorrupt, reasons.CATALOG_LOST),
    (FileError, reasons.INGEST_FAILED),
    (SourceUnavailable, reasons.SOURCE_UNAVAILABLE),
    (SecretError, reasons.SECRET_MISSING),
    (BuildFailed, reasons.BUILD_FAILED),
    (ModelUnavailable, reasons.MODEL_UNAVAILABLE),
    (ChangeRefused, reasons.CONFLICT),
    (JobError, reasons.JOB_FAILED),
)


@dataclass(frozen=True, slots=True)
class Visit:
    """What one visit came to: the ending, and the number of steps taken."""

    outcome: Outcome
    steps: int


class Reconciler:
    """Visits one object at a time per calling thread. Blocking.

    Args:
        controllers: by kind; every kind has one.
        desired: the object as wanted now, None if nobody wants it.
        circle: the references that lead from an object back to itself, empty if there are none.
        turns: taken by whoever works on an object, under its name.
        stop_jobs: called with an object's name where no job is to run for it (any more).
    """

    def __init__(
        self,
        controllers: Mapping[str, Controller[Any, Any]],
        desired: Callable[[Key], Desired | None],
        circle: Callable[[Key], Sequence[Key]],
        catalog: Catalog,
        statuses: StatusWriter,
        clock: Callable[[], datetime],
        turns: Turns,
        stop_jobs: Callable[[str], object],
    ) -> None:
        self._controllers = controllers
        self._desired = desired
        self._circle = circle
        self._catalog = catalog
        self._statuses = statuses
        self._turns = turns
        self._stop_jobs = stop_jobs
        self._clock = clock
        self._drifted: dict[Key, Sequence[str]] = {}

    def visit(self, key: Key) -> Visit | None:
        """Brings one object as near to its spec as it gets now, and writes its status.

        Returns None where the object is not wanted any more. Raises LeaseLost only: this process must stop then.
        """
        with self._turns.of(str(key)):
            # what is wanted is read inside the turn: a removal that waits for it finds all that was made
            desired = self._desired(key)
            if desired is None:
                self._drifted.pop(key, None)
                return None
            return self._recorded(desired, self._guarded(desired))

    def _recorded(self, desired: Desired, visit: Visit) -> Visit:
        hit(_BEFORE_STATUS)
        try:
            self._statuses.record(desired, visit.outcome)
        except LeaseLost:
            raise
        except StateError as error:
            # what cannot be written down now is told from memory, and tried again
            _log.warning("the status of %s cannot be recorded: %s", desired.key, error.explain())
            visit = Visit(visit.outcome if isinstance(visit.outcome, Failed) else failed(error), visit.steps)
            self._statuses.show(desired, visit.outcome)
        hit(_AFTER_STATUS)
        return visit

    def _guarded(self, desired: Desired) -> Visit:
        try:
            return self._visit(desired)
        except LeaseLost:
            raise
        except LakehouseError as error:
            return Visit(failed(error), 0)
        except Exception as error:  # noqa: BLE001 - the loop is where surprises end
            _log.exception("reconciling %s", desired.key)
            return Visit(Failed(reasons.INTERNAL_ERROR, f"{type(error).__name__}: {error}"), 0)

    def _visit(self, desired: Desired) -> Visit:
        record = self._catalog.get(str(desired.key))
        ending = held(desired, record, self._circle(desired.key), self._clock())
        if ending is not None:
            self._stop_jobs(str(desired.key))
            return Visit(ending, 0)
        resource = desired.resource
        assert resource is not None
        controller = self._controllers[resource.key.kind]
        taken, repeated = 0, 0
        rounds: list[Sequence[Step]] = []
        while repeated < _MOST_REPEATED and len(rounds) < _MOST_ROUNDS:
            hit(_BEFORE_OBSERVE)
            observed = controller.observe(resource)
            self._tell_drift(desired, controller.drift(observed))
            steps = controller.plan(resource, observed)
            if not steps:
                self._stop_jobs(str(desired.key))
                return Visit(with_errors(desired, controller.conclude(resource, observed)), taken)
            started = self._act(controller, desired, steps)
            taken += len(steps)
            repeated += steps in rounds
            rounds.append(steps)
            if started is not None:
                detail = {"progress": started.progress}
                seconds = _PROGRESS_EVERY if started.seconds is None else min(_PROGRESS_EVERY, started.seconds)
                waiting = Waiting(started.reason, started.message, started.blocked_by, seconds=seconds, detail=detail)
                return Visit(waiting, taken)
        return Visit(Failed(reasons.NOT_CONVERGING, f"still not there after {len(rounds)} rounds: {steps[0].summary()}"), taken)

    def _tell_drift(self, desired: Desired, found: Sequence[str]) -> None:
        """What is missing that was there is an event, and that it is there again is another; each once."""
        known = self._drifted.get(desired.key, ())
        if found == known:
            return
        if found:
            self._drifted[desired.key] = found
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            event = ("Warning", reasons.DRIFT_DETECTED, f"missing or damaged: {', '.join(found[:_SHOWN])}{more}")
        else:
            del self._drifted[desired.key]
            event = ("Normal", reasons.DRIFT_REPAIRED, f"what was missing or damaged is whole again: {', '.join(known[:_SHOWN])}")
        self._statuses.record_event(str(desired.key), *event, desired.revision)

    def _act(self, controller: Controller[Any, Any], desired: Desired, steps: Sequence[Step]) -> Started | None:
        """Takes the steps in order; the last that runs on as a job is told."""
        assert desired.resource is not None
        running = None
        for step in steps:
            hit(_BEFORE_STEP)
            running = controller.act(desired.resource, step, desired.revision) or running
            hit(_AFTER_STEP)
        return running


def held(desired: Desired, record: ObjectState | None, circle: Sequence[Key], now: datetime) -> Outcome | None:
    """Why the object is not worked on at all: suspended, without a spec that could be in force, or in a circle. None if it is."""
    if record is not None and record.suspended is not None:
        suspended = record.suspended
        left = (from_iso(suspended.until) - now).total_seconds() if suspended.until else None
        if left is None:
            return Stalled(reasons.SUSPENDED, f"suspended by {suspended.by}: {suspended.why}")
        if left > 0:
            message = f"suspended by {suspended.by} until {suspended.until}: {suspended.why}"
            return Stalled(reasons.SUSPENDED, message, seconds=left)
    if desired.resource is None:
        return Stalled(reasons.INVALID_SPEC, _errors(desired))
    if circle:
        path = " -> ".join(map(str, circle))
        where = desired.resource.origin
        return Stalled(reasons.DEPENDENCY_CYCLE, f"it refers to itself: {path} ({where}); remove one of these references")
    return None


def failed(error: LakehouseError) -> Failed:
    return Failed(next((reason for kind, reason in _REASONS if isinstance(error, kind)), reasons.FAILED), error.explain())


def with_errors(desired: Desired, outcome: Outcome) -> Outcome:
    """A spec in force whose newest document is faulty works on, and shows as Stalled."""
    if not desired.errors:
        return outcome
    served = f" The last good spec stays in force: {outcome.message}" if desired.key.kind != SPEC_FILE else ""
    told = _errors(desired)
    again = outcome.seconds if not isinstance(outcome, Failed) else None
    also = outcome.also if not isinstance(outcome, Failed) else ()
    message = told + ("" if told.endswith(("?", ".")) else ".") + served
    return Stalled(reasons.INVALID_SPEC, message, detail=outcome.detail, seconds=again, also=also)


def _errors(desired: Desired) -> str:
    first, *more = desired.errors
    return str(first) + (f" (and {len(more)} more)" if more else "")
