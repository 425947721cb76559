"""What a trial measures, of indexes whose mistakes are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.errors import BuildFailed
from engines.peak_memory import forget_peak, peak
from engines.trials import measure
from engines.trials.measure import MeasureTask
from engines.trials.truth_file import Truth, TruthFacts, halves, read_truth, write_truth
from engines.vectors.engine import Ids, Mask, Vectors
from engines.vectors.nearest_many import nearest_many
from state.catalog.indexes import Build
from state.places import BucketConfig

DIMENSION, CHUNKS, QUERIES = 16, 200, 40


def unit(rows: int, seed: int) -> Vectors:
    found = np.random.default_rng(seed).standard_normal((rows, DIMENSION)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


class Flawed:
    """An index that finds the nearest but leaves out some: `missing` of them, by query."""

    size, dimension = CHUNKS, DIMENSION

    def __init__(self, matrix: Vectors, missing: Callable[[int], set[int]]) -> None:
        self.matrix, self.missing = matrix, missing
        self.asked = count()
        self.tuned: list[Mapping[str, Any]] = []

    def search(self, query: Vectors, k: int, allowed: Mask | None = None) -> tuple[Ids, Vectors]:
        ids, scores = nearest_many(self.matrix, query[None], CHUNKS, allowed)
        left = [place for place in range(ids.shape[1]) if place not in self.missing(k)]
        return ids[0][left][:k], scores[0][left][:k]

    def tune(self, search: Mapping[str, Any]) -> None:
        self.tuned.append(search)

    def describe(self) -> Mapping[str, Any]:
        return {"memory_bytes": 7, "disk_bytes": 11}


def truth_of(matrix: Vectors, k: int = 10, filters: tuple[str | None, ...] = (None,) * QUERIES, **allowed: Mask) -> Truth:
    vectors = unit(QUERIES, 2)
    pairs = [
        nearest_many(matrix, vector[None], max(k, 10), None if name is None else allowed[name])
        for vector, name in zip(vectors, filters, strict=True)
    ]
    names = tuple(f"query {at}" for at in range(QUERIES))
    return Truth(
        TruthFacts("e", "d", "c", k, max(k, 10), CHUNKS, DIMENSION), names, filters, allowed, ((),) * QUERIES, halves(names), vectors,
        tuple(ids[0] for ids, _ in pairs), tuple(tuple(f"[{at}]" for at in ids[0].tolist()) for ids, _ in pairs),
        tuple(scores[0] for _, scores in pairs),
    )  # fmt: skip


def target(folder: Path) -> BucketConfig:
    return BucketConfig("primary", "local", str(folder / "lake"))


def measured(index: Flawed, truth: Truth) -> dict[str, Any]:
    """With a clock that ticks a millisecond each time it is asked."""
    ticks = count()
    return measure._measured(measure._Opened(index, index.matrix, truth, {}), lambda: next(ticks) / 1000)  # type: ignore[arg-type]


def test_recall_of_an_exact_index() -> None:
    matrix = unit(CHUNKS, 1)
    found = measured(Flawed(matrix, lambda k: set()), truth_of(matrix))
    assert (found["recall_at_1"], found["recall_at_10"], found["recall_by_id"], found["tail"]) == (1, 1, 1, 0)
    assert found["halves"][0] == found["halves"][1]
    assert found["hits"] == [10] * QUERIES
    assert (found["memory_bytes"], found["disk_bytes"]) == (7, 11)
    assert (found["p50_us"], found["p99_us"]) == (pytest.approx(1000), pytest.approx(1000))
    assert found["filters"] == []


def test_recall_of_one_that_misses() -> None:
    """Of ten it leaves out the first and the third: eight are right, the first never is."""
    matrix = unit(CHUNKS, 1)
    found = measured(Flawed(matrix, lambda k: {0, 2}), truth_of(matrix))
    assert (found["recall_at_1"], found["recall_at_10"], found["recall_by_id"], found["tail"]) == (0, 0.8, 0.8, 0)
    assert found["recall_low"] < 0.8 < found["recall_high"]
    assert measured(Flawed(matrix, lambda k: set(range(5))), truth_of(matrix))["tail"] == 1, "half or less is found"


def test_another_k_measures_ten_hits_as_well() -> None:
    matrix = unit(CHUNKS, 1)
    found = measured(Flawed(matrix, lambda k: {0} if k == 5 else set()), truth_of(matrix, k=5))
    assert (found["recall_at_k"], found["recall_at_10"]) == (0.8, 1)
    assert found["recall_at_k_low"] < 0.8 < found["recall_at_k_high"]
    assert found["recall_by_id_low"] < found["recall_by_id"] == 0.8 < found["recall_by_id_high"]


def test_of_many_queries_the_hits_of_some_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two trials by one eval set tell those of the same queries, however many it has."""
    matrix = unit(CHUNKS, 1)
    few = np.arange(CHUNKS) < 4
    truth = truth_of(matrix, filters=("few", None) * (QUERIES // 2), few=few)
    whole = measured(Flawed(matrix, lambda k: {0}), truth)
    assert (whole["hits"], whole["widths"]) == ([3, 9] * 20, [4, 10] * 20)
    monkeypatch.setattr(measure, "_MOST_HITS", 15)
    found, again = (measured(Flawed(matrix, lambda k: {0}), truth) for _ in range(2))
    assert len(found["hits"]) == 15
    assert {*zip(found["hits"], found["widths"], strict=True)} == {(3, 4), (9, 10)}
    assert (found["hits"], found["widths"]) == (again["hits"], again["widths"])


def test_ties_are_hits() -> None:
    """Of equal chunks any is right: by id it is another one."""
    matrix = np.tile(unit(1, 3), (CHUNKS, 1))
    found = measured(Flawed(matrix, lambda k: set(range(10))), truth_of(matrix))
    assert (found["recall_at_10"], found["recall_by_id"]) == (1, 0)


def test_filters_are_told_apart() -> None:
    matrix = unit(CHUNKS, 1)
    few, none = np.arange(CHUNKS) < 4, np.zeros(CHUNKS, bool)
    filters = ("few",) * 10 + ("none",) * 5 + (None,) * 25
    truth = truth_of(matrix, filters=filters, few=few, none=none)
    found = measured(Flawed(matrix, lambda k: {0}), truth)
    told = [(one["filter"], one["selectivity"], one["queries"], one["recall"]) for one in found["filters"]]
    low, high = ([one.get(name) for one in found["filters"]] for name in ("recall_low", "recall_high"))
    assert low[1] < 0.75 < high[1]
    assert (low[2], high[2]) == (None, None)
    assert [(one.get("recall_by_id"), one.get("tail")) for one in found["filters"]] == [(0.9, 0), (0.75, 0), (None, None)]
    assert told == [(None, 1.0, 25, 0.9), ("few", 0.02, 10, 0.75), ("none", 0.0, 5, None)]
    assert found["recall_at_10"] == pytest.approx((25 * 0.9 + 10 * 0.75) / 35), "a filter that passes nothing has no answer"


def test_a_truth_survives_its_file(tmp_path: Path) -> None:
    matrix = unit(CHUNKS, 1)
    truth = truth_of(matrix, filters=("few",) * QUERIES, few=np.arange(CHUNKS) % 3 == 0)
    write_truth(tmp_path / "t", truth)
    again = read_truth(tmp_path / "t")
    assert (again.facts, again.texts, again.filters, again.keys) == (truth.facts, truth.texts, truth.filters, truth.keys)
    np.testing.assert_array_equal(again.allowed["few"], truth.allowed["few"])
    np.testing.assert_array_equal(again.vectors, truth.vectors)
    assert [ids.tolist() for ids in again.ids] == [ids.tolist() for ids in truth.ids]
    assert [scores.tolist() for scores in again.scores] == [scores.tolist() for scores in truth.scores]


@pytest.mark.parametrize(
    ("engine", "parameters"),
    [
        ("flat", {}),
        ("hnsw", {"m": 8, "efConstruction": 40, "seed": 1}),
        pytest.param("lance", {}, marks=pytest.mark.skipif(find_spec("lancedb") is None, reason="LanceDB is an extra")),
    ],
)
def test_a_build_is_measured_with_several_searches(tmp_path: Path, engine: str, parameters: Mapping[str, Any]) -> None:
    from engines.vectors.chunk_table import write_chunk_table
    from engines.vectors.corpus_file import Facts
    from engines.vectors.registry import open_engine

    matrix = unit(CHUNKS, 1)
    write_truth(tmp_path / "truth", truth_of(matrix))
    (tmp_path / "vectors").write_bytes(matrix.tobytes())
    facts = Facts("c", "i", "d", "s", 1, ("text",), 8, 0, "builtin", "f", DIMENSION)
    list(write_chunk_table(tmp_path / "chunks", facts, []))
    names = count()

    def stage() -> Path:
        path = tmp_path / f"f{next(names)}"
        path.touch()
        return path

    parameters = open_engine(engine).recipe(parameters).build
    made = open_engine(engine).build(matrix, parameters, stage, threads=1, progress=lambda done, total: None)
    build = Build("b", None, engine, dict(parameters), "c", {}, CHUNKS, DIMENSION, 1.5, 2.5, 99)
    paths = {"vectors": str(tmp_path / "vectors"), "chunks": str(tmp_path / "chunks"), **{role: str(path) for role, path in made.items()}}
    searches = [{"efSearch": 10}, {"efSearch": 150}] if engine == "hnsw" else [{}]
    steps: list[tuple[int, int]] = []
    task = MeasureTask(str(tmp_path / "truth"), engine, parameters, searches, target(tmp_path), build, paths)
    assert MeasureTask.from_dict(task.to_dict()) == task
    found = measure.run(task, lambda done, total: steps.append((done, total)))
    assert len(found) == len(searches) == steps[-1][1]
    assert found[-1]["recall_at_10"] == 1
    assert found[0]["recall_at_10"] <= 1
    assert {(one["build_seconds"], one["build_cpu_seconds"], one["peak_bytes"]) for one in found} == {(1.5, 2.5, 99)}
    assert all(one["load_seconds"] > 0 and one["qps"] > 0 and one["concurrent"]["threads"] >= 2 for one in found)


def test_a_damaged_build_is_told(tmp_path: Path) -> None:
    matrix = unit(CHUNKS, 1)
    write_truth(tmp_path / "truth", truth_of(matrix))
    (tmp_path / "vectors").write_bytes(matrix.tobytes()[:-4])
    build = Build("b", None, "flat", {}, "c", {}, CHUNKS, DIMENSION, 1.0)
    with pytest.raises(BuildFailed, match="not those of"):
        measure.run(
            MeasureTask(str(tmp_path / "truth"), "flat", {}, [{}], target(tmp_path), build, {"vectors": str(tmp_path / "vectors")}),
            lambda done, total: None,
        )


def test_the_peak_of_memory_is_forgotten() -> None:
    held = forget_peak()
    if not held:
        pytest.skip("the kernel does not tell")
    block = np.ones(30_000_000)
    most = peak()
    assert most - held > 200_000_000
    del block
    assert forget_peak() < most
    assert peak() < most
