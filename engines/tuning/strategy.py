"""What is tried next, decided from what was measured alone: nothing is remembered in between, so that a restart changes nothing. Pure.

The structure that is exploited, cheapest first:

1. **One graph serves all breadths.** Building takes minutes and a search parameter nothing, so a graph is built once, and the least breadth
   that passes the gate is bisected on it (`curve.py`). One whose failing breadth already costs what the best costs is left at once.
2. **A tenth of the rows ranks graphs.** Several are built over a share (`RUNG` of the chunks, `FLOOR` of them at least; where that is more
   than half, all are built over everything), and searched with two breadths; where the curve through both crosses the gate says what each
   would cost. A few of these span the space, then a sampler that knows every trial proposes more, until `PATIENCE` of them in a row are no
   better than the best. Only the best is then built over everything, and what promises to replace it.
3. **More links and a broader construction never find less.** A graph that fails at the greatest breadth takes all with it that have less
   of both; where the one with the most of both fails, the space is hopeless.

Next: `facts.py` for what goes in and out, `view.py` for how trials are read, `prediction.py` for what is refused.
"""

from __future__ import annotations

from collections.abc import Iterator

from engines.tuning.facts import Decision, Done, Facts, Refused, Suggest, Try
from engines.tuning.space import EXACT, Graph
from engines.tuning.view import View

BEST = 1
"""Graphs of the first rung that are built over everything. A second one takes as much as fifteen more on the rung, and of what these and
that find, these find the better."""
PATIENCE = 6
"""Graphs without an improvement after which the search ends."""
MOST_POINTS = 7
"""Breadths of one graph."""
MOST_REFUSALS = 4
"""Graphs refused in a row after which what is left is taken to be refused as well."""
_RUNG_COST = 3
"""A graph of the rung for so many trials of the limit: two thirds of them go there at most."""
_SAMPLED = "the sampler proposes it by what is known"
_OVERHEAD = 1.25, 3.0
"""Measuring beside building, as a share of it, and seconds besides."""


def decide(facts: Facts, suggest: Suggest) -> Decision:
    """The next trial, or why there is none."""
    if facts.trials_left <= 0:
        return Decision(Done(f"all {facts.trials_limit} trials are spent", spent=True))
    if facts.seconds_left <= 0:
        return Decision(Done("the time is spent", spent=True))
    view = View(facts)
    if (graph := view.unfinished(_most_points(facts))) is not None:
        return Decision(_bisect(facts, view, graph, "the least breadth of it that passes the gate is not found yet"))
    if (exact := _exact(facts, view)) is not None:
        return Decision(exact)
    refused: list[Refused] = []
    for graph, fidelity, why in _wanted(facts, view, suggest, refused):
        problem = _refusal(facts, view, graph, fidelity)
        if problem is None:
            found = _rung(facts, view, graph, why) if fidelity < 1 else _bisect(facts, view, graph, why)
            return Decision(found, tuple(refused))
        refused.append(problem)
    return Decision(_done(facts, view, refused), tuple(refused))


def _exact(facts: Facts, view: View) -> Try | None:
    for parameters in EXACT if "flat" in facts.space.engines else ():
        if not view.measured_exactly(parameters) and parameters.get("precision", "float32") not in facts.failed:
            return Try("flat", parameters, ({},), 1.0, "exact search is in the space")
    return None


