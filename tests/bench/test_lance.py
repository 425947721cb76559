"""The rule by which Lance takes hnsw's place or does not, and the bisection that makes recalls equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.lance import ceiling, decided, verdict
from bench.lance_cases import ladder, least, recall, ways
from engines.vectors.flat import FlatIndex


def figures(load: float, p50: float, search: dict[str, int] | None = None) -> dict[str, Any]:
    return {"load_from_disk_seconds": load, "p50_us": p50, "search": {"ef": 10} if search is None else search}


@pytest.mark.parametrize(
    ("load", "p50", "word"),
    [
        (0.1, 100, "migrate"),
        (0.1, 105, "migrate"),
        (0.11, 100, "stay"),  # not twice as fast
        (0.1, 110, "stay"),
        (0.1, 150, "stay"),
        (0.001, 151, "close"),
        (9.0, 50, "stay"),
    ],
)
def test_the_rule(load: float, p50: float, word: str) -> None:
    ruled = verdict(figures(0.2, 100), figures(load, p50))
    assert ruled == {"verdict": word, "load_ratio": round(0.2 / load, 2), "latency_ratio": p50 / 100}


def test_what_does_not_reach_the_recall_is_closed() -> None:
    assert verdict(figures(0.2, 100), {"search": None})["verdict"] == "close"
    assert verdict({"search": None}, figures(0.1, 10))["verdict"] == "close"


@pytest.mark.parametrize(
    ("words", "word"),
    [
        ([("migrate", "close"), ("migrate", "close")], "migrate"),
        ([("migrate", "close"), ("close", "migrate")], "close"),  # no index wins at both sizes
        ([("migrate", "stay"), ("close", "stay")], "stay"),
    ],
)
def test_one_index_has_to_win_at_every_size(words: list[tuple[str, str]], word: str) -> None:
    sizes = {str(at): {"hnsw": {}, **{f"l{n}": {"rule": {"verdict": w}} for n, w in enumerate(pair)}} for at, pair in enumerate(words)}
    assert decided(sizes) == word


@pytest.mark.parametrize("from_value", [1, 2, 17, 40])
def test_the_least_value_that_reaches(from_value: int) -> None:
    asked: list[int] = []

    def reaches(value: int) -> bool:
        asked.append(value)
        return value >= from_value

    assert least(reaches, range(1, 41)) == from_value
    assert len(asked) <= 7
    assert least(lambda value: False, range(1, 41)) is None


def test_ladders_ascend_to_their_ends() -> None:
    for kind in ("hnsw", "IVF_HNSW_SQ", "IVF_PQ", "IVF_RQ"):
        for _, _, values in ways(kind):
            assert values == sorted(set(values))
    assert ladder(10, 14) == [10, 11, 12, 13, 14]
    assert ladder(300, 300) == [300]


def test_what_is_as_near_as_the_tenth_is_right() -> None:
    vectors = np.eye(20, dtype=np.float32)
    vectors[10:] = vectors[9]  # eleven that are equally near
    index = FlatIndex(vectors)
    query = vectors[9]
    assert recall(index, query[None], np.array([1], np.float32)) == 1
    assert recall(index, vectors[:1], np.array([1], np.float32)) == 0.1


def test_the_ceiling_is_by_the_largest_index() -> None:
    sizes = {"1000": {"hnsw": {"memory_mib": 9}}, "20000": {"hnsw": {"memory_mib": 20}}}
    assert ceiling(sizes, 1.0) == {"bytes_a_vector": 1049, "vectors": 1024_000}
