"""What a TrialBudget does next; pure. What is tried was decided by `engines/tuning/strategy.py`, which is asked while observing.

An account begins, recipes are refused or tried one after the other, whatever turns out to be better serves or is proposed, and the account
ends. All that is known of it are the notes in the stream `tuning` and the trials: a restart goes on where these are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from controllers.outcome import Outcome, Ready, Stalled
from controllers.step import Work
from engines.tuning.facts import Decision, Done, Refused, Try
from specs.kinds.trial_budget import TrialBudgetSpec
from specs.resource import Resource
from state import reasons
from state.catalog.indexes import Choice
from state.trials import Trial
from state.tuning import Account, Note


@dataclass(frozen=True, slots=True)
class Spent:
    """What an account has cost: trials, seconds since it began, CPU seconds of building."""

    trials: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Better:
    """What is to serve, and why. advice: why it only may be proposed; None where it serves by this budget's word."""

    choice: Choice
    build: str
    trial: Trial
    why: str
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """The world as a budget sees it.

    Args:
        problem: why nothing can be done now, or need be; None if something can.
        account: the one of this spec and the present answers. notes: of it, oldest first. begin: why it is to begin; None once it has.
        open: what was proposed and is not measured. decision: what comes next, where nothing is open and the account has not ended.
        better: what is to serve instead; None where nothing is, or it does already. kept: why nothing else is to.
        best: of what passes the gate. spent: by the account. weight: bytes of vectors. gate: of the account; None for the spec's.
    """

    problem: Outcome | None = None
    account: Account | None = None
    notes: tuple[Note, ...] = ()
    begin: str | None = None
    open: Note | None = None
    decision: Decision | None = None
    better: Better | None = None
    kept: str = ""
    best: Trial | None = None
    spent: Spent = field(default_factory=Spent)
    seconds_left: float = 0.0
    weight: int = 0
    gate: float | None = None

    @property
    def ended(self) -> Note | None:
        """The note of its end."""
        return next((note for note in reversed(self.notes) if note.step == "ended"), None)


@dataclass(frozen=True, slots=True)
class Begin:
    """Opens the account; its clock runs from here. gate: which it asks for, where that is not the spec's."""

    why: str
    account: Account
    gate: float | None = None
    work: Work | None = None

    def summary(self) -> str:
        """See `Step`."""
        return "begin to try recipes"


@dataclass(frozen=True, slots=True)
class Refuse:
    """Leaves a graph alone, and says so."""

    why: str
    refused: Refused
    work: Work | None = None

    def summary(self) -> str:
        """See `Step`."""
        return f"refuse {self.refused.graph}"


@dataclass(frozen=True, slots=True)
class Measure:
    """Builds and measures a recipe. open: the proposal, where it was made before. seconds_left: until the job ends in any case."""

    why: str
    engine: str
    parameters: Mapping[str, Any] = field(hash=False)
    searches: tuple[Mapping[str, Any], ...] = field(hash=False)
    fidelity: float
    weight: int
    seconds_left: float
    open: Note | None = None

    @property
    def work(self) -> Work | None:
        """Bytes of vectors."""
        return Work("trial", int(self.weight * self.fidelity))

    def summary(self) -> str:
        """See `Step`."""
        share = "" if self.fidelity >= 1 else f" over {self.fidelity:.0%} of the rows"
        return f"try {recipe(self.engine, self.parameters, *self.searches)}{share}"


@dataclass(frozen=True, slots=True)
class Settle:
    """Has it serve, or proposes that."""

    why: str
    better: Better
    work: Work | None = None

    def summary(self) -> str:
        """See `Step`."""
        return f"{'serve' if self.better.advice is None else 'propose to serve'} {self.better.choice.generation}"


@dataclass(frozen=True, slots=True)
class End:
    """Closes the account."""

    why: str
    reason: str
    work: Work | None = None

    def summary(self) -> str:
        """See `Step`."""
        return "end the search"


TuningStep = Begin | Refuse | Measure | Settle | End
"""What a TrialBudget's plan is made of."""


