"""The built-in reranker compares token by token."""

from __future__ import annotations

import numpy as np
import pytest

from engines.embedding.registry import open_embedder
from engines.errors import SearchInvalid
from engines.reranking import LateInteraction, open_reranker
from engines.vectors.engine import Vectors

TOKENS = {"big": [3.0, 0, 0], "red": [0, 2.0, 0], "car": [0, 0, 4.0], "auto": [0, 3.0, 4.0]}


class Tokens:
    def token_vectors(self, text: str) -> Vectors:
        return np.array([TOKENS[word] for word in text.split()], np.float32).reshape(-1, 3)


def test_each_token_counts_by_its_best_match_and_its_length() -> None:
    scores = LateInteraction(Tokens()).scores("big car", ["car", "auto", "car big red", ""])
    assert scores == pytest.approx([4 / 7, 0.8 * 4 / 7, 1, 0])


def test_a_query_without_tokens_likes_all_the_same() -> None:
    assert LateInteraction(Tokens()).scores("", ["car", "big"]).tolist() == [0, 0]


def test_the_builtin_one_prefers_the_words_that_were_asked_for() -> None:
    scores = open_reranker("builtin").scores("java developer", ["banana bread recipe", "a java developer of many years", "developer"])
    assert scores.argsort().tolist() == [0, 2, 1]
    assert open_reranker("builtin").scores("java", ["java"]) == pytest.approx([1], abs=1e-5)


def test_its_tokens_add_up_to_the_embedding() -> None:
    embedder = open_reranker("builtin")._embedder  # type: ignore[attr-defined]
    total = embedder.token_vectors("java developer").sum(axis=0)
    assert total / np.linalg.norm(total) == pytest.approx(open_embedder().embed(["java developer"])[0], abs=1e-5)


def test_another_name_is_refused() -> None:
    with pytest.raises(SearchInvalid, match="no reranker 'cohere'"):
        open_reranker("cohere")
