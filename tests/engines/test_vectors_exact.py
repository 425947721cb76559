"""Exact search: one query, by int8, and many at once give the same ids and the same scores, ties included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.errors import BuildFailed
from engines.vectors.codes import Codes, open_codes, write_codes
from engines.vectors.engine import Mask, Vectors
from engines.vectors.matrix import best_of, kth_best, nearest
from engines.vectors.nearest_many import nearest_many


def unit(rows: int, dimension: int, seed: int = 0) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((rows, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def clustered(rows: int, dimension: int, seed: int) -> Vectors:
    """With many duplicates, and more that differ in the last bits of int8."""
    random = np.random.default_rng(seed)
    centres = unit(max(rows // 20, 1), dimension, seed)
    vectors = centres[random.integers(0, len(centres), rows)] + 0.001 * random.integers(-1, 2, (rows, dimension))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths == 0, 1, lengths)).astype(np.float32)


def codes(folder: Path, vectors: Vectors) -> Codes:
    write_codes(folder / "codes", vectors, lambda done, total: None)
    return open_codes(folder / "codes", *vectors.shape)


def plain(vectors: Vectors, query: Vectors, k: int, allowed: Mask | None) -> list[int]:
    scores = np.array([np.dot(vector, query) for vector in vectors])
    ids = range(len(vectors)) if allowed is None else np.flatnonzero(allowed).tolist()
    return sorted(ids, key=lambda at: (-scores[at], at))[:k]


@settings(deadline=None, max_examples=60)
@given(
    rows=st.sampled_from([0, 1, 5, 300, 700]),
    dimension=st.sampled_from([1, 3, 16, 65]),
    k=st.sampled_from([1, 2, 10, 300, 1000]),
    share=st.sampled_from([None, 0.0, 0.03, 0.5, 1.0]),
    seed=st.integers(0, 5),
)
def test_all_ways_agree(
    tmp_path_factory: pytest.TempPathFactory, rows: int, dimension: int, k: int, share: float | None, seed: int
) -> None:
    vectors = clustered(rows, dimension, seed)
    allowed = None if share is None else np.random.default_rng(seed).random(rows) < share
    queries = np.concatenate((unit(3, dimension, seed + 1), vectors[:2]))
    coded = codes(tmp_path_factory.mktemp("codes"), vectors)
    many_ids, many_scores = nearest_many(vectors, queries, k, allowed)
    for query, ids_of_many, scores_of_many in zip(queries, many_ids, many_scores, strict=True):
        ids, scores = nearest(vectors, query, k, allowed)
        assert ids.tolist() == plain(vectors, query, k, allowed)
        for other_ids, other_scores in (coded.nearest(vectors, query, k, allowed), (ids_of_many, scores_of_many)):
            assert other_ids.tolist() == ids.tolist()
            assert other_scores.tolist() == scores.tolist()


def test_many_queries_over_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.vectors.nearest_many._SCORES", 1)
    vectors = unit(9000, 24)
    vectors[8999] = vectors[5000] = vectors[1]
    queries = np.concatenate((vectors[:1], vectors[1:2], unit(500, 24, 1)))
    ids, scores = nearest_many(vectors, queries, 4)
    assert ids.shape == scores.shape == (502, 4)
    assert ids[1, :3].tolist() == [1, 5000, 8999]
    for query, found in zip(queries, ids, strict=True):
        assert found.tolist() == nearest(vectors, query, 4)[0].tolist()


def test_int8_reads_few_rows_of_the_matrix(tmp_path: Path) -> None:
    vectors = unit(20_000, 64)
    coded = codes(tmp_path, vectors)
    far = vectors.copy()
    query = unit(1, 64, 1)[0]
    far[vectors @ query < 0.2] = np.nan  # what is not read cannot disturb
    assert coded.nearest(far, query, 10)[0].tolist() == nearest(vectors, query, 10)[0].tolist()


def test_a_zero_vector_has_codes_of_zero(tmp_path: Path) -> None:
    coded = codes(tmp_path, np.zeros((2, 3), np.float32))
    assert coded.scales.tolist() == [0, 0]
    assert coded.codes.tolist() == [[0, 0, 0]] * 2


def test_codes_of_another_size_are_refused(tmp_path: Path) -> None:
    codes(tmp_path, unit(5, 3))
    with pytest.raises(BuildFailed, match="has 55 bytes, not those of 5 codes of dimension 4"):
        open_codes(tmp_path / "codes", 5, 4)


def test_the_kth_best() -> None:
    scores = np.array([3, 1, 2], np.float32)
    assert [kth_best(scores, k) for k in (1, 2, 3, 4)] == [3, 2, -np.inf, -np.inf]


def test_gathering_goes_by_blocks() -> None:
    vectors = unit(3000, 8)
    ids = np.arange(0, 3000, 2)
    assert best_of(vectors, vectors[100], 3, ids)[0].tolist() == nearest(vectors, vectors[100], 3, np.arange(3000) % 2 == 0)[0].tolist()
