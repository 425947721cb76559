"""What a TrialBudget sees: its account, what was measured of its index, and what is to come next. Reads only."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controllers.index.controller import IndexController
from controllers.index.promotions import by_same_model
from controllers.outcome import Outcome, Ready, Stalled, Waiting
from controllers.trial_budget.in_force import in_force
from controllers.trial_budget.plan import Better, Observed, Spent
from controllers.trial_budget.recall_drop import Drop, account_in_use, drop, gate_of
from engines.trials.choice import passes
from engines.trials.intervals import fewest_queries
from engines.trials.objective import Weights, score
from engines.tuning.facts import Attempt, Cause, Decision, Done, Facts
from engines.tuning.prediction import Size
from engines.tuning.promotion import judge
from engines.tuning.sampler import suggest
from engines.tuning.space import Graph, Space, graph_named
from engines.tuning.strategy import decide
from specs.digests import digest
from specs.kinds.eval_set import EvalSetSpec
from specs.kinds.index import IndexSpec
from specs.kinds.trial_budget import TrialBudgetSpec, Weighted
from specs.own import tuned
from specs.resource import Key, Resource
from state import reasons
from state.catalog.catalog import Catalog
from state.catalog.indexes import Choice, Corpus, EvalTruth, IndexRecord
from state.timestamps import from_iso
from state.trials import Trial, TrialBook
from state.tuning import Account, Note, TuningBook, unanswered

_LONGEST_NAME = 54
_LOOK_AGAIN = 30.0
"""Seconds until a budget looks whether the one before it has gone: nobody tells it."""
_CONFIRMED = Done("what serves is above the gate with the present rows as well")

_ELSEWHERE = Waiting(reasons.TUNING, "recipes are tried while a daemon runs: `lakectl daemon`")
"""Where this process ends with an `apply`: the clock of a search that it began would run out meanwhile."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The index, what it is measured by, and over what. trials: all of it, by whichever eval set; whole: those that compare. incumbent: of
    what serves."""

    index: Resource
    record: IndexRecord
    truth: EvalTruth
    corpus: Corpus
    trials: tuple[Trial, ...]
    whole: tuple[Trial, ...]
    incumbent: Trial | None


@dataclass(frozen=True, slots=True)
class _Past:
    """What a budget did: `every` note, and those of the account in use. moved: rows or queries are others than those that recipes were
    tried on, and none was tried on these. begun: the note of it; ended: whether the search is over."""

    account: Account
    every: tuple[Note, ...]
    notes: tuple[Note, ...]
    moved: bool
    begun: Note | None
    ended: bool

    @property
    def why_begin(self) -> str:
        if self.moved:
            return "the rows or the queries changed, and what serves is tried again"
        return "its spec changed; what was measured is known" if self.every else "nothing was tried yet"


class Sight:
    """Blocking. Arguments as those of `TrialBudgetController`."""

    def __init__(
        self,
        catalog: Catalog,
        index: IndexController,
        trials: TrialBook,
        tuning: TuningBook,
        wanted: Callable[[Key], Resource | None],
        budgets: Callable[[], Iterable[Resource]],
        clock: Callable[[], datetime],
        processors: int,
        *,
        stays: bool,
        lowered: Callable[[str], float | None],
    ) -> None:
        self._catalog = catalog
        self._index = index
        self._trials = trials
        self._tuning = tuning
        self._wanted = wanted
        self._budgets = budgets
        self._clock = clock
        self._processors = processors
        self._stays = stays
        self._lowered = lowered

    def of(self, resource: Resource) -> Observed:
        """Everything that the plan is made from."""
        standing = self._standing(resource)
        if not isinstance(standing, Standing):
            return Observed(problem=standing)
        past = self._past(resource)
        return self._resting(resource, standing, past) or self._searching(resource, standing, past)

    def _past(self, resource: Resource) -> _Past:
        every, account = self._tuning.of(str(resource.key)), self.account(resource)
        notes = tuple(note for note in every if note.account == account)
        before = any(note.account[:2] == account[:2] and note.account != account for note in every)
        moved = before and not any(note.step == "proposed" for note in notes)
        begun = next((note for note in notes if note.step == "begun"), None)
        ended = any(note.step == "ended" for note in notes)
        return _Past(account, tuple(every), notes, moved, begun, ended)

    def _resting(self, resource: Resource, standing: Standing, past: _Past) -> Observed | None:
        """What is seen where nothing is tried: a search is to begin after a drop of recall, or none is to; None where one goes on."""
        spec, account, notes = tuned(resource), past.account, past.notes
        fresh = past.moved and not notes
        found = self._dropped(resource, standing) if past.ended or (fresh and spec.on_append == "ignore") else None
        if found is not None and self._stays and found.account not in {note.account for note in past.every}:
            return Observed(account=found.account, begin=found.why, gate=found.gate)
        if fresh and (ending := _moved(spec, standing)) is not None:
            return Observed(problem=ending, account=account)
        return Observed(problem=_ELSEWHERE, account=account) if not self._stays and not past.ended else None

    def _searching(self, resource: Resource, standing: Standing, past: _Past) -> Observed:
        """How far the search is, and what comes next."""
        spec, notes, begun = tuned(resource), past.notes, past.begun
        gate, weights, corpus = gate_of(notes, spec.gate.recall_at_10), _weights(spec), standing.corpus
        seconds = (self._clock() - from_iso(begun.at)).total_seconds() if begun is not None else 0.0
        spent, left = _spent(notes, standing.trials, seconds), spec.limits.wall_clock.total_seconds() - seconds
        open_ = unanswered(notes, frozenset(trial.trial for trial in standing.trials))
        decision = None
        if begun is not None and open_ is None and not past.ended:
            confirmed = past.moved and standing.incumbent is not None and passes(standing.incumbent, gate)
            decision = Decision(_CONFIRMED) if confirmed else decide(self._facts(spec, gate, standing, notes, spent, left), suggest)
        midst = begun is None or open_ is not None or (decision is not None and decision.midst)
        better = "" if midst else self._better(resource, gate, standing, notes)
        return Observed(
            account=past.account,
            notes=notes,
            begin=None if begun is not None else past.why_begin,
            open=open_,
            decision=decision,
            better=better if isinstance(better, Better) else None,
            kept=better if isinstance(better, str) else "",
            best=min((trial for trial in standing.whole if passes(trial, gate)), key=lambda trial: score(trial, weights), default=None),
            spent=spent,
            seconds_left=left,
            weight=corpus.chunks * corpus.dimension * 4,
            gate=gate,
        )

    def account(self, resource: Resource) -> Account:
        """The one in use, of the spec in force and the answers that there are."""
        return account_in_use(self._base(resource), self._tuning.of(str(resource.key)))

    def _base(self, resource: Resource) -> Account:
        spec = tuned(resource)
        record = self._catalog.index(spec.index)
        truth = record.truths.get(spec.eval_set) if record is not None else None
        return Account(str(resource.key), resource.transformation, "" if truth is None else truth.digest)

    def name_of(self, resource: Resource, engine: str, parameters: Mapping[str, Any]) -> str:
        """What a recipe of this budget is called. parameters: of the build, complete or not: those of one budget are alike."""
        return f"{resource.key.name[:_LONGEST_NAME]}-{digest([engine, dict(parameters)])[:8]}"

    def _dropped(self, resource: Resource, standing: Standing) -> Drop | None:
        spec = tuned(resource)
        return drop(self._lowered(spec.index), standing.incumbent, standing.record, self._base(resource), spec.gate.recall_at_10)

    def _standing(self, resource: Resource) -> Standing | Outcome:
        """The index and what it is measured by; or why there is nothing to do."""
        spec = tuned(resource)
        if (refused := self._refused(resource, spec)) is not None:
            return refused
        index, eval_set = self._wanted(Key("Index", spec.index)), self._wanted(Key("EvalSet", spec.eval_set))
        if spec.profile is not None and (index is None or eval_set is None):
            return self._without_own(resource)
        if index is None or eval_set is None:
            key = Key("Index", spec.index) if index is None else Key("EvalSet", spec.eval_set)
            return Waiting(reasons.REFERENCE_MISSING, f"{key} is not there; declare it", blocked_by=str(key))
        measures = eval_set.spec_as(EvalSetSpec).index
        if measures != spec.index:
            return Stalled(reasons.INVALID_SPEC, f"{eval_set.key} measures Index/{measures}, not Index/{spec.index}; name one that does")
        record, seen = self._catalog.index(spec.index), self._index.observe(index)
        truth = record.truths.get(spec.eval_set) if record is not None else None
        if record is None or truth is None or not seen.bases or seen.bases[0].corpus.digest != truth.corpus:
            message = f"{eval_set.key} has no answers in the present rows of Index/{spec.index} yet"
            return Waiting(reasons.DEPENDENCY_NOT_READY, message, blocked_by=str(eval_set.key))
        if (few := _too_few(spec, truth)) is not None:
            return few
        trials = self._trials.of(spec.index)
        whole = tuple(trial for trial in trials if trial.fidelity >= 1 and trial.detail.get("truth") == truth.digest)
        corpus = seen.bases[0].corpus
        return Standing(index, record, truth, corpus, trials, whole, _incumbent(record, corpus, whole))

    def _without_own(self, resource: Resource) -> Outcome:
        """Why the profile that it names has nothing to be tuned."""
        written = resource.spec_as(TrialBudgetSpec)
        profile = Key("Profile", str(written.profile))
        for key in (profile, Key("Index", written.index), Key("EvalSet", written.eval_set)):
            if self._wanted(key) is None:
                return Waiting(reasons.REFERENCE_MISSING, f"{key} is not there; declare it", blocked_by=str(key))
        message = (
            f"{profile} has no builds of Index/{written.index} of its own: bind it there with another `embed` or `engine`, "
            f"or leave `profile` out, and the index's are tuned"
        )
        return Stalled(reasons.INVALID_SPEC, message, blocked_by=str(profile))

    def _refused(self, resource: Resource, spec: TrialBudgetSpec) -> Outcome | None:
        budgets = (budget for budget in self._budgets() if tuned(budget).index == spec.index)
        found = in_force(budgets, self._catalog, self._tuning, self._wanted, self._clock())
        if found is None or found.key == resource.key:
            return None  # none of them can: each says why
        first = found.key
        message = f"{first} tunes Index/{spec.index} already, and one budget does; remove one of them"
        return Stalled(reasons.TUNED_ALREADY, message, blocked_by=str(first), seconds=_LOOK_AGAIN)

    def _facts(self, spec: TrialBudgetSpec, gate: float, standing: Standing, notes: Sequence[Note], spent: Spent, left: float) -> Facts:
        given = spec.space
        return Facts(
            space=Space(tuple(given.engine), _pair(given.m), _pair(given.ef_construction), _pair(given.ef_search)),
            gate=gate,
            weights=_weights(spec),
            size=Size(standing.corpus.chunks, standing.corpus.dimension),
            trials=standing.trials,
            truth=standing.truth.digest,
            attempts=_attempts(notes),
            trials_limit=spec.limits.trials,
            trials_left=spec.limits.trials - spent.trials,
            seconds_left=left,
            cores=spec.limits.cpu_share * self._processors,
            memory=spec.limits.memory,
            failed=frozenset(
                str(note.params.get("precision", "float32")) for note in notes if note.step == "failed" and note.engine == "flat"
            ),
        )

    def _better(self, resource: Resource, gate: float, standing: Standing, notes: Sequence[Note]) -> Better | str:
        """What is to serve or to be proposed; or why nothing is that does not or was not yet."""
        spec, record = tuned(resource), standing.record
        if record.serving is not None and standing.incumbent is None:
            return "what serves is not measured yet"
        trial, why = judge(standing.whole, standing.incumbent, gate, _weights(spec))
        if trial is None:
            return why
        search = dict(trial.detail["search"])
        parameters = {name: value for name, value in trial.params.items() if name not in search}
        # its build may be gone by now: the index makes it again before it serves
        name = trial.generation or self.name_of(resource, trial.engine, parameters)
        choice = Choice(name, trial.engine, parameters, search, by=str(resource.key))
        choice = by_same_model(choice, record)
        if record.choice == choice:
            return ""
        advice = _advice(spec, standing.index, record)
        if advice is not None and any(n.step == "advised" and (n.name, dict(n.searches[0])) == (name, dict(choice.search)) for n in notes):
            return ""
        return Better(choice, str(trial.detail["build"]), trial, why, advice)


def _too_few(spec: TrialBudgetSpec, truth: EvalTruth) -> Outcome | None:
    """Where no recipe could pass the gate, whatever it finds."""
    gate, answered = spec.gate.recall_at_10, truth.queries - truth.unanswered
    if gate >= 1 or answered >= (needed := fewest_queries(gate)):
        return None
    message = f"EvalSet/{truth.eval_set} has {answered:,} queries, which cannot show a recall of {gate:g}: {needed:,} are needed"
    return Stalled(reasons.GATE_NOT_MET, message, blocked_by=f"EvalSet/{truth.eval_set}")


def _moved(spec: TrialBudgetSpec, standing: Standing) -> Outcome | None:
    """The rows are others than those that recipes were tried on: why that leads to nothing now; None where it does."""
    if spec.on_append == "ignore":
        return Ready("the rows or the queries changed since recipes were tried, and `onAppend: ignore` leaves it at that")
    if standing.record.serving is None or standing.incumbent is not None:
        return None
    key = f"EvalSet/{spec.eval_set}"
    message = f"the rows or the queries changed; {key} measures what serves by the present ones"
    return Waiting(reasons.DEPENDENCY_NOT_READY, message, blocked_by=key)


def _advice(spec: TrialBudgetSpec, index: Resource, record: IndexRecord) -> str | None:
    """Why a budget may not move the pointer by itself."""
    if spec.promote == "propose":
        return "`promote: propose` says so"
    if index.spec_as(IndexSpec).serve != "auto":
        return f"the spec of {index.key} says what serves"
    chosen = record.choice
    if chosen is not None and not chosen.by and (chosen.generation or chosen.engine):
        return "what serves was chosen by hand"
    return None


def _incumbent(record: IndexRecord, corpus: Corpus, whole: Iterable[Trial]) -> Trial | None:
    """The trial, by the present answers in the corpus, of the recipe that serves, over whichever rows it serves them; None while it serves
    by another model: recall and times of two models do not compare."""
    serving = record.serving
    if serving is None or record.corpus_of(serving).fingerprint != corpus.fingerprint:
        return None
    build = record.builds[serving.build]
    params = {**build.parameters, **serving.search}
    return next((trial for trial in whole if trial.engine == build.engine and dict(trial.params) == params), None)


def _spent(notes: Iterable[Note], trials: Iterable[Trial], seconds: float) -> Spent:
    names = {name for note in notes if note.step == "proposed" for name in note.trials}
    built = {(t.detail.get("build"), t.fidelity): t.build_cpu_seconds or t.build_seconds or 0.0 for t in trials if t.trial in names}
    return Spent(sum(len(note.trials) for note in notes if note.step == "proposed"), seconds, sum(built.values()))


def _attempts(notes: Iterable[Note]) -> list[Attempt]:
    found = []
    for note in notes:
        graph: Graph | None = graph_named(note.engine, note.params)
        if graph is not None and note.step in ("proposed", "refused", "failed"):
            cause: Cause | None = note.detail.get("cause")
            found.append(Attempt(graph, note.fidelity or 1.0, cause))
    return found


def _weights(spec: TrialBudgetSpec) -> Weights:
    return spec.objective.weighted if isinstance(spec.objective, Weighted) else {spec.objective: 1.0}


def _pair(values: Sequence[int]) -> tuple[int, int]:
    low, high = values
    return low, high
