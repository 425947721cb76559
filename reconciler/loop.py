"""The one generic loop: takes a key, observes, plans, acts, observes again, and writes the ending as status.

Level-triggered: nothing is carried from one visit to the next but the world itself. An object's failure holds up
nobody else. One thread hop a visit: everything a controller does is blocking code, run by a bounded number of threads.
This module and the HTTP boundary are the only ones that may catch `Exception`: a surprise is reported as Failed, with
its traceback in the log, and retried.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controllers.controller import Controller
from controllers.outcome import Failed, Outcome, Stalled, Waiting
from controllers.step import Started, Step
from reconciler.status_writer import StatusWriter
from reconciler.world import SPEC_FILE, Desired
from specs.errors import LakehouseError
from specs.resource import Key
from state import reasons
from state.catalog.catalog import Catalog
from state.errors import LeaseLost, StateError
from state.failpoints import declare, hit

_log = logging.getLogger(__name__)

_BEFORE_OBSERVE = declare("loop.before-observe")
_BEFORE_STEP = declare("loop.before-step")
_AFTER_STEP = declare("loop.after-step")
_BEFORE_STATUS = declare("loop.before-status")
_AFTER_STATUS = declare("loop.after-status")

_MOST_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Visit:
    """What one visit found: the ending, and whether the object was suspended."""

    outcome: Outcome
    steps: int


class Reconciler:
    """Visits one object at a time per calling thread. Blocking.

    Args:
        controllers: by kind; every kind has one.
        desired: the object as wanted now, None if nobody wants it.
    """

    def __init__(
        self,
        controllers: Mapping[str, Controller[Any, Any]],
        desired: Callable[[Key], Desired | None],
        catalog: Catalog,
        statuses: StatusWriter,
    ) -> None:
        self._controllers = controllers
        self._desired = desired
        self._catalog = catalog
        self._statuses = statuses

    def visit(self, key: Key) -> Visit | None:
        """Brings one object as near to its spec as it gets now, and writes its status.

        Returns None where the object is not wanted any more. Raises LeaseLost only: this process must stop then.
        """
        desired = self._desired(key)
        if desired is None:
            return None
        visit = self._guarded(desired)
        hit(_BEFORE_STATUS)
        self._statuses.record(desired, visit.outcome)
        hit(_AFTER_STATUS)
        return visit

    def _guarded(self, desired: Desired) -> Visit:
        try:
            return self._visit(desired)
        except LeaseLost:
            raise
        except StateError as error:
            return Visit(Failed(reasons.STORAGE_ERROR, error.explain()), 0)
        except LakehouseError as error:
            return Visit(Failed(reasons.RECONCILE_FAILED, error.explain()), 0)
        except Exception as error:
            _log.exception("reconciling %s", desired.key)
            return Visit(Failed(reasons.INTERNAL_ERROR, f"{type(error).__name__}: {error}"), 0)

    def _visit(self, desired: Desired) -> Visit:
        ending = self._held(desired)
        if ending is not None:
            return Visit(ending, 0)
        resource = desired.resource
        assert resource is not None
        controller = self._controllers[resource.key.kind]
        taken = 0
        for _ in range(_MOST_ROUNDS):
            hit(_BEFORE_OBSERVE)
            observed = controller.observe(resource)
            steps = controller.plan(resource, observed)
            if not steps:
                return Visit(_with_errors(desired, controller.conclude(resource, observed)), taken)
            started = self._act(controller, desired, steps)
            taken += len(steps)
            if started is not None:
                return Visit(Waiting(started.reason, started.message, detail={"progress": started.progress}), taken)
        return Visit(Failed(reasons.NOT_CONVERGING, f"still not there after {_MOST_ROUNDS} rounds: {steps[0].summary()}"), taken)

    def _act(self, controller: Controller[Any, Any], desired: Desired, steps: Sequence[Step]) -> Started | None:
        """Takes the steps in order; the last that runs on as a job is told."""
        assert desired.resource is not None
        running = None
        for step in steps:
            hit(_BEFORE_STEP)
            running = controller.act(desired.resource, step, desired.revision) or running
            hit(_AFTER_STEP)
        return running

    def _held(self, desired: Desired) -> Outcome | None:
        """Why the object is not worked on at all: suspended, or without a spec that could be in force."""
        record = self._catalog.get(str(desired.key))
        if record is not None and record.suspended is not None:
            held = record.suspended
            until = f" until {held.until}" if held.until else ""
            return Stalled(reasons.SUSPENDED, f"suspended by {held.by}{until}: {held.why}")
        if desired.resource is None:
            return Stalled(reasons.INVALID_SPEC, _errors(desired))
        return None


def _with_errors(desired: Desired, outcome: Outcome) -> Outcome:
    """A spec in force whose newest document is faulty works on, and shows as Stalled."""
    if not desired.errors:
        return outcome
    served = f" The last good spec stays in force: {outcome.message}" if desired.key.kind != SPEC_FILE else ""
    return Stalled(reasons.INVALID_SPEC, f"{_errors(desired)}.{served}", detail=outcome.detail)


def _errors(desired: Desired) -> str:
    first, *more = desired.errors
    return str(first) + (f" (and {len(more)} more)" if more else "")
