"""What an EvalSet needs next; pure: the exact answers to its queries in the index's newest corpus, then a trial of each build over that.

Rows that come and go are in an index's tail and change nothing here; once the index is over another corpus, the answers are computed
again. Answers to queries that cannot be used any more stay, and what is served by them with them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from controllers.index.steps import Candidate
from controllers.outcome import Outcome, Ready, Waiting
from controllers.step import Work
from engines.trials.choice import GATE
from engines.trials.intervals import fewest_queries
from specs.kinds.eval_set import EvalSetSpec
from specs.resource import Resource
from state import reasons
from state.catalog.indexes import Build, Corpus, EvalTruth


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """A build without a trial by these answers, and the recipe that wants it."""

    candidate: Candidate
    build: Build


@dataclass(frozen=True, slots=True)
class Observed:
    """The world as an EvalSet sees it.

    Args:
        corpus: the index's newest; None while there is none.
        wanted: digest of the answers in it; None where they cannot be computed, for which `problem` is the reason.
        truth: the answers there are. damaged: whether their object is missing.
        unmeasured: builds over the corpus without a trial. measured: how many have one.
        elsewhere: indexes that this set measured before.
    """

    corpus: Corpus | None
    wanted: str | None
    truth: EvalTruth | None
    problem: Outcome | None = None
    damaged: bool = False
    unmeasured: tuple[Unmeasured, ...] = ()
    measured: int = 0
    elsewhere: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MakeTruth:
    """Computes the exact answers."""

    why: str
    truth: str
    weight: int

    @property
    def work(self) -> Work | None:
        """Bytes of vectors."""
        return Work("truth", self.weight)

    def summary(self) -> str:
        """See `Step`."""
        return "compute the exact answers to the queries"


@dataclass(frozen=True, slots=True)
class Measure:
    """Measures a build."""

    why: str
    unmeasured: Unmeasured
    weight: int

    @property
    def work(self) -> Work | None:
        """Bytes of vectors."""
        return Work("measure", self.weight)

    def summary(self) -> str:
        """See `Step`."""
        return f"measure {self.unmeasured.candidate.generation or self.unmeasured.build.digest[:8]}"


@dataclass(frozen=True, slots=True)
class ForgetTruth:
    """Lets go of answers in an index that this set measures no more."""

    why: str
    index: str
    work: Work | None = None

    def summary(self) -> str:
        """See `Step`."""
        return f"remove the answers in Index/{self.index}"


EvalSetStep = MakeTruth | Measure | ForgetTruth
"""What an EvalSet's plan is made of."""


def plan(resource: Resource, observed: Observed) -> tuple[EvalSetStep, ...]:
    """The next step, if there is one."""
    if observed.elsewhere:
        return (ForgetTruth("the spec names another index", observed.elsewhere[0]),)
    if observed.wanted is None or observed.corpus is None or observed.problem is not None:
        return ()
    weight = observed.corpus.chunks * observed.corpus.dimension * 4
    if observed.truth is None or observed.truth.digest != observed.wanted or observed.damaged:
        return (MakeTruth(_why(observed), observed.wanted, weight),)
    return tuple(Measure("no trial of it by these answers", unmeasured, weight) for unmeasured in observed.unmeasured[:1])


def _why(observed: Observed) -> str:
    if observed.truth is None:
        return "nothing is computed yet"
    if observed.corpus is not None and observed.truth.corpus != observed.corpus.digest:
        return "the index is over other rows now"
    return "they are missing or damaged" if observed.damaged else "the queries changed"


def conclude(resource: Resource, observed: Observed) -> Outcome:
    """The ending when nothing is left to do."""
    spec = resource.spec_as(EvalSetSpec)
    if observed.problem is not None:
        return observed.problem
    truth, index = observed.truth, f"Index/{spec.index}"
    if truth is None or observed.corpus is None:
        return Waiting(reasons.DEPENDENCY_NOT_READY, f"{index} has no corpus of its texts yet", blocked_by=index)
    return Ready(f"{_queries(spec, truth)}; {_builds(observed.measured)}", _detail(truth, observed.measured))


def _queries(spec: EvalSetSpec, truth: EvalTruth) -> str:
    wanted = spec.generate.queries if spec.generate is not None else truth.queries
    said = (
        f"{truth.queries:,} queries"
        if truth.queries == wanted
        else f"{truth.queries:,} of {wanted:,} queries, which is all that its texts give"
    )
    if truth.unknown:
        said += f", relevant keys that are not in the index: {truth.unknown:,}"
    if truth.unanswered:
        said += f", queries whose filter passes nothing: {truth.unanswered:,}"
    answered, needed = truth.queries - truth.unanswered, fewest_queries(GATE)
    if answered < needed:
        said += f"; {answered:,} queries cannot show a recall of {GATE:g}, whatever is found: {needed:,} are needed"
    return said


def _builds(count: int) -> str:
    return "no build to measure" if not count else f"{count} build{'s' if count > 1 else ''} measured"


def _detail(truth: EvalTruth, measured: int) -> Mapping[str, object]:
    return {
        "queries": truth.queries,
        "k": truth.k,
        "filters": truth.filters,
        "judged": truth.judged,
        "unknownKeys": truth.unknown,
        "unanswered": truth.unanswered,
        "truth": truth.digest,
        "corpus": truth.corpus,
        "measured": measured,
    }
