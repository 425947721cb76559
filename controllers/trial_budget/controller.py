"""TrialBudget's hands: reads the trials and its notes, has the next recipe built and measured, moves the pointer.

Jobs are the budget's own ("TrialBudget/name"), so that those end which it does not want any more: when its spec changes, when its time is
over, when it is suspended or removed. Each runs within the limits on memory and processors.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from controllers.eval_set.trial_runs import Asked, Party, TrialRefused, TrialRuns
from controllers.events import Events
from controllers.index.controller import IndexController
from controllers.index.pointer import Cause
from controllers.index.promotions import Promotions
from controllers.jobs import Bounds
from controllers.outcome import Outcome
from controllers.step import Started
from controllers.trial_budget import plan as planning
from controllers.trial_budget.plan import Begin, End, Measure, Observed, Refuse, Settle, TuningStep, recipe, told
from controllers.trial_budget.sight import Sight
from engines.errors import BuildFailed, EngineUnsupported, JobCrashed, JobFailed
from engines.jobs.executor import Executor
from engines.tuning.facts import Cause as WhyFailed
from specs.errors import LakehouseError
from specs.own import tuned
from specs.resource import Key, Resource
from state import reasons
from state.catalog.catalog import Catalog
from state.catalog.entry import Dropped
from state.catalog.fold import ObjectState
from state.failpoints import declare, hit
from state.trials import TrialBook
from state.tuning import Note, StepName, TuningBook

_AFTER_PROPOSAL = declare("trial-budget.after-proposal")
_AFTER_CHOICE = declare("trial-budget.after-choice")


class TrialBudgetController:
    """See `controllers.controller.Controller`.

    Args:
        index: what is built, and over what. runs: builds and measures. promotions: moves the pointer.
        trials: what was measured. tuning: what budgets did.
        wanted: the spec in force of an object, None if nobody wants it. budgets: all of this kind in force.
        clock: whose time limits are. processors: of this machine.
        stays: whether this process is a daemon; one that ends when all is ready tries nothing.
        lowered: the recall of an index's searches, where it is below the gate; None elsewhere.
    """

    def __init__(
        self,
        catalog: Catalog,
        executor: Executor,
        index: IndexController,
        runs: TrialRuns,
        events: Events,
        trials: TrialBook,
        tuning: TuningBook,
        wanted: Callable[[Key], Resource | None],
        budgets: Callable[[], Iterable[Resource]],
        clock: Callable[[], datetime],
        processors: int | None = None,
        *,
        stays: bool = True,
        lowered: Callable[[str], float | None] = lambda index: None,
    ) -> None:
        self._catalog = catalog
        self._executor = executor
        self._promotions: Promotions = index.promotions
        self._runs = runs
        self._events = events
        self._tuning = tuning
        self._wanted = wanted
        self._processors = processors or os.cpu_count() or 1
        self._sight = Sight(catalog, index, trials, tuning, wanted, budgets, clock, self._processors, stays=stays, lowered=lowered)

    def observe(self, resource: Resource) -> Observed:
        """See `Sight.of`."""
        return self._sight.of(resource)

    def drift(self, observed: Observed) -> tuple[str, ...]:
        """It makes nothing of its own."""
        return ()

    def plan(self, resource: Resource, observed: Observed) -> tuple[TuningStep, ...]:
        """See `plan.plan`."""
        return planning.plan(resource, observed)

    def conclude(self, resource: Resource, observed: Observed) -> Outcome:
        """See `plan.conclude`."""
        return planning.conclude(resource, observed)

    def act(self, resource: Resource, step: TuningStep, revision: str) -> Started | None:
        """Raises PromotionRefused and state errors: all are retried. What a recipe does wrong is noted."""
        match step:
            case Begin(why=why, account=account, gate=gate):
                note = replace(self._blank(resource, "begun", why), spec=account.spec, truth=account.truth)
                note = note if gate is None else replace(note, detail={"gate": gate})
                self._note(resource, revision, ("Normal", reasons.TUNING_BEGUN), note)
            case Refuse(refused=refused, why=why):
                graph, about = refused.graph, {"cause": refused.cause}
                blank = self._blank(resource, "refused", f"{graph} is not tried: {why}")
                note = replace(blank, engine=graph.engine, params=graph.parameters, fidelity=refused.fidelity, detail=about)
                self._note(resource, revision, ("Normal", reasons.TRIAL_REFUSED), note)
            case Measure():
                return self._measure(resource, step, revision)
            case Settle():
                self._settle(resource, step, revision)
            case End(why=why, reason=reason):
                note = replace(self._blank(resource, "ended", why), reason=reason)
                kind = "Warning" if reason == reasons.GATE_NOT_MET else "Normal"
                self._note(resource, revision, (kind, reasons.TUNING_ENDED), note)
        return None

    def retire(self, record: ObjectState) -> str:
        """What it chose is the index's."""
        return "what it chose goes on serving; its trials stay in system.trials"

    def remove(self, record: ObjectState, revision: str) -> None:
        """Ends its jobs, and its hold on builds."""
        self._executor.keep_only(record.object, frozenset())
        self._tuning.close(record.object)
        self._catalog.commit((Dropped(record.object),), actor="daemon", reason="no spec asks for it", revision=revision)

    def _measure(self, resource: Resource, step: Measure, revision: str) -> Started | None:
        spec = tuned(resource)
        index = self._wanted(Key("Index", spec.index))
        if index is None:
            return None
        asked = Asked(step.engine, step.parameters, step.searches, spec.eval_set, step.fidelity)
        note = step.open
        try:
            if note is None:
                build, names = self._runs.names(index, asked)
                about = {"build": build} if step.fidelity >= 1 else {}
                note = replace(_about(step, self._blank(resource, "proposed", step.why)), trials=names, detail=about)
                self._note(resource, revision, ("Normal", reasons.TRIAL_PROPOSED), note, f"{step.summary()}: {step.why}")
                hit(_AFTER_PROPOSAL)
            found = self._runs.run(index, asked, self._party(resource, step), revision)
        except (JobCrashed, JobFailed, BuildFailed, EngineUnsupported, TrialRefused) as error:
            self._fail(resource, step, note, error, revision)
            return Started(reasons.TUNING, f"{step.summary()}: failed", seconds=0.0)
        if isinstance(found, Started):
            return Started(reasons.TUNING, f"{step.summary()}: {found.message}", found.progress, seconds=step.seconds_left)
        for trial in found:
            self._events.record_event(str(resource.key), "Normal", reasons.TRIAL_MEASURED, told(trial), revision)
        return Started(reasons.TUNING, f"{step.summary()}: measured", seconds=0.0)

    def _fail(self, resource: Resource, step: Measure, note: Note | None, error: LakehouseError, revision: str) -> None:
        message = f"{recipe(step.engine, step.parameters, *step.searches)}: {error.explain()}"
        trials = note.trials if note is not None else ()
        failed = replace(_about(step, self._blank(resource, "failed", message)), trials=trials, detail={"cause": _cause(error)})
        self._note(resource, revision, ("Warning", reasons.TRIAL_FAILED), failed)

    def _party(self, resource: Resource, step: Measure) -> Party:
        spec = tuned(resource)
        cores = spec.limits.cpu_share * self._processors if spec.limits.cpu_share < 1 else None
        name = self._sight.name_of(resource, step.engine, step.parameters)
        return Party(str(resource.key), str(resource.key), name, Bounds(spec.limits.memory, cores))

    def _settle(self, resource: Resource, step: Settle, revision: str) -> None:
        spec, better = tuned(resource), step.better
        index, choice = self._wanted(Key("Index", spec.index)), better.choice
        if index is None:
            return
        about = {"build": better.build, "trial": better.trial.trial}
        blank = self._blank(resource, "chosen" if better.advice is None else "advised", better.why)
        note = replace(blank, engine=choice.engine, params=choice.parameters, searches=(choice.search,), fidelity=1.0)
        note = replace(note, name=choice.generation, detail=about)
        if better.advice is not None:
            command = f"`lakectl promote {spec.index} {choice.generation}`"
            message = f"{told(better.trial)} would serve better ({better.why}), and waits for a word, since {better.advice}: {command}"
            self._note(resource, revision, ("Normal", reasons.PROMOTION_PROPOSED), replace(note, message=message))
            return
        # noted first: `lakectl promote` finds it by its name
        self._tuning.add(note)
        hit(_AFTER_CHOICE)
        self._promotions.choose(index, choice, Cause(str(resource.key), better.why, revision))

    def _blank(self, resource: Resource, step: StepName, message: str) -> Note:
        account = self._sight.account(resource)
        index = tuned(resource).index
        return Note(account.budget, index, account.spec, account.truth, step, message)

    def _note(self, resource: Resource, revision: str, event: tuple[str, str], note: Note, message: str | None = None) -> None:
        """The note, and an event that says the same."""
        self._tuning.add(note)
        self._events.record_event(str(resource.key), *event, message or note.message, revision)


def _about(step: Measure, note: Note) -> Note:
    return replace(note, engine=step.engine, params=step.parameters, searches=step.searches, fidelity=step.fidelity)


def _cause(error: LakehouseError) -> WhyFailed:
    """What a failure says of recipes like the one that failed."""
    if isinstance(error, EngineUnsupported):
        return "engine"
    return "memory" if isinstance(error, JobCrashed) and error.memory else "other"
