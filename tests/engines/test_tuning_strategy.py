"""What a tuner tries next, over worlds that are formulas: what it finds, what it costs, what it leaves, and when it ends."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from harness_tuning import WIDE, Run, World, by_surface, made

from engines.tuning.facts import Attempt, Done, Try
from engines.tuning.sampler import suggest
from engines.tuning.space import Graph, Space
from engines.tuning.strategy import BEST, MOST_POINTS, decide
from engines.tuning.view import FLOOR, RUNG

MIDDLE = WIDE.design()[0]
NARROW = Space(("hnsw",), (16, 16), (80, 80), (10, 400))


def noisy(graph: Graph, breadth: int) -> float:
    """Two measurements of one thing differ by some percent."""
    return random.Random(f"{graph} {breadth}").uniform(0.96, 1.04)


@pytest.mark.parametrize(("hardness", "gate"), [(0.5, 0.9), (0.5, 0.97), (1, 0.9), (1, 0.97), (1.5, 0.9), (2.5, 0.9)])
def test_near_the_best_for_a_part_of_the_cost(hardness: float, gate: float) -> None:
    """Within 12 % of an exhaustive grid of 36 graphs, for less than an eighth of what building these takes, in 40 trials and 10 minutes."""
    world = World(hardness=hardness, noise=noisy)
    run = Run(world, gate=gate, suggest=suggest)
    done = run.to_end()
    assert not done.hopeless
    assert run.best.p95_us <= 1.12 * world.best(WIDE, gate)
    grid = sum(world.seconds(Graph("hnsw", m, c), 1.0) for m in (8, 16, 24, 32, 40, 48) for c in (16, 32, 64, 100, 200, 400))
    assert run.cpu < grid / 8
    assert run.used <= run.limit
    assert run.taken <= run.seconds


def test_a_share_ranks_first_then_few_are_built_over_everything() -> None:
    run = Run(suggest=suggest)
    run.to_end()
    shares = [move.fidelity for move in run.moves]
    assert shares == sorted(shares), "first the cheap rung, then everything"
    assert set(shares) == {RUNG, 1.0}
    assert all(len(move.searches) == 2 for move in run.moves if move.fidelity < 1)
    assert [attempt.graph for attempt in run.attempts[:5]] == list(WIDE.design())
    whole = [attempt.graph for attempt in run.attempts if attempt.fidelity >= 1]
    assert len(set(whole)) <= BEST + 1
    assert max(whole.count(graph) for graph in whole) <= MOST_POINTS
    assert [move.goes_on for move in run.moves if move.fidelity >= 1].count(False) == len(set(whole)), "one build serves all breadths"


def test_what_others_measured_over_everything_is_not_what_the_share_ranked() -> None:
    """Builds of generations, none of them above the gate, are known when it begins: it goes on to builds of its own."""
    world = World()
    known = [world.trial(Graph("hnsw", m, 20), 10, 1.0) for m in (9, 10, 11)]
    run = Run(world, suggest=suggest, trials=known)
    done = run.to_end()
    assert any(move.fidelity >= 1 for move in run.moves)
    assert not done.hopeless
    assert run.best.p95_us <= 1.12 * world.best(WIDE, run.gate)


def test_the_next_of_the_share_is_built_where_those_before_it_cannot_be() -> None:
    run = Run(World(noise=noisy), suggest=suggest)
    while (move := run.step().move) and isinstance(move, Try) and move.fidelity < 1:
        pass
    assert isinstance(move, Try)
    failed = [attempt.graph for attempt in run.attempts if attempt.fidelity >= 1]
    run.trials = [trial for trial in run.trials if trial.fidelity < 1]
    run.attempts = [attempt for attempt in run.attempts if attempt.fidelity < 1] + [Attempt(graph, 1.0, "other") for graph in failed]
    run.to_end()
    whole = {attempt.graph for attempt in run.attempts if attempt.fidelity >= 1 and attempt.cause is None}
    assert len(whole) >= BEST
    assert not whole & set(failed)


@pytest.mark.parametrize(("chunks", "fidelity"), [(100_000, 0.1), (30_000, 0.1), (10_000, 0.2), (4_000, 0.5), (3_999, 1.0), (400, 1.0)])
def test_the_rung_has_a_floor(chunks: int, fidelity: float) -> None:
    move = decide(Run(World(chunks)).facts(), suggest).move
    assert isinstance(move, Try)
    assert move.fidelity == pytest.approx(fidelity, abs=1e-4)
    assert move.fidelity * chunks >= min(FLOOR, chunks) - 1


def test_nothing_is_remembered_in_between() -> None:
    """Equal facts, equal decisions: whoever starts again goes on where it was."""
    run = Run(suggest=suggest)
    for _ in range(12):
        assert decide(run.facts(), suggest) == decide(run.facts(), suggest)
        run.step()
    asked = [(move.engine, tuple(move.parameters.items()), str(move.searches), move.fidelity) for move in run.moves]
    assert len(asked) == len(set(asked)), "no trial twice"


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 40])
def test_the_limit_on_trials_holds_exactly(limit: int) -> None:
    run = Run(World(hardness=2), limit=limit, suggest=by_surface)
    done = run.to_end()
    assert run.used <= limit
    if limit < 10:
        assert (run.used, done.spent, done.why) == (limit, True, f"all {limit} trials are spent")


def test_no_time_is_left() -> None:
    run = Run(seconds=0)
    assert run.step().move == Done("the time is spent", spent=True)


def test_what_cannot_finish_is_refused() -> None:
    """In 60 s some graphs can be built, and in 3 s none; whatever is begun ends in time."""
    run = Run(seconds=60, suggest=by_surface)
    run.to_end()
    assert run.taken <= 60
    assert all(refused.cause == "time" for refused in run.refused)
    assert run.refused
    assert "are left" in run.refused[0].why
    nothing = Run(seconds=3, suggest=by_surface)
    done = nothing.to_end()
    assert nothing.moves == []
    assert done.spent
    assert "does not fit" in done.why


def test_a_smaller_share_of_the_processors_makes_builds_longer() -> None:
    whole, tenth = Run(seconds=100), Run(seconds=100, cores=0.1)
    assert isinstance(whole.step().move, Try)
    assert isinstance(tenth.step().move, Done)


def test_memory_refuses_and_takes_more_links_with_it() -> None:
    run = Run(memory=310 << 20, suggest=by_surface)
    run.to_end()
    assert {refused.cause for refused in run.refused} == {"memory"}
    least = min(refused.graph.m for refused in run.refused)
    assert all(attempt.graph.m < least for attempt in run.attempts if attempt.cause is None)
    assert len(run.refused) <= len(WIDE.design())


def test_what_dies_of_memory_is_not_tried_with_more_links() -> None:
    run = Run(World(broken=lambda graph: graph.m >= 20), suggest=by_surface)
    run.to_end()
    died = [attempt.graph.m for attempt in run.attempts if attempt.cause == "memory"]
    assert died == sorted(died, reverse=True), "each had fewer links than the one before"
    assert run.best.params["m"] < 20


class TestHopeless:
    def test_the_graph_that_finds_most_ends_it(self) -> None:
        run = Run(World(hardness=200), suggest=by_surface)
        done = run.to_end()
        assert done.hopeless
        assert "no setting of the space passes the gate" in done.why
        whole = [attempt for attempt in run.attempts if attempt.fidelity >= 1]
        assert [attempt.graph for attempt in whole] == list(WIDE.best_built()), "one graph over everything is enough to know"
        assert run.moves[-1].searches == ({"efSearch": 400},)

    def test_small(self) -> None:
        run = Run(World(1000, hardness=600), suggest=by_surface)
        done = run.to_end()
        assert done.hopeless
        assert len({attempt.graph for attempt in run.attempts}) == 2, "the middle, and the one that finds most"

    def test_a_region_that_fails_is_left(self) -> None:
        """Few links find nothing, however searched: after one of them failed wholly, none with less is tried."""
        run = Run(World(1000, hardness=40), suggest=by_surface)
        run.trials = [run.world.trial(MIDDLE, 400, 1.0)]
        assert run.trials[0].recall_low < run.gate
        run.to_end()
        assert not any(attempt.graph.within(MIDDLE) for attempt in run.attempts)

    def test_an_engine_that_is_not_there(self) -> None:
        run = Run(space=replace(WIDE, engines=("lance",)))
        run.attempts = [Attempt(Graph("lance", 20, 80), 0.1, "engine")]
        assert run.step().move == Done("nothing more in the space promises to be better")

    def test_one_graph_that_passes(self) -> None:
        run = Run(space=NARROW)
        assert not run.to_end().hopeless
        assert {attempt.graph for attempt in run.attempts} == {Graph("hnsw", 16, 80)}
        assert all(move.fidelity == 1 for move in run.moves), "there is nothing to rank"

    def test_one_graph_that_does_not(self) -> None:
        assert Run(World(hardness=200), space=NARROW).to_end().hopeless


class TestExact:
    def test_both_precisions_are_tried_once(self) -> None:
        run = Run(space=replace(WIDE, engines=("flat",)))
        done = run.to_end()
        assert [dict(move.parameters) for move in run.moves] == [{}, {"precision": "int8"}]
        assert not done.hopeless

    def test_a_graph_that_costs_more_than_comparing_is_left_early(self) -> None:
        """Of a small index: the failing breadth costs more than exact search."""
        run = Run(World(1000, hardness=30), space=replace(NARROW, engines=("flat", "hnsw")))
        run.trials = [made("flat", {}, {}, 1.0, 5.0), made("flat", {"precision": "int8"}, {}, 1.0, 6.0)]
        run.to_end()
        assert run.best.engine == "flat"


class TestWhatIsKnown:
    def test_other_limits_begin_where_the_former_ended(self) -> None:
        """Trials of a former account are no attempts of this one, and still known: nothing is measured twice."""
        former = Run(limit=12, suggest=by_surface)
        former.to_end()
        again = Run(suggest=by_surface, trials=list(former.trials))
        again.to_end()
        asked = {(str(move.parameters), str(search), move.fidelity) for move in former.moves for search in move.searches}
        assert not asked & {(str(move.parameters), str(search), move.fidelity) for move in again.moves for search in move.searches}
        assert again.best.p95_us <= former.best.p95_us if former.trials and any(t.fidelity >= 1 for t in former.trials) else True

    def test_other_answers_are_other_trials(self) -> None:
        former = Run(truth="before", suggest=by_surface)
        former.to_end()
        again = Run(suggest=by_surface, trials=list(former.trials))
        move = again.step().move
        assert isinstance(move, Try)
        assert move.fidelity == RUNG

    def test_trials_by_hand_count(self) -> None:
        """A passing trial that somebody asked for is what others have to be better than."""
        run = Run(suggest=by_surface)
        run.trials = [run.world.trial(Graph("hnsw", 40, 300), breadth, 1.0) for breadth in (20, 30, 40, 60, 90)]
        run.to_end()
        assert run.best.p95_us <= min(trial.p95_us for trial in run.trials[:5] if trial.recall_low >= run.gate)


def test_an_objective_of_the_build_is_no_matter_of_breadths() -> None:
    run = Run(suggest=by_surface, weights={"buildSeconds": 1.0}, gate=0.9)
    run.to_end()
    for graph in {attempt.graph for attempt in run.attempts if attempt.fidelity >= 1}:
        passing = [t for t in run.trials if t.fidelity >= 1 and t.params["m"] == graph.m and t.recall_low >= run.gate]
        assert len({t.params["efSearch"] for t in passing if t.params["efConstruction"] == graph.construction}) <= 1


def test_a_sampler_that_repeats_itself_ends() -> None:
    run = Run(suggest=lambda space, known, seed, left: next((g for g in space.design() if g not in left), None))
    assert run.to_end().why == "nothing more in the space promises to be better"
