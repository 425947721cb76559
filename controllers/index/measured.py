"""What trials say of the builds that may serve; pure.

With several eval sets for an index the worst of them counts, once all have measured a build (`engines/trials/choice.py`): recall by the
lower bound that both halves of the queries stand for, time by the 95th percentile.

What serves goes on while it is not measured yet, and while no other is faster by a tenth: two measurements of one build differ by less, and
a change costs every searcher something.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from engines.trials.choice import FASTER, GATE, way_of, words
from engines.trials.objective import LATENCY
from state.catalog.indexes import Build, EvalTruth
from state.trials import Trial


class Measured(NamedTuple):
    """recall: in [0, 1], its lower bound. p95_us: microseconds."""

    recall: float
    p95_us: float


def measured(trials: Iterable[Trial], truths: Iterable[EvalTruth], builds: Mapping[str, Build]) -> dict[str, Measured]:
    """What is known of each build, by `way`."""
    of_corpus: dict[str, set[str]] = {}
    for truth in truths:
        of_corpus.setdefault(truth.corpus, set()).add(truth.digest)
    over: dict[str, list[Trial]] = {}
    for trial in trials:
        if (build := builds.get(trial.detail.get("build", ""))) is not None:
            over.setdefault(build.corpus, []).append(trial)
    said = [word for corpus, digests in of_corpus.items() for word in words(over.get(corpus, ()), digests)]
    return {way_of(word.weakest): Measured(word.sure_recall, word.cost(LATENCY)) for word in said}


def preferred(known: Mapping[str, Measured], ways: Iterable[str], serving: str | None) -> str | None:
    """Which of these may serve; None where trials say nothing about it. serving: the one that does, if it is among them."""
    found = {name: known[name] for name in ways if name in known}
    if serving is not None and serving not in found:
        return serving
    if not found:
        return None
    passing = {name: one for name, one in found.items() if one.recall >= GATE}
    if not passing:
        return max(sorted(found), key=lambda name: found[name].recall)
    best = min(sorted(passing), key=lambda name: passing[name].p95_us)
    if serving in passing and passing[best].p95_us > FASTER * passing[serving].p95_us:
        return serving
    return best