def _wanted(facts: Facts, view: View, suggest: Suggest, refused: list[Refused]) -> Iterator[tuple[Graph, float, str]]:
    """Graphs worth a trial, with the share of the chunks to build over, the first first. refused: grows while this is iterated."""
    if view.rung is None:
        yield from ((graph, 1.0, why) for graph, why in _whole(facts, view))
        yield from ((graph, 1.0, _SAMPLED) for graph in _sampled(facts, view, suggest, refused))
        return
    most = max(2, facts.trials_limit // _RUNG_COST)
    first = facts.space.design()[:most]
    fresh = (graph for graph in first if graph not in view.on_rung and not view.left(graph))
    yield from ((graph, view.rung, "a share of the rows ranks it") for graph in fresh)
    if len(view.on_rung) < most:
        yield from ((graph, view.rung, _SAMPLED) for graph in _sampled(facts, view, suggest, refused))
    yield from ((graph, 1.0, why) for graph, why in _whole(facts, view))


def _sampled(facts: Facts, view: View, suggest: Suggest, refused: list[Refused]) -> Iterator[Graph]:
    """What the sampler proposes, until nothing of that was better than the best for a while."""
    given: set[Graph] = set()
    while view.stale < PATIENCE and len(refused) < MOST_REFUSALS and len(given) < PATIENCE + MOST_REFUSALS:
        proposed = suggest(facts.space, view.values(), len(facts.attempts) + len(given), view.seen | given)
        if proposed is None:
            return
        given.add(proposed)
        if not view.left(proposed):
            yield proposed


def _whole(facts: Facts, view: View) -> Iterator[tuple[Graph, str]]:
    """Graphs that are to be built over everything, and were not, and why."""
    found: list[tuple[Graph, str]] = []
    if view.nothing_passes:
        why = "nothing passes the gate yet, and this finds most of the space: where it fails, all do"
        found += [(graph, why) for graph in facts.space.best_built()]
    if view.rung is None:
        found += [(graph, "where the search begins") for graph in facts.space.design()]
    else:
        found += [(graph, f"{view.place(graph)} on a share of the rows") for graph in view.ranked(BEST)]
    return (pair for pair in found if not view.tried(pair[0]) and not view.left(pair[0]))


def _refusal(facts: Facts, view: View, graph: Graph, fidelity: float) -> Refused | None:
    """Why it is not built: in full, or over a share, which leads to building it in full."""
    memory = view.predictor.memory(graph)
    if facts.memory is not None and memory > facts.memory:
        why = f"building it would hold {memory / 2**20:,.0f} MiB, the limit is {facts.memory / 2**20:,.0f}"
        return Refused(graph, fidelity, "memory", why)
    seconds = sum(_seconds(facts, view, graph, share) for share in {fidelity, 1.0})
    if seconds > facts.seconds_left:
        return Refused(graph, fidelity, "time", f"it would take {seconds:,.0f} s, and {facts.seconds_left:,.0f} are left")
    return None


def _seconds(facts: Facts, view: View, graph: Graph, fidelity: float) -> float:
    share, besides = _OVERHEAD
    return share * view.predictor.cpu_seconds(graph, fidelity) / min(1.0, facts.cores) + besides


def _rung(facts: Facts, view: View, graph: Graph, why: str) -> Try:
    assert view.rung is not None
    searches = [graph.search(breadth) for breadth in view.rung_breadths(graph)][: facts.trials_left]
    return Try(graph.engine, graph.parameters, searches, view.rung, why, _seconds(facts, view, graph, view.rung))


def _bisect(facts: Facts, view: View, graph: Graph, why: str) -> Try:
    breadth = view.next_breadth(graph)
    assert breadth is not None
    built = view.tried(graph)
    seconds = None if built else _seconds(facts, view, graph, 1.0)
    return Try(graph.engine, graph.parameters, (graph.search(breadth),), 1.0, why, seconds, goes_on=built)


def _most_points(facts: Facts) -> int:
    return min(MOST_POINTS, max(2, facts.trials_limit // 4))


def _done(facts: Facts, view: View, refused: list[Refused]) -> Done:
    if view.hopeless:
        return Done(f"no setting of the space passes the gate: {view.closest()}", hopeless=True)
    if refused:
        return Done(f"what is left of the space does not fit: {refused[0].graph}: {refused[0].why}", spent=True)
    if not view.seen and facts.space.graphs:
        return Done("the space is empty: nothing of it is there to be tried", hopeless=True)
    return Done("nothing more in the space promises to be better")
