"""Carries out what operators ask of a running daemon. Each request ends as one row of `system.requests` and one event under
its id, and its object is then removed; a crash before the row answers it again, which every verb tolerates, one after it does not.
A surprise ends the request that it came of as failed, and neither the process nor what waits behind.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from controllers.dataset.checks import FileChecks
from controllers.dataset.edits import Edits
from controllers.dataset.files import SourceFiles
from controllers.dataset.objects import SourceObjects
from controllers.eval_set.trial_runs import TrialRefused, TrialRuns
from controllers.index.promotions import PromotionRefused, Promotions
from engines.errors import EditRefused
from reconciler.collecting import told
from reconciler.follow import Follower
from reconciler.suspensions import end_of
from reconciler.world import World
from specs.durations import DurationInvalid
from specs.errors import LakehouseError
from specs.kinds.dataset import DatasetSpec
from specs.resource import Key
from specs.suggestions import or_meant
from state import reasons
from state.catalog.catalog import Catalog
from state.catalog.entry import Approved, Asked, Resumed, Suspended
from state.catalog.fold import Suspension
from state.errors import LeaseLost
from state.failpoints import declare, hit
from state.garbage import Collection, Guard
from state.requests import Request, RequestQueue
from state.streams import ids
from state.streams.compaction import Compaction
from state.streams.schemas import STREAMS, StreamInvalid
from state.streams.stream import Streams
from state.timestamps import iso

_log = logging.getLogger(__name__)

_BEFORE_ANSWER = declare("operator.before-answer")
_AFTER_ANSWER = declare("operator.after-answer")


_CLOCKS_DIFFER = timedelta(hours=1)
"""By how much the clock of whoever asks may be ahead of ours."""


class Refused(LakehouseError):
    """The request cannot be carried out, and saying it again does not help."""

    slug = "request-refused"


class _Busy(Exception):
    """The request has to wait for work that is under way, and so have later ones about its object."""


class _Running(Exception):
    """The request is being carried out."""


@dataclass(frozen=True, slots=True)
class Chores:
    """What requests set off besides visits.

    Args:
        files, objects: the sources, whose digests are forgotten on request. checks: of tables' data files.
        compaction: of streams. collect: removes what nothing refers to. edits: of single rows. promotions: of what serves an index.
        trials: of recipes.
        guard: keeps everybody from working on an object; see `state.garbage.Guard`.
    """

    files: SourceFiles
    objects: SourceObjects
    checks: FileChecks
    compaction: Compaction
    collect: Callable[[], Collection]
    edits: Edits
    promotions: Promotions
    trials: TrialRuns
    guard: Guard


class Operator:
    """Answers requests, oldest first. Blocking; one thread at a time."""

    def __init__(
        self,
        requests: RequestQueue,
        catalog: Catalog,
        world: World,
        follower: Follower,
        streams: Streams,
        chores: Chores,
        clock: Callable[[], datetime],
    ) -> None:
        self._requests = requests
        self._catalog = catalog
        self._world = world
        self._follower = follower
        self._streams = streams
        self._chores = chores
        self._clock = clock

    def answer(self) -> tuple[Key, ...]:
        """Carries out everything that waits; returns the keys to look at. Nothing, before it is known what is wanted."""
        touched: list[Key] = []
        busy: set[str] = set()
        if self._world.revision is None:
            return ()
        for damaged in self._requests.damaged():
            unread = Request(damaged.id, "unknown", "", "unknown", "")
            if not self._answered(unread):
                self._end(unread, "failed", damaged.reason)
            self._requests.remove(damaged.id)
        for request in self._requests.pending():
            if request.object in busy:  # edits of one object keep their order
                continue
            if not self._answered(request):
                hit(_BEFORE_ANSWER)
                try:
                    touched += self._answer(request)
                except _Busy:
                    busy.add(request.object)
                    continue
                except _Running:
                    continue
                hit(_AFTER_ANSWER)
            self._requests.remove(request.id)
        return tuple(touched)

    def _answer(self, request: Request) -> tuple[Key, ...]:
        try:
            message, keys = self._carry_out(request)
        except Refused as error:
            self._end(request, "refused", error.explain())
        except (LeaseLost, _Busy, _Running):
            raise
        except LakehouseError as error:
            self._end(request, "failed", error.explain())
        except Exception as error:  # noqa: BLE001 - it would come again with the request, at every start
            _log.exception("the request %s (%s %s) failed", request.id, request.verb, request.object)
            self._end(request, "failed", f"it failed unexpectedly ({type(error).__name__}); the log has the traceback")
        else:
            self._end(request, "done", message)
            return keys
        return ()

    def _answered(self, request: Request) -> bool:
        """Whether a former process, or an attempt that could not remove the object, ended this request already."""
        since = ids.first_at(ids.instant(request.id) - _CLOCKS_DIFFER) if ids.is_id(request.id) else None
        return next(self._streams.read("requests", since=since, where={"request": request.id}), None) is not None

    def _carry_out(self, request: Request) -> tuple[str, tuple[Key, ...]]:
        """What was done, in words, and whom it concerns. Raises LakehouseError."""
        match request.verb:
            case "approve":
                return self._approve(request)
            case "reconcile" if not request.object:
                return "the watched ref is read again", tuple(self._world.objects)
            case "reconcile":
                return self._reconcile(request)
            case "suspend":
                return self._suspend(request)
            case "resume":
                return self._resume(request)
            case "resync" if not request.object:
                return self._resync_incomplete()
            case "resync":
                key = self._worked_on(request)
                self._resync(key)
                return "its files are read again", (key,)
            case "gc":
                return told(self._chores.collect()), ()
            case _:
                return self._carry_out_with_payload(request)

    def _carry_out_with_payload(self, request: Request) -> tuple[str, tuple[Key, ...]]:
        match request.verb:
            case "compact":
                return self._compact(request.payload), ()
            case "promote" | "rollback":
                return self._promote(request)
            case "trial-run":
                return self._try(request)
            case _:
                return self._edit(request)

    def _reconcile(self, request: Request) -> tuple[str, tuple[Key, ...]]:
        """A look, and a read of what is not looked at by itself: a database, a query, files that are not watched."""
        key = self._worked_on(request)
        resource = self._world.resource(key)
        if key.kind != "Dataset" or resource is None:
            return "it is looked at next", (key,)
        spec = resource.spec_as(DatasetSpec)
        if spec.source.in_files and spec.refresh.watch:
            return "it is looked at next", (key,)
        self._catalog.commit((Asked(str(key), request.actor, iso(self._clock())),), actor=request.actor, reason=request.reason)
        return "its source is read next", (key,)

    def _suspend(self, request: Request) -> tuple[str, tuple[Key, ...]]:
        key = self._wanted(request)
        until = self._until(request.payload)
        change = Suspended(str(key), request.actor, request.reason, until)
        self._catalog.commit((change,), actor=request.actor, reason=request.reason)
        return f"it is left alone until {until or 'it is resumed'}", (key,)

    def _resume(self, request: Request) -> tuple[str, tuple[Key, ...]]:
        key = self._wanted(request)
        record = self._catalog.get(str(key))
        suspended = record.suspended if record is not None else None
        if suspended is None:
            return "it is not suspended", ()
        self._catalog.commit((Resumed(str(key), request.actor),), actor=request.actor, reason=request.reason)
        if not suspended.holds(self._clock()):
            return f"it is not suspended; that ended at {suspended.until}", ()
        return "it is looked after again", (key,)

    def _edit(self, request: Request) -> tuple[str, tuple[Key, ...]]:
        """Raises _Busy while the dataset's files are read: what they bring and an edit must not come between each other."""
        key = self._wanted(request)
        resource = self._world.resource(key)
        if key.kind != "Dataset" or resource is None:
            raise Refused(f"{key} has no rows.", remedy="Name a Dataset.")
        if (held := self._suspension(key)) is not None:
            why = f" by {held.by}" + (f": {held.why}" if held.why else "")
            raise Refused(f"{key} is suspended{why}.", remedy=f"Its rows can be changed after `lakectl resume {key}`.")
        with self._chores.guard(str(key)) as free:
            if not free:
                raise _Busy
            try:
                # whoever looks after the object is woken by the commit
                return self._chores.edits.carry_out(resource, request, self._world.revision), ()
            except EditRefused as error:
                raise Refused(str(error), remedy=error.remedy) from error

    def _promote(self, request: Request) -> tuple[str, tuple[Key, ...]]:
        key = self._wanted(request)
        resource = self._world.resource(key)
        if key.kind != "Index" or resource is None:
            raise Refused(f"{key} serves nothing.", remedy="Name an Index.")
        try:
            return self._chores.promotions.carry_out(resource, request, self._world.revision), (key,)
        except PromotionRefused as error:
            raise Refused(str(error), remedy=error.remedy) from error

    def _try(self, request: Request) -> tuple[str, tuple[Key, ...]]:
        """Raises _Running until all is measured."""
        key = self._wanted(request)
        resource = self._world.resource(key)
        if key.kind != "Index" or resource is None:
            raise Refused(f"{key} is not measured.", remedy="Name an Index.")
        try:
            message = self._chores.trials.carry_out(resource, request, self._world.revision)
        except TrialRefused as error:
            raise Refused(str(error), remedy=error.remedy) from error
        if message is None:
            raise _Running
        return message, (key,)

    def _resync(self, key: Key) -> None:
        """Has sources and data files of a Dataset read at its next visit, whatever is remembered of them."""
        resource = self._world.resource(key)
        if key.kind == "Dataset" and resource is not None:
            source = resource.spec_as(DatasetSpec).source
            self._chores.files.forget(source.files)
            if source.bucket is not None:
                self._chores.objects.forget(source.bucket, source.prefix)
            self._chores.checks.ask(key.name)

    def _resync_incomplete(self) -> tuple[str, tuple[Key, ...]]:
        tables = {Key.parse(name): state.table for name, state in self._catalog.objects("Dataset").items()}
        keys = tuple(key for key, table in tables.items() if table and key in self._world.objects and self._chores.checks.incomplete(table))
        suspended = [key for key in keys if self._suspension(key) is not None]
        keys = tuple(key for key in keys if key not in suspended)
        for key in keys:
            self._resync(key)
        looked = [f"files of {', '.join(map(str, keys))} are looked at again"] if keys else []
        left = [f"{key} is suspended and left alone: `lakectl resume {key}`" for key in suspended]
        return "; ".join((*looked, *left)) or "no data file is missing", keys

    def _until(self, payload: Mapping[str, Any]) -> str | None:
        """When the suspension ends by itself. Raises Refused."""
        try:
            return end_of(payload, self._clock())
        except (DurationInvalid, ValueError, OverflowError) as error:
            remedy = "Write them as in 2026-12-24T08:00:00Z and 3h."
            raise Refused(f"`until` needs an instant and `for` a duration: {error}.", remedy=remedy) from error

    def _approve(self, request: Request) -> tuple[str, tuple[Key, ...]]:
        """Approves a prune by its plan's id; refused when the world moved on and the id with it."""
        plan_id = str(request.payload.get("plan") or request.object)
        plan = self._follower.prune()
        if not plan.held or plan.id != plan_id:
            former = self._catalog.get(f"Prune/{plan_id}")
            if former is not None and plan_id in former.approvals:
                return "what it named was let go before", ()
            now = f"what is held now has the plan {plan.id}" if plan.held else "nothing is held now"
            remedy = "Look at what `lakectl plan` says of it, then approve that." if plan.held else "Nothing is left to do."
            raise Refused(f"plan {plan_id} is not what would be done any more: {now}.", remedy=remedy)
        change = Approved(f"Prune/{plan_id}", plan_id, request.actor, plan.wanted, plan.versions)
        self._catalog.commit((change,), actor=request.actor, reason=request.reason)
        self._follower.prune()
        return f"{len(plan.held)} objects were let go", ()

    def _compact(self, payload: Mapping[str, Any]) -> str:
        """Folds the segments of the streams that are named. Raises Refused."""
        names = payload.get("streams")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise Refused("`streams` needs a list of streams.", remedy=f"There are {', '.join(STREAMS)}.")
        try:
            done = [month for name in names for month in self._chores.compaction.run(name)]
        except StreamInvalid as error:
            raise Refused(str(error), remedy=error.remedy) from error
        before, after = (sum(month.objects[at] for month in done) for at in (0, 1))
        return f"{before} objects became {after}" if done else "there was nothing to fold"

    def _wanted(self, request: Request) -> Key:
        key = Key.parse(request.object)
        if key not in self._world.objects:
            names = [known.name for known in self._world.objects if known.kind == key.kind]
            said = or_meant(f"{key} is not declared by any spec", key.name, names)
            raise Refused(said, remedy="`lakectl status` lists what is.")
        if request.digest is not None and request.digest != self._world.objects[key].digest:
            raise Refused(f"{key} has changed since this was decided.", remedy="Look at it and ask again.")
        return key

    def _worked_on(self, request: Request) -> Key:
        """As `_wanted`; refused where the object is left alone, since asking would change nothing."""
        key = self._wanted(request)
        suspension = self._suspension(key)
        if suspension is not None:
            until = f" until {suspension.until}" if suspension.until else ""
            message = f"{key} is suspended by {suspension.by}{until}: {suspension.why}"
            raise Refused(f"{message.rstrip('.')}.", remedy=f"`lakectl resume {key}`, then ask again.")
        return key

    def _suspension(self, key: Key) -> Suspension | None:
        """Why the object is left alone; None where it is not."""
        state = self._catalog.get(str(key))
        suspension = state.suspended if state is not None else None
        return suspension if suspension is not None and suspension.holds(self._clock()) else None

    def _end(self, request: Request, outcome: str, message: str) -> None:
        """One row and one event; both carry the request's id, so that a repeated answer is recognised."""
        revision = self._world.revision
        row = {
            "request": request.id, "verb": request.verb, "object": request.object, "actor": request.actor, "reason": request.reason,
            "outcome": outcome, "message": message, "digest": request.digest, "revision": revision, "payload": dict(request.payload),
        }  # fmt: skip
        reason = {"done": reasons.REQUEST_DONE, "refused": reasons.REQUEST_REFUSED}.get(outcome, reasons.REQUEST_FAILED)
        kind, _, name = request.object.partition("/")
        event = {
            "object": request.object, "kind": kind, "name": name, "type": "Normal" if outcome == "done" else "Warning", "reason": reason,
            "message": f"{request.verb}: {message}", "revision": revision, "actor": request.actor, "request": request.id,
        }  # fmt: skip
        self._streams.commit([self._streams.encode("requests", row), self._streams.encode("events", event)])
