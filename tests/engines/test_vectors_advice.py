"""Which engine to take, and what it will take there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from engines.vectors.advice import MEASURED, NEAR, Prediction, advise, predict
from engines.vectors.engine import Parts
from engines.vectors.recommend import FLAT_UP_TO
from engines.vectors.registry import open_engine
from specs.parse import parse_file

GIB = 1 << 30
MIB = 1 << 20
ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results"


@pytest.mark.parametrize(
    ("vectors", "dimension", "memory", "engine"),
    [
        (1, 256, GIB, "flat"),
        (FLAT_UP_TO, 256, GIB, "flat"),
        (FLAT_UP_TO + 1, 256, GIB, "hnsw"),
        (1_000_000, 256, 2 * GIB, "hnsw"),
        (1_000_000, 256, GIB, "lance: {type: IVF_HNSW_SQ"),
        (5_000_000, 768, 8 * GIB, "lance: {type: IVF_HNSW_SQ"),
        (5_000_000, 768, 4 * GIB, "lance: {type: IVF_RQ"),
        (5_000_000, 767, 4 * GIB, "lance: {type: IVF_HNSW_SQ"),
        (100_000, 256, 0, "lance"),
    ],
)
def test_size_and_memory_decide(vectors: int, dimension: int, memory: int, engine: str) -> None:
    advice = advise(vectors, dimension, memory)
    assert advice.recipe.startswith(engine)
    assert advice.recipe in {one.recipe for one in advice.predictions}


def test_what_was_measured_is_told_as_it_was() -> None:
    for line in MEASURED:
        found = predict(line, line.vectors, line.dimension)
        assert found.measured
        assert found.query_ms == pytest.approx(line.query_ms)
        assert found.build_seconds == (None if line.build_seconds is None else pytest.approx(line.build_seconds))
        assert found.memory_bytes == pytest.approx(line.memory_bytes, rel=0.02)
        assert found.disk_bytes == pytest.approx(line.disk_bytes, rel=0.02)


def parameters(recipe: str) -> set[tuple[str, Any]]:
    """What it names."""
    [values] = yaml.safe_load(f"{{{recipe}}}").values()
    return set(values.items())


def test_every_line_is_of_a_table_or_a_result_that_is_there() -> None:
    page = (ROOT / "docs" / "vectors.md").read_text(encoding="utf-8")
    table = {cells[1].strip(" `"): cells for row in page.splitlines() if len(cells := row.split("|")) == 9}
    names = ("exact_search", "lance", "million")
    exact, lance, million = (json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")) for name in names)
    for line in MEASURED:
        if "exact_search.json" in line.source:
            assert exact["data"] == f"{line.vectors} random vectors of {line.dimension} numbers"
            assert line.query_ms == pytest.approx(exact["figures"]["float32"]["p50_us"] / 1000, rel=0.25), (
                "as far as another run may be off"
            )
            assert line.build_seconds is None
            assert line.disk_bytes == pytest.approx(4 * line.vectors * line.dimension, rel=0.01)
        elif "lance.json" in line.source:
            of_size = lance["figures"]["sizes"][f"{line.vectors}"][line.kind]
            assert parameters(line.recipe) == {**of_size["parameters"], **of_size["search"]}.items() - {("seed", 100)}
            held = of_size["disk_mib" if line.engine == "hnsw" else "memory_mib"]
            figures = (of_size["recall_at_10"], of_size["build_cpu_seconds"], of_size["p50_us"] / 1000, held * MIB)
            assert (line.recall, line.build_seconds, line.query_ms, line.memory_bytes) == pytest.approx(figures, rel=0.05)
            assert line.disk_bytes == pytest.approx(4 * line.vectors * line.dimension + of_size["disk_mib"] * MIB, rel=0.01)
        elif "million.json" in line.source:
            exact_codes = million["figures"]["ours_int8"]
            figures = (exact_codes["recall_at_10"], exact_codes["build_cpu_seconds"], exact_codes["p50_us"] / 1000)
            assert (line.recall, line.build_seconds, line.query_ms) == pytest.approx(figures, rel=0.05)
        else:
            build, recall, query, disk = (table[line.recipe][column].split()[0] for column in (2, 4, 5, 7))
            told = (f"{line.build_seconds:g}", f"{line.recall:g}", f"{line.query_ms:g}", f"{line.disk_bytes / (1 << 20):g}")
            assert told == (build, f"{float(recall):g}", f"{float(query):g}", disk)


def test_another_size_or_dimension_is_extrapolated_from_the_nearest_line() -> None:
    line = next(line for line in MEASURED if line.engine == "hnsw")
    assert predict(line, int(line.vectors * NEAR), 256).measured
    assert not predict(line, int(line.vectors * NEAR * 1.01), 256).measured
    assert not predict(line, line.vectors, 384).measured
    flat = {one.recipe: one for one in advise(110_000, 768, GIB).predictions}["flat: {}"]
    assert flat.measured
    assert "exact_search" in flat.source
    assert "exact_search" not in advise(110_000, 256, GIB).predictions[0].source


@pytest.mark.parametrize("engine", ["flat", "hnsw", "lance"])
def test_more_of_anything_never_takes_less(engine: str) -> None:
    def sizes(one: Prediction) -> tuple[float, ...]:
        return (one.build_seconds or 0.0, one.query_ms, one.memory_bytes, one.disk_bytes)

    for line in (line for line in MEASURED if line.engine == engine):
        for vectors, dimension in ((1, 1), (1000, 64), (10_000_000, 1024)):
            small = sizes(predict(line, vectors, dimension))
            for more in (predict(line, vectors * 2, dimension), predict(line, vectors, dimension * 2)):
                assert all(least <= most for least, most in zip(small, sizes(more), strict=True))


@pytest.mark.parametrize(("count", "dimension"), [(3000, 16), (2000, 100)])
def test_memory_of_a_graph_is_what_hnswlib_takes(tmp_path: Path, count: int, dimension: int) -> None:
    vectors = np.random.default_rng(1).standard_normal((count, dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    (tmp_path / "matrix").write_bytes(vectors.tobytes())
    (tmp_path / "graph").touch()
    engine = open_engine("hnsw")
    recipe = engine.recipe({"m": 32, "efConstruction": 80})
    files = engine.build(vectors, recipe.build, lambda: tmp_path / "graph", threads=1, progress=lambda done, total: None)
    index = engine.open(Parts(tmp_path / "matrix", count, dimension, files))
    line = next(line for line in MEASURED if line.engine == "hnsw")
    assert predict(line, count, dimension).memory_bytes == pytest.approx(index.describe()["memory_bytes"], rel=0.02)


def test_every_recipe_is_one_that_a_spec_may_have() -> None:
    for line in MEASURED:
        text = f"apiVersion: lakehouse/v1\nkind: IndexGeneration\nmetadata: {{name: g}}\nspec: {{index: i, {line.recipe}}}\n"
        assert parse_file("specs/x.yaml", text.encode()).errors == ()
