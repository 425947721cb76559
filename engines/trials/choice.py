"""Which trial is best: pure, the same for whoever promotes, shows or proposes.

Trials compare while they are by the same answers, over one corpus, at full fidelity. Where several eval sets measure an index, a build that
is searched in one way counts once all of them have measured it, and is as good as the worst of them says (`Word`). The gate is recall's
lower bound. A winner is chosen by one half of the queries and confirmed by the other, since the luckiest of many looks better than it is:
both halves have to be above the gate, each by its own lower bound. Of one build the narrowest search that passes counts: a broader one
takes longer by its nature, so where it was measured to be faster, the clock was disturbed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from engines.trials.objective import LATENCY, Weights, depends_on_breadth, score
from specs.digests import canonical_json
from state.trials import Trial

GATE = 0.9
FASTER = 0.9
"""What another may cost beside what serves, at most: two measurements of one build differ by less, and a change costs every searcher
something."""


def sure_recall(recall_low: float, detail: Mapping[str, Any]) -> float:
    """The recall that both halves of the queries stand for; a half without an answer stands for none."""
    halves = [half["low"] if half is not None else 0.0 for half in detail.get("halves", ())]
    return min([recall_low, *halves])


def passes(trial: Trial, gate: float = GATE) -> bool:
    """Whether it may serve."""
    return sure_recall(trial.recall_low, trial.detail) >= gate


def narrowest(trials: Iterable[Trial], weights: Weights) -> list[Trial]:
    """Those that may be the cheapest: without any that searches a build more broadly than another of these does."""
    by_build: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        by_build[_build(trial)].append(trial)
    return [trial for group in by_build.values() for trial in group if not narrower(trial, group, weights)]


def narrower(trial: Trial, others: Iterable[Trial], weights: Weights) -> list[Trial]:
    """Those of others that search the same build and look at less, by one parameter at least, and by none at more; none where the
    breadth of a search costs nothing."""
    if not depends_on_breadth(weights):
        return []
    return [other for other in others if _build(other) == _build(trial) and _broader(_search(trial), _search(other))]


def _broader(search: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    both = search != other and search.keys() == other.keys()
    return both and all(isinstance(value, int) and isinstance(other[name], int) and value >= other[name] for name, value in search.items())


def _build(trial: Trial) -> str:
    return str(trial.detail.get("build", trial.trial))


def _search(trial: Trial) -> Mapping[str, Any]:
    return dict(trial.detail.get("search", {}))


class Word(NamedTuple):
    """What eval sets say together of one build, searched in one way. trials: of each eval set one; the worst counts."""

    trials: tuple[Trial, ...]

    @property
    def weakest(self) -> Trial:
        """The one with the least recall to rely on."""
        return min(self.trials, key=lambda trial: sure_recall(trial.recall_low, trial.detail))

    @property
    def sure_recall(self) -> float:
        """The recall that all of them stand for."""
        return sure_recall(self.weakest.recall_low, self.weakest.detail)

    @property
    def recall_at_10(self) -> float:
        """The least that was found."""
        return min(trial.recall_at_10 for trial in self.trials)

    def cost(self, weights: Weights) -> float:
        """The greatest that was found; infinite where one of them did not measure it."""
        return max(score(trial, weights) for trial in self.trials)


def way(build: str, search: Mapping[str, object]) -> str:
    """A build and how it is searched, as one word."""
    return f"{build} {canonical_json(dict(search)).decode()}"


def way_of(trial: Trial) -> str:
    """What it measured; by its own name where its row does not say which build that was."""
    return way(trial.detail["build"], trial.detail["search"]) if "build" in trial.detail else trial.trial


def words(trials: Iterable[Trial], truths: Collection[str | None]) -> list[Word]:
    """Of each way that was measured by all of these answers, at full fidelity. truths: by digest."""
    said: dict[str, dict[str | None, Trial]] = {}
    for trial in trials:
        truth = trial.detail.get("truth")
        if trial.fidelity >= 1 and truth in truths:
            said.setdefault(way_of(trial), {})[truth] = trial
    return [Word(tuple(by.values())) for by in said.values() if len(by) == len(truths)]


def newest_words(trials: Sequence[Trial], eval_sets: Collection[str]) -> list[Word]:
    """By the newest answers of each of these eval sets that measured anything. trials: in the order in which they were measured."""
    newest = {trial.eval_set: trial.detail.get("truth") for trial in trials if trial.fidelity >= 1 and trial.eval_set in eval_sets}
    return words(trials, set(newest.values()))


def best(said: Iterable[Word], weights: Weights = LATENCY, gate: float = GATE) -> Word | None:
    """The cheapest that passes the gate; None where none does."""
    passing = {word.weakest.trial: word for word in said if word.sure_recall >= gate}
    narrow = narrowest((word.weakest for word in passing.values()), weights)
    return min((passing[trial.trial] for trial in narrow), key=lambda word: word.cost(weights), default=None)


def front(said: Iterable[Word], weights: Weights = LATENCY) -> list[Word]:
    """Those that no other beats in recall and cost together, cheapest first."""
    found: list[Word] = []
    for word in sorted(said, key=lambda word: (word.cost(weights), -word.recall_at_10)):
        if not found or word.recall_at_10 > found[-1].recall_at_10:
            found.append(word)
    return found
