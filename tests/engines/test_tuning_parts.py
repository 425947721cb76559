"""The parts that a tuner is made of: what is predicted, weighed, sampled and judged."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import hnswlib
import numpy as np
import pytest
from harness_tuning import WIDE, World, made

from engines.trials.objective import depends_on_breadth, score
from engines.tuning.prediction import PROCESS_BYTES, Predictor, Size
from engines.tuning.promotion import judge
from engines.tuning.sampler import suggest
from engines.tuning.space import Graph, Space, between, graph_named, graph_of

P95 = {"latencyP95": 1.0}


class TestSpace:
    def test_the_design_spans_it(self) -> None:
        design = WIDE.design()
        assert len(design) == 5
        assert all(graph in WIDE for graph in design)
        assert design[0] == Graph("hnsw", 20, 80)
        assert Space(("hnsw",), (16, 16), (80, 80), (10, 400)).design() == (Graph("hnsw", 16, 80),)
        assert Space(("flat",), (8, 48), (16, 400), (10, 400)).design() == ()
        assert len(Space(("hnsw", "lance", "flat"), (8, 48), (16, 400), (10, 400)).design()) == 10

    def test_whole_numbers_between(self) -> None:
        assert [between((8, 48), share) for share in (0, 0.5, 1)] == [8, 20, 48]
        assert between((7, 7), 0.3) == 7

    def test_lance_looks_at_a_hundred_at_least(self) -> None:
        space = Space(("hnsw", "lance"), (8, 48), (16, 400), (10, 400))
        assert (space.breadths("hnsw"), space.breadths("lance")) == ((10, 400), (100, 400))
        assert Space(("lance",), (8, 48), (16, 400), (10, 50)).breadths("lance") == (50, 50)

    def test_trials_are_read_as_graphs(self) -> None:
        graph = Graph("hnsw", 16, 80)
        assert graph_of(World().trial(graph, 40, 1.0)) == (graph, 40)
        assert graph_of(made("hnsw", {**graph.parameters, "seed": 7}, {"efSearch": 40}, 1, 1)) is None, "of another seed"
        assert graph_of(made("flat", {}, {}, 1, 1)) is None
        assert graph_of(made("lance", {"type": "IVF_PQ", "m": 16, "efConstruction": 80}, {"ef": 200}, 1, 1)) is None
        lance = made("lance", {**Graph("lance", 16, 80).parameters}, {"nprobes": 20, "refineFactor": 10, "ef": 200}, 1, 1)
        assert graph_of(lance) == (Graph("lance", 16, 80), 200)
        assert graph_named("lance", Graph("lance", 16, 80).parameters) == Graph("lance", 16, 80)
        assert graph_named("flat", {}) is None


class TestPrediction:
    def test_before_anything_is_measured(self) -> None:
        """As `docs/vectors.md` measured it."""
        predictor = Predictor([], Size(101_809, 256))
        assert predictor.cpu_seconds(Graph("hnsw", 32, 80)) == pytest.approx(34)
        assert 0.05 < predictor.cpu_seconds(Graph("hnsw", 32, 80), 0.1) / 34 < 0.1

    def test_trials_of_a_share_move_it(self) -> None:
        """On a machine that is three times slower, where the breadth counts for more: within a fifth after the first rung."""
        world = World()

        def seconds(graph: Graph, fidelity: float) -> float:
            return 100 * (fidelity * math.log(100_000 * fidelity) / math.log(100_000)) * graph.construction**0.9 / 80**0.9

        trials = [
            made("hnsw", {**g.parameters, "seed": 100}, {"efSearch": 40}, 0.9, 1.0, fidelity=0.1, build_cpu_seconds=seconds(g, 0.1))
            for g in WIDE.design()
        ]
        predictor = Predictor(trials, Size(world.chunks, 256))
        for graph in (Graph("hnsw", 16, 40), Graph("hnsw", 40, 300)):
            assert predictor.cpu_seconds(graph) == pytest.approx(seconds(graph, 1.0), rel=0.25)

    def test_trials_of_former_rows_count_at_their_own_size(self) -> None:
        """A tenth as many rows, by vectors of half the length, say the same of a machine; and what tells no size says nothing."""
        graph, former, full = Graph("hnsw", 16, 80), Size(10_000, 128), Size(100_000, 256)
        seconds = 2 * Predictor([], former).cpu_seconds(graph)
        peak = 3 * (Predictor([], former).memory(graph) - PROCESS_BYTES)
        about = {"peak_bytes": peak, "chunks": former.chunks, "dimension": former.dimension}
        trial = World().trial(graph, 40, 1.0, truth="former", build_cpu_seconds=seconds, detail=about)
        predictor, plain = Predictor([trial], full), Predictor([], full)
        assert predictor.cpu_seconds(graph) / plain.cpu_seconds(graph) == pytest.approx(2, rel=0.05)
        assert (predictor.memory(graph) - PROCESS_BYTES) / (plain.memory(graph) - PROCESS_BYTES) == pytest.approx(3, rel=0.01)
        unknown = World().trial(graph, 40, 1.0, detail={**about, "chunks": None})
        assert Predictor([unknown], full).memory(graph) == plain.memory(graph)

    def test_memory_is_what_hnswlib_allocates(self) -> None:
        """What its file has, and what it keeps beside it for each element."""
        count, dimension, m = 2000, 64, 16
        graph = hnswlib.Index("ip", dimension)
        graph.init_index(count, M=m, ef_construction=40)
        graph.add_items(np.random.default_rng(1).normal(size=(count, dimension)).astype(np.float32), num_threads=1)
        predicted = Predictor([], Size(count, dimension)).memory(Graph("hnsw", m, 40)) - PROCESS_BYTES
        assert predicted == pytest.approx(graph.index_file_size() + 54 * count, rel=0.03)

    def test_a_peak_that_was_measured_scales_it(self) -> None:
        graph = Graph("hnsw", 16, 80)
        plain = Predictor([], Size(100_000, 256)).memory(graph) - PROCESS_BYTES
        seen = World().trial(graph, 40, 0.1, detail={"peak_bytes": plain // 10 * 2})
        assert Predictor([seen], Size(100_000, 256)).memory(graph) - PROCESS_BYTES == pytest.approx(2 * plain, rel=0.01)


class TestObjective:
    def test_one_measure_is_itself(self) -> None:
        trial = made("flat", {}, {}, 1.0, 120.0, memory_bytes=7, build_cpu_seconds=3.0)
        assert score(trial, P95) == pytest.approx(120)
        assert score(trial, {"memory": 2.0}) == pytest.approx(7)
        assert score(trial, {"buildSeconds": 1.0}) == pytest.approx(3)

    def test_a_tenth_of_one_counts_as_a_tenth_of_another(self) -> None:
        weights: Any = {"latencyP95": 3, "memory": 1}
        one = made("flat", {}, {}, 1.0, 100.0, memory_bytes=1000 << 20)
        assert score(made("flat", {}, {}, 1.0, 90.0, memory_bytes=1000 << 20), weights) < score(one, weights)
        assert score(made("flat", {}, {}, 1.0, 90.0, memory_bytes=1300 << 20), weights) < score(one, weights)
        assert score(made("flat", {}, {}, 1.0, 90.0, memory_bytes=1400 << 20), weights) > score(one, weights)

    def test_what_holds_nothing_of_its_own_is_no_better_by_any_factor(self) -> None:
        """As exact search, whose vectors are mapped."""
        weights: Any = {"latencyP95": 3, "memory": 1}
        exact = made("flat", {}, {}, 1.0, 3000.0, memory_bytes=0)
        assert score(made("hnsw", {}, {}, 1.0, 100.0, memory_bytes=126 << 20), weights) < score(exact, weights)
        assert score(exact, weights) == score(made("flat", {}, {}, 1.0, 3000.0, memory_bytes=1 << 20), weights)

    def test_what_was_not_measured_is_the_worst(self) -> None:
        trial = made("flat", {}, {}, 1.0, 1.0, build_cpu_seconds=None)
        assert score(trial, {"buildSeconds": 1.0}) == math.inf
        assert score(trial, {"buildSeconds": 0.0, "latencyP95": 1.0}) == pytest.approx(1)
        assert not depends_on_breadth({"memory": 1.0, "latencyP95": 0.0})
        assert depends_on_breadth(P95)


class TestSampler:
    def test_within_the_space_and_not_what_is_known(self) -> None:
        known = {graph: float(at) for at, graph in enumerate(WIDE.design())}
        found = suggest(WIDE, known, 3, frozenset(known))
        assert found in WIDE
        assert found not in known
        assert found == suggest(WIDE, known, 3, frozenset(known)), "equal knowledge, equal proposal"

    def test_towards_what_is_better(self) -> None:
        """Of a bowl, after five points: nearer to its bottom than the best of these."""

        def value(graph: Graph) -> float:
            return math.log(graph.m / 32) ** 2 + math.log(graph.construction / 150) ** 2

        known = {graph: value(graph) for graph in WIDE.design()}
        for seed in range(4):
            found = suggest(WIDE, known, seed, frozenset(known))
            assert found is not None
            known[found] = value(found)
        assert min(known.values()) < 0.5 * min(value(graph) for graph in WIDE.design())

    def test_nothing_is_left(self) -> None:
        space = Space(("hnsw",), (16, 16), (80, 80), (10, 400))
        assert suggest(space, {Graph("hnsw", 16, 80): 0.0}, 1, frozenset({Graph("hnsw", 16, 80)})) is None
        assert suggest(Space(("flat",), (8, 8), (8, 8), (8, 8)), {}, 1, frozenset()) is None

    def test_trials_of_other_spaces_are_no_matter(self) -> None:
        assert suggest(WIDE, {Graph("hnsw", 100, 2000): 0.0, Graph("lance", 16, 80): 0.0}, 1, frozenset()) in WIDE

    def test_optuna_is_imported_when_it_is_asked(self) -> None:
        code = "import sys, controllers.trial_budget.controller, reconciler.assembly; assert 'optuna' not in sys.modules"
        subprocess.run([sys.executable, "-c", code], check=True)


class TestJudgement:
    """Which trial is to serve."""

    @staticmethod
    def trial(p95: float, recall: float, hits: list[int] | None = None, **more: Any) -> Any:
        detail = {"hits": hits} if hits is not None else {}
        return made("hnsw", {"m": int(p95)}, {"efSearch": 10}, recall, p95, detail={**detail, **more})

    def test_the_cheapest_above_the_gate(self) -> None:
        fast, slow, bad = self.trial(50, 0.95), self.trial(80, 0.99), self.trial(20, 0.5)
        assert judge([bad, slow, fast], None, 0.9, P95).trial == fast
        assert judge([bad, slow, fast], self.trial(100, 0.95), 0.9, P95).trial == fast
        assert judge([bad], None, 0.9, P95) == (None, "nothing that was measured has a recall of 0.9 beyond doubt")

    @pytest.mark.parametrize(("p95", "better"), [(89, True), (90, True), (91, False), (100, False)])
    def test_by_a_tenth_at_least(self, p95: float, better: bool) -> None:
        verdict = judge([self.trial(p95, 0.95)], self.trial(100, 0.95), 0.9, P95)
        assert (verdict.trial is not None) == better
        assert verdict.why

    def test_anything_that_passes_is_better_than_what_does_not(self) -> None:
        slow = self.trial(500, 0.95)
        verdict = judge([slow, self.trial(10, 0.8)], self.trial(10, 0.8), 0.9, P95)
        assert verdict.trial == slow
        assert "below the gate" in verdict.why

    def test_both_halves_confirm_it(self) -> None:
        lucky = self.trial(20, 0.95, halves=[{"recall": 0.96, "low": 0.94}, {"recall": 0.91, "low": 0.89}])
        assert judge([lucky], None, 0.9, P95).trial is None

    def test_beside_what_serves_at_the_same_queries(self) -> None:
        """Its own interval says that it passes; what serves finds less than it should here, and the other might find much less of it."""
        serves = self.trial(100, 0.92, [6] * 20 + [10] * 80)
        worse = self.trial(50, 0.92, [10] * 80 + [6] * 20)
        verdict = judge([worse], serves, 0.9, P95)
        assert verdict.trial is None
        assert "at the same queries" in verdict.why
        alike = self.trial(51, 0.92, [6] * 20 + [10] * 80)
        assert judge([worse, alike], serves, 0.9, P95).trial == alike

    def test_of_one_build_the_narrowest_whatever_the_clock_said(self) -> None:
        narrow = self.trial(60, 0.95, [6] * 20 + [10] * 80, build="g", search={"efSearch": 40})
        broad = self.trial(50, 0.96, [6] * 20 + [10] * 80, build="g", search={"efSearch": 60})
        for incumbent in (None, self.trial(10, 0.8), self.trial(100, 0.92, [6] * 20 + [10] * 80)):
            assert judge([narrow, broad], incumbent, 0.9, P95).trial == narrow
        assert judge([narrow, broad], narrow, 0.9, P95).trial is None
        assert judge([narrow, broad], None, 0.9, {"memory": 1.0}).trial in (narrow, broad)
        neither = judge([narrow, broad], self.trial(62, 0.95, [6] * 20 + [10] * 80), 0.9, P95)
        assert neither.trial is None
        assert "a narrower search of its build" in neither.why

    def test_a_broader_one_where_the_narrower_finds_too_little_of_what_serves_finds(self) -> None:
        serves = self.trial(100, 0.92, [6] * 20 + [10] * 80)
        narrow = self.trial(40, 0.92, [10] * 80 + [6] * 20, build="g", search={"efSearch": 40})
        broad = self.trial(50, 0.96, [6] * 20 + [10] * 80, build="g", search={"efSearch": 60})
        assert judge([narrow, broad], serves, 0.9, P95).trial == broad

    def test_widths_of_filtered_queries_count(self) -> None:
        serves = self.trial(100, 0.95, [2] * 50)
        same = self.trial(50, 0.95, [2] * 50, widths=[2] * 50)
        assert judge([same], serves, 0.9, P95).trial == same

    def test_queries_without_an_answer_tell_nothing(self) -> None:
        serves, same = (self.trial(p95, 0.95, [0] * 5, widths=[0] * 5) for p95 in (100, 50))
        assert judge([same], serves, 0.9, P95).trial == same

    def test_what_costs_nothing_is_not_changed_for_what_costs_nothing(self) -> None:
        serves, other = (made("flat", {"precision": name}, {}, 1.0, 100.0, memory_bytes=0) for name in ("float32", "int8"))
        assert judge([other], serves, 0.9, {"memory": 1.0}).trial is None

    def test_what_serves_is_not_changed_for_itself(self) -> None:
        serves = self.trial(100, 0.95)
        assert judge([serves], serves, 0.9, P95).trial is None
