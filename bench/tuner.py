"""What the tuner finds in its time, beside an exhaustive grid, random search and plain optuna.

    python -m bench.tuner [--rows 100000] [--gate 0.97] [--minutes 10] [--trials 40] [--grid full|small]

Data as in `bench.search`, queries as an EvalSet makes them. All of them build and measure by the code of a daemon's jobs, one after the
other in this process. The grid builds every graph and measures every breadth; the tuner decides as a TrialBudget does; random search and
optuna draw links, breadth of construction and breadth of search together, and build a graph for each. What each found is built once more,
and searched in turns. A figure's CPU seconds are all that its method took: building, measuring, deciding. Needs optuna, and an hour.
"""

from __future__ import annotations

import argparse
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from bench.bars import Bar
from bench.report import Stopwatch, write
from bench.search import SEED, TARGET, K, documentation, make_corpus_of
from controllers.eval_set.measuring import Wanted, trials_from
from engines.trials import measure
from engines.trials.choice import passes
from engines.trials.measure import MeasureTask
from engines.trials.truth import Asked, TruthTask, make_truth
from engines.trials.truth_file import read_truth
from engines.tuning.facts import Attempt, Done, Facts
from engines.tuning.prediction import Size
from engines.tuning.sampler import suggest
from engines.tuning.space import Graph, Space, between, graph_named
from engines.tuning.strategy import decide
from engines.vectors import builds
from engines.vectors.builds import BuildTask, open_build
from engines.vectors.registry import open_engine
from state.catalog.indexes import Build, Corpus, EvalTruth
from state.trials import Trial

SPACE = Space(("hnsw",), (8, 48), (16, 400), (10, 400))
GRIDS = {"full": ((8, 12, 16, 24, 32, 48), (16, 32, 64, 100, 200, 400), 12), "small": ((8, 24, 48), (32, 100, 400), 6)}
"""Links, breadths of construction, and how many breadths of a search, evenly by the logarithm."""
QUERIES = 500


@dataclass
class Lab:
    """Builds and measures over one corpus. The newest build is kept, so that another search of it costs no build."""

    corpus: Corpus
    truth: EvalTruth
    trials: list[Trial] = field(default_factory=list)
    graphs: int = 0
    _build: Build | None = None

    def measure(self, graph: Graph, breadths: Sequence[int], fidelity: float = 1.0) -> list[Trial]:
        """A trial for each breadth."""
        recipes = [open_engine(graph.engine).recipe({**graph.parameters, **graph.search(breadth)}) for breadth in breadths]
        searches = tuple(recipe.search for recipe in recipes)
        build = self._built(recipes[0].build) if fidelity >= 1 else None
        wanted = Wanted("docs", self.truth, self.corpus, graph.engine, recipes[0].build, searches, "bench", build, None, fidelity)
        corpus_path = str(_path(self.corpus.ref.key)) if build is None else ""
        paths = None if build is None else {role: str(_path(ref.key)) for role, ref in build.files.items()}
        task = MeasureTask(
            str(_path(self.truth.ref.key)), graph.engine, recipes[0].build, searches, TARGET, build, paths, corpus_path, fidelity
        )
        found = trials_from(wanted, {"measured": measure.run(task, _nobody)}, None)
        self.trials += found
        return found

    def _built(self, parameters: Mapping[str, Any]) -> Build:
        if self._build is None or self._build.parameters != parameters:
            self.forget()
            task = BuildTask(self.corpus, str(_path(self.corpus.ref.key)), None, "hnsw", parameters, TARGET, "tuner")
            self._build = builds.run(task, _nobody)
            self.graphs += 1
        return self._build

    def forget(self) -> None:
        """Removes the newest build."""
        if self._build is not None:
            shutil.rmtree(_path(f"tuner/{self._build.digest}"), ignore_errors=True)
            self._build = None


def _nobody(done: int, total: int) -> None:
    return None


def _path(key: str) -> Path:
    return Path(TARGET.root or "", key)


def grid(lab: Lab, size: str) -> None:
    """Every graph, and every breadth of it."""
    links, constructions, count = GRIDS[size]
    breadths = sorted({between(SPACE.breadth, at / (count - 1)) for at in range(count)})
    for m in links:
        for construction in constructions:
            lab.measure(Graph("hnsw", m, construction), breadths)


def tuner(lab: Lab, options: argparse.Namespace) -> None:
    """As a TrialBudget decides."""
    attempts: list[Attempt] = []
    used, started = 0, time.monotonic()
    while True:
        left = options.minutes * 60 - (time.monotonic() - started)
        size = Size(lab.corpus.chunks, lab.corpus.dimension)
        facts = Facts(
            SPACE, options.gate, {"latencyP95": 1.0}, size, list(lab.trials), lab.truth.digest, list(attempts), options.trials,
            options.trials - used, left,
        )  # fmt: skip
        decision = decide(facts, suggest)
        attempts += [Attempt(refused.graph, refused.fidelity, refused.cause) for refused in decision.refused]
        if isinstance(decision.move, Done):
            print(f"tuner: {decision.move.why}", flush=True)
            return
        graph = graph_named(decision.move.engine, decision.move.parameters)
        assert graph is not None
        attempts.append(Attempt(graph, decision.move.fidelity))
        used += len(decision.move.searches)
        lab.measure(graph, [int(search["efSearch"]) for search in decision.move.searches], decision.move.fidelity)


