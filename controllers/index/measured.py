"""What trials say of the builds that may serve; pure.

With several eval sets for an index, a build counts as measured once all of them have measured it, and is as good as the worst of them says:
recall by the lower bound that both halves of the queries stand for, time by the 95th percentile.

What serves goes on while it is not measured yet, and while no other is faster by a tenth: two measurements of one build differ by less, and
a change costs every searcher something.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from engines.trials.choice import FASTER, GATE, sure_recall
from specs.digests import canonical_json
from state.catalog.indexes import Build, EvalTruth
from state.trials import Trial


class Measured(NamedTuple):
    """recall: in [0, 1], its lower bound. p95_us: microseconds."""

    recall: float
    p95_us: float


def way(build: str, search: Mapping[str, object]) -> str:
    """A build and how it is searched, as one word."""
    return f"{build} {canonical_json(dict(search)).decode()}"


def measured(trials: Iterable[Trial], truths: Iterable[EvalTruth], builds: Mapping[str, Build]) -> dict[str, Measured]:
    """What is known of each build, by `way`."""
    by_truth: dict[str, dict[str, Measured]] = {}
    for trial in trials:
        if trial.fidelity >= 1 and "build" in trial.detail:
            found = Measured(sure_recall(trial.recall_low, trial.detail), trial.p95_us)
            by_truth.setdefault(trial.detail["truth"], {})[way(trial.detail["build"], trial.detail["search"])] = found
    of_corpus: dict[str, list[str]] = {}
    for truth in truths:
        of_corpus.setdefault(truth.corpus, []).append(truth.digest)
    found_ways: dict[str, Measured] = {}
    for name in {name for ways in by_truth.values() for name in ways}:
        build = builds.get(name.partition(" ")[0])
        wanted = of_corpus.get(build.corpus, []) if build is not None else []
        said = [by_truth[truth][name] for truth in wanted if name in by_truth.get(truth, {})]
        if said and len(said) == len(wanted):
            found_ways[name] = Measured(min(one.recall for one in said), max(one.p95_us for one in said))
    return found_ways


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
