"""What a Profile is told of what it binds, and what is to be made warm or let go of; pure.

Nothing is built for a profile here: what it has of indexes for itself is an Index like any other (`specs/own.py`), which it waits for.
Another moment (`at`) is another version to read, for which no job runs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from controllers.outcome import Aspect, Outcome, Ready, Stalled, Waiting
from controllers.step import Work
from engines.ollama.choice import ModelState
from specs.kinds.profile import ProfileSpec
from specs.resource import MARK, Resource
from state import reasons

_LOOK_AGAIN = 30.0
"""Seconds after which a profile looks at its chat model again, whether it was told or not."""
_NAMED = 3
"""Names in a sentence; more are counted."""


class Warmth(NamedTuple):
    """What is to be warm: tables, by Dataset, and indexes, by the names that answer, at a moment, None for the present one. With an index
    goes the digest of the build that answers at another moment."""

    tables: tuple[str, ...] = ()
    indexes: tuple[tuple[str, str | None], ...] = ()
    at: int | str | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """One thing that a profile binds. name: of the Dataset or Index.

    Args:
        problem: why it cannot be read, or not yet; None where it can.
        version: of the table that is read; since: when it was committed.
        answers: name of what is searched: the index, or what the profile has of it for itself. generation: that serves, in words.
        build: its digest, where the profile reads at another moment than the present one.
        closed: why policies leave its reader nothing of it, in sentences for operators; "" where they leave something.
    """

    name: str
    problem: Waiting | Stalled | None = None
    version: int | None = None
    since: str = ""
    answers: str = ""
    generation: str = ""
    build: str | None = None
    closed: str = ""

    @property
    def own(self) -> bool:
        """Whether the profile has it for itself."""
        return MARK in self.answers


@dataclass(frozen=True, slots=True)
class Observed:
    """The world as a profile sees it.

    Args:
        cold: what of it is not warm, with the reason where there is one; None where this process keeps nothing warm.
        warms: whether anything is kept warm for it now.
        model: of the chat model that it names, where it is active.
    """

    tables: tuple[Bound, ...] = ()
    indexes: tuple[Bound, ...] = ()
    cold: Mapping[str, str] | None = field(default=None, hash=False)
    warms: bool = False
    model: ModelState | None = None

    @property
    def bound(self) -> tuple[Bound, ...]:
        """All of it."""
        return (*self.tables, *self.indexes)

    @property
    def problem(self) -> Waiting | Stalled | None:
        """What is in the way."""
        return _in_the_way(self.bound)


def _in_the_way(bound: Sequence[Bound]) -> Waiting | Stalled | None:
    """What only another spec mends goes before what comes by itself, and a declaration that is missing before what is not ready. All of
    that sort are named, by the first one's reason."""
    problems = [one.problem for one in bound if one.problem is not None]
    if not problems:
        return None
    first = min(map(_urgency, problems))
    return _together([one for one in problems if _urgency(one) == first])


def _urgency(problem: Waiting | Stalled) -> int:
    return 0 if isinstance(problem, Stalled) else 1 if problem.reason == reasons.REFERENCE_MISSING else 2


def _together(problems: Sequence[Waiting | Stalled]) -> Waiting | Stalled:
    """The first, with the words of all."""
    first, missing = problems[0], list(dict.fromkeys(str(one.blocked_by) for one in problems))
    if first.reason == reasons.REFERENCE_MISSING and len(missing) > 1:
        return replace(first, message=f"{', '.join(missing[:-1])} and {missing[-1]} are not there; declare them")
    return replace(first, message="; ".join(dict.fromkeys(one.message for one in problems)))


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Opens what is bound, before its reader asks."""

    why: str
    warmth: Warmth
    cold: tuple[str, ...]
    work: Work | None = None

    def summary(self) -> str:
        """See `Step`."""
        return f"warm {_names(self.cold)}"


@dataclass(frozen=True, slots=True)
class LetGo:
    """Gives back the memory."""

    why: str
    work: Work | None = None

    def summary(self) -> str:
        """See `Step`."""
        return "let go of what is warm"


ProfileStep = WarmUp | LetGo
"""What a Profile's plan is made of."""


def plan(resource: Resource, observed: Observed) -> tuple[ProfileStep, ...]:
    """Warm what is cold once all is there, or let go."""
    spec = resource.spec_as(ProfileSpec)
    if not spec.active:
        return (LetGo("the profile is not active"),) if observed.warms else ()
    if observed.problem is not None or not observed.cold:
        return ()
    reason = next((why for why in observed.cold.values() if why), "")
    return (WarmUp(reason or "the profile is active", warmth(spec, observed), tuple(observed.cold)),)


def warmth(spec: ProfileSpec, observed: Observed) -> Warmth:
    """What of it is to be warm."""
    indexes = tuple((bound.answers, bound.build) for bound in observed.indexes)
    return Warmth(tuple(bound.name for bound in observed.tables), indexes, moment(spec))


def moment(spec: ProfileSpec) -> int | str | None:
    """At which the profile reads; None for the present."""
    return None if spec.at == "latest" else spec.at