def randomly(lab: Lab, options: argparse.Namespace) -> None:
    """Three numbers, evenly by the logarithm."""
    draw, ends = random.Random(SEED), time.monotonic() + options.minutes * 60
    for _ in range(options.trials):
        if time.monotonic() > ends:
            return
        graph = Graph("hnsw", between(SPACE.m, draw.random()), between(SPACE.construction, draw.random()))
        lab.measure(graph, [between(SPACE.breadth, draw.random())])


def plain_optuna(lab: Lab, options: argparse.Namespace) -> None:
    """Its default sampler, on the same three numbers: p95, and ten times as much for whatever fails the gate."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(trial: Any) -> float:
        graph = Graph("hnsw", trial.suggest_int("m", *SPACE.m, log=True), trial.suggest_int("c", *SPACE.construction, log=True))
        (found,) = lab.measure(graph, [trial.suggest_int("ef", *SPACE.breadth, log=True)])
        return found.p95_us * (1 if passes(found, options.gate) else 10)

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=SEED))
    study.optimize(objective, n_trials=options.trials, timeout=options.minutes * 60)


def run(corpus: Corpus, truth: EvalTruth, gate: float, work: Callable[[Lab], None]) -> tuple[dict[str, Any], Trial | None]:
    """What a method took, and the best that it found."""
    lab = Lab(corpus, truth)
    with Stopwatch() as watch:
        work(lab)
    lab.forget()
    passing = [trial for trial in lab.trials if trial.fidelity >= 1 and passes(trial, gate)]
    best = min(passing, key=lambda trial: trial.p95_us, default=None)
    told = {"cpu_seconds": round(watch.cpu, 1), "wall_seconds": round(watch.wall, 1), "trials": len(lab.trials), "graphs": lab.graphs}
    if best is not None:
        told |= {"best": dict(best.params), "recall_low": round(best.recall_low, 4), "p95_us": round(best.p95_us, 1)}
    return told | {"of_each_graph": _of_each_graph(passing)}, best


def _of_each_graph(passing: Sequence[Trial]) -> list[dict[str, Any]]:
    """What each graph that was built over everything comes to above the gate, the best first."""
    found: dict[tuple[int, int], Trial] = {}
    for trial in sorted(passing, key=lambda trial: trial.p95_us):
        found.setdefault((trial.params["m"], trial.params["efConstruction"]), trial)
    return [
        {**trial.params, "p95_us": round(trial.p95_us, 1), "build_cpu_seconds": round(trial.build_cpu_seconds or 0, 1)}
        for trial in found.values()
    ]


def compare(corpus: Corpus, truth: EvalTruth, found: Mapping[str, Trial]) -> dict[str, float]:
    """p95 of the winners in microseconds, searched in turns."""
    asked = read_truth(_path(truth.ref.key)).vectors
    opened = {}
    for name, trial in found.items():
        recipe = open_engine("hnsw").recipe(trial.params)
        task = BuildTask(corpus, str(_path(corpus.ref.key)), None, "hnsw", recipe.build, TARGET, f"tuner-{name}")
        build = builds.run(task, _nobody)
        paths = {role: _path(ref.key) for role, ref in build.files.items()}
        opened[name] = open_build(build, paths, recipe.search)[0]
    searches = [lambda vector, index=index: index.search(vector, K) for index in opened.values()]
    shortest = [np.full(len(asked), np.inf) for _ in searches]
    for number in range(5):
        for at, vector in enumerate(asked):
            for which in range(len(searches))[:: -1 if number % 2 else 1]:
                started = time.perf_counter()
                searches[which](vector)
                shortest[which][at] = min(shortest[which][at], (time.perf_counter() - started) * 1e6)
    for name in found:
        shutil.rmtree(_path(f"tuner-{name}"), ignore_errors=True)
    return {name: round(float(np.percentile(times, 95)), 1) for name, times in zip(opened, shortest, strict=True)}


def main() -> None:
    """Measure, and write bench/results/tuner.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--gate", type=float, default=0.97)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--grid", choices=GRIDS, default="full")
    options = parser.parse_args()
    corpus = make_corpus_of(documentation()[: options.rows])
    truth = make_truth(
        TruthTask("bench", corpus, str(_path(corpus.ref.key)), Asked(queries=QUERIES, seed=SEED), K, None, TARGET, "e"), _nobody
    )
    methods: dict[str, Callable[[Lab], None]] = {
        "tuner": lambda lab: tuner(lab, options),
        "grid": lambda lab: grid(lab, options.grid),
        "random": lambda lab: randomly(lab, options),
        "optuna": lambda lab: plain_optuna(lab, options),
    }
    figures: dict[str, Any] = {
        "gate": options.gate,
        "chunks": corpus.chunks,
        "limits": {"trials": options.trials, "minutes": options.minutes},
    }
    found: dict[str, Trial] = {}
    for name, work in methods.items():
        figures[name], best = run(corpus, truth, options.gate, work)
        print(name, figures[name], flush=True)
        if best is not None:
            found[name] = best
    figures["in_turns_p95_us"] = again = compare(corpus, truth, found)
    bars = []
    if {"tuner", "grid"} <= again.keys():
        share = figures["tuner"]["cpu_seconds"] / figures["grid"]["cpu_seconds"]
        bars = [
            Bar("p95 of what the tuner found, over the best of a grid", "x", again["tuner"] / again["grid"], 1.1),
            Bar("CPU of the tuner over that of the grid", "x", share, 0.1),
        ]
    data = f"{corpus.chunks} chunks of botocore's documentation strings, {truth.queries} queries made of them"
    write("tuner", figures, bars=bars, seed=SEED, data=data, threads=1)


if __name__ == "__main__":
    main()