def plan(resource: Resource, observed: Observed) -> tuple[TuningStep, ...]:
    """The next steps: refusals come with what is tried instead."""
    if observed.problem is not None:
        return ()
    if observed.better is not None:
        return (Settle(observed.better.why, observed.better),)
    if observed.begin is not None:
        assert observed.account is not None
        usual = observed.gate == resource.spec_as(TrialBudgetSpec).gate.recall_at_10
        return (Begin(observed.begin, observed.account, None if usual else observed.gate),)
    if observed.ended is not None:
        return ()
    if observed.open is not None:
        if observed.seconds_left <= 0:
            return (_end(resource, observed, Done("the time is spent", spent=True)),)
        return (_again(observed.open, observed),)
    if observed.decision is None:
        return ()
    refusals = tuple(Refuse(refused.why, refused) for refused in observed.decision.refused)
    match observed.decision.move:
        case Done() as done:
            return (*refusals, _end(resource, observed, done))
        case Try() as move:
            searches = tuple(move.searches)
            left = observed.seconds_left
            return (*refusals, Measure(move.why, move.engine, move.parameters, searches, move.fidelity, observed.weight, left))


def _again(note: Note, observed: Observed) -> Measure:
    """What was proposed before."""
    assert note.engine is not None
    assert note.fidelity is not None
    left = observed.seconds_left
    return Measure(note.message, note.engine, note.params, tuple(note.searches), note.fidelity, observed.weight, left, note)


def _end(resource: Resource, observed: Observed, done: Done) -> End:
    if observed.best is None:
        spec = resource.spec_as(TrialBudgetSpec)
        wanted = spec.gate.recall_at_10 if observed.gate is None else observed.gate
        said = done.why if done.hopeless else f"no recipe passes the gate of {wanted:g}: {done.why}"
        failed = next((note.message.rstrip(".") for note in reversed(observed.notes) if note.step == "failed"), None)
        return End(said if failed is None else f"{said}; what failed last is {failed}", reasons.GATE_NOT_MET)
    why = f"{done.why}; {observed.kept}" if observed.kept else done.why
    return End(why, reasons.BUDGET_SPENT if done.spent else "Succeeded")


def conclude(resource: Resource, observed: Observed) -> Outcome:
    """The ending when nothing is left to do."""
    if observed.problem is not None:
        return observed.problem
    ended, detail = observed.ended, _detail(resource, observed)
    why = ended.message if ended is not None else "nothing is to be tried"
    if observed.best is None:
        return Stalled(reasons.GATE_NOT_MET, f"{why}; {_cost(observed.spent)}", detail=detail)
    advised = next((note for note in reversed(observed.notes) if note.step in ("chosen", "advised")), None)
    reason = ended.reason if ended is not None and ended.reason else "Succeeded"
    if advised is not None and advised.step == "advised":  # one sentence, which ends with what is to be typed
        return Ready(advised.message, detail, reason=reason)
    return Ready(f"{told(observed.best)}; {_cost(observed.spent)}; {why}", detail, reason=reason)


def _cost(spent: Spent) -> str:
    return f"{spent.trials} trial{'' if spent.trials == 1 else 's'}, {spent.cpu_seconds:,.0f} s of processor time for building"


def _detail(resource: Resource, observed: Observed) -> Mapping[str, object]:
    spec, best = resource.spec_as(TrialBudgetSpec), observed.best
    return {
        "trials": observed.spent.trials,
        "limit": spec.limits.trials,
        "cpuSeconds": round(observed.spent.cpu_seconds, 1),
        "best": None if best is None else best.trial,
        "bestRecipe": None if best is None else of_trial(best),
        "recallLow": None if best is None else round(best.recall_low, 4),
        "p95Us": None if best is None else round(best.p95_us, 1),
    }


def told(trial: Trial) -> str:
    """A trial in words."""
    share = "" if trial.fidelity >= 1 else f" over {trial.fidelity:.0%} of the rows"
    return f"{of_trial(trial)}{share}: recall@10 {trial.recall_at_10:.3f} ({trial.recall_low:.3f} at least), p95 {trial.p95_us:,.0f} µs"


def of_trial(trial: Trial) -> str:
    """Its recipe, in words."""
    return recipe(trial.engine, {name: value for name, value in trial.params.items() if name != "seed"})


def recipe(engine: str, parameters: Mapping[str, Any], *searches: Mapping[str, Any]) -> str:
    """In words: "hnsw m=16 efConstruction=80 efSearch=40, 60"."""
    named = [f"{name}={value}" for name, value in parameters.items() if value is not None]
    names = dict.fromkeys(name for search in searches for name in search)
    named += [f"{name}={', '.join(str(search.get(name)) for search in searches)}" for name in names]
    return " ".join([engine, *named])