def conclude(resource: Resource, observed: Observed) -> Outcome:
    """The ending when nothing is left to do."""
    spec = resource.spec_as(ProfileSpec)
    detail, also = _detail(spec, observed), tuple(_aspects(spec, observed))
    match observed.problem:
        case Stalled(reason=reason, message=message, blocked_by=blocker):
            return Stalled(reason, message, blocker, detail, also=also)
        case Waiting(reason=reason, message=message, blocked_by=blocker):
            return Waiting(reason, message, blocker, detail=detail, also=also)
    if observed.model is not None and observed.model.phase in ("loading", "waiting"):
        return Waiting(reasons.WARMING, _model_message(spec, observed.model), seconds=_LOOK_AGAIN, detail=detail, also=also)
    return Ready(_message(spec, observed), detail, also=also)


def _message(spec: ProfileSpec, observed: Observed) -> str:
    if not observed.bound:
        return "binds nothing, and so its reader sees nothing"
    parts = [_of(observed.tables, "table"), _of(observed.indexes, "index")]
    said = f"binds {' and '.join(part for part in parts if part)}"
    own = [bound.name for bound in observed.indexes if bound.own]
    said += f", builds of its own for {_names(own)}" if own else ""
    said += f", at {spec.at}" if spec.at != "latest" else ""
    said += "; warm" if spec.active and observed.cold is not None else ""
    closed = [bound.name for bound in observed.bound if bound.closed]
    return said + (f"; closed to {role_words(spec)} by policy: {_names(closed)}" if closed else "")


def role_words(spec: ProfileSpec) -> str:
    """By which policies know it."""
    return f"role {spec.role}" if spec.role is not None else "a reader without role"


def _of(bound: Sequence[Bound], one: str) -> str:
    """In words: "2 tables (people, jobs)"."""
    many = {"table": "tables", "index": "indexes"}[one]
    return f"{len(bound)} {one if len(bound) == 1 else many} ({_names([each.name for each in bound])})" if bound else ""


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _aspects(spec: ProfileSpec, observed: Observed) -> Iterator[Aspect]:
    yield _bound_aspect("TablesBound", observed.tables, [f"{one.name} at version {one.version} of {one.since}" for one in observed.tables])
    yield _bound_aspect("IndexesBound", observed.indexes, [_index_words(one) for one in observed.indexes])
    yield _readable(spec, observed)
    if observed.cold is None:
        yield Aspect("Warm", False, reasons.NOT_WARM, "a daemon keeps it warm" if spec.active else "`active: true` keeps it warm")
    else:
        warm = spec.active and not observed.cold and observed.problem is None
        cold = f"not warm: {_names(list(observed.cold))}" if observed.cold else "what it binds is not all there"
        said = "all that it binds is warm" if warm else cold if spec.active else "`active: true` keeps it warm"
        yield Aspect("Warm", warm, "Succeeded" if warm else reasons.NOT_WARM, said)
    if spec.model is not None:
        model = observed.model
        drifts = model is not None and bool(model.drift)
        loaded = model is not None and model.phase == "loaded" and not drifts
        why = reasons.MODEL_DRIFT if drifts else reasons.MODEL_UNAVAILABLE
        yield Aspect("ModelReady", loaded, "Succeeded" if loaded else why, _model_message(spec, model))


def _readable(spec: ProfileSpec, observed: Observed) -> Aspect:
    """Whether policies leave its reader anything of each thing that is there."""
    closed = [f"{bound.name} is closed to {role_words(spec)}: {bound.closed}" for bound in observed.bound if bound.closed]
    if closed:
        return Aspect("Readable", False, reasons.CLOSED_TO_ROLE, " ".join(closed))
    return Aspect("Readable", True, "Succeeded", "policies close nothing of what it binds to it")


def _bound_aspect(kind: Literal["TablesBound", "IndexesBound"], bound: Sequence[Bound], words: Sequence[str]) -> Aspect:
    problem = _in_the_way(bound)
    if problem is not None:
        return Aspect(kind, False, problem.reason, problem.message)
    return Aspect(kind, True, "Succeeded", "; ".join(words) or "none, and so none is seen")


def _index_words(bound: Bound) -> str:
    whose = f"builds of its own ({bound.answers})" if bound.own else "the index's own builds, shared"
    version = "" if bound.version is None else f" at version {bound.version}"
    return f"{bound.name}{version}: {bound.generation} serves, of {whose}"


def _model_message(spec: ProfileSpec, model: ModelState | None) -> str:
    name = spec.model.ollama if spec.model is not None else ""
    if model is None:
        return f"{name} is not loaded: {'`active: true` loads it' if not spec.active else 'this process runs no chat models'}"
    told = {"loaded": "is loaded", "loading": "is being loaded", "waiting": "waits", "absent": "cannot be had, and what needs it says so"}
    why = model.reason or model.drift
    return f"{name} {told[model.phase]}{f': {why}' if why and model.phase != 'loaded' else f', but {why}' if why else ''}"


def _detail(spec: ProfileSpec, observed: Observed) -> Mapping[str, object]:
    return {
        "tables": len(observed.tables),
        "indexes": len(observed.indexes),
        "own": sum(bound.own for bound in observed.indexes),
        "at": spec.at,
        "active": spec.active,
        "role": spec.role,
        "versions": {bound.name: bound.version for bound in observed.tables},
        "moments": {bound.name: bound.since for bound in observed.tables},
        "answers": {bound.name: bound.answers for bound in observed.indexes},
        "generations": {bound.name: bound.generation for bound in observed.indexes},
    }
