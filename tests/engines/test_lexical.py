"""Words: terms of texts, BM25 over them, exact under any filter, the same for what came since."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.errors import BuildFailed
from engines.lexical.bm25 import K1, ROLES, B, LexicalIndex, Statistics, open_lexical_index, write_lexical_index
from engines.lexical.tail_words import TailWords
from engines.lexical.terms import terms

TEXTS = ["java developer in chicago", "python developer in berlin", "banana bread", "apple pie, and pie again", "", "java java java"]


def paths_in(folder: Path) -> dict[str, Path]:
    folder.mkdir(exist_ok=True)
    return {role: folder / role for role in ROLES}


def built(folder: Path, texts: Sequence[str] = TEXTS) -> LexicalIndex:
    paths = paths_in(folder)
    return open_lexical_index(paths, write_lexical_index([terms(text) for text in texts], paths))


def score(query: Sequence[str], text: Sequence[str], texts: Sequence[Sequence[str]]) -> float:
    """Lucene's BM25, from its definition."""
    average, total = sum(map(len, texts)) / len(texts), 0.0
    for term in query:
        within, count = sum(term in other for other in texts), text.count(term)
        rarity = math.log(1 + (len(texts) - within + 0.5) / (within + 0.5))
        total += rarity * count / (count + K1 * (1 - B + B * len(text) / average)) if count else 0
    return total


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Java, C++ & Go!", ["java", "c", "go"]),
        ("ISO-9001 snake_case", ["iso", "9001", "snake_case"]),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("naïve Ελλάδα 東京", ["naïve", "ελλάδα", "東京"]),
        ("\n\t…", []),
    ],
)
def test_a_text_becomes_terms(text: str, found: list[str]) -> None:
    assert terms(text) == found


def test_the_chunk_with_the_rare_word_is_first(tmp_path: Path) -> None:
    index = built(tmp_path)
    ids, scores = index.search(terms("developer in Berlin"), 10)
    assert ids.tolist() == [1, 0]
    assert scores[0] > scores[1] > 0
    assert (ids.dtype, scores.dtype) == (np.int64, np.float32)
    assert [index.frequency(term) for term in ("developer", "berlin", "cobol")] == [2, 1, 0]


WORDS = st.lists(st.lists(st.sampled_from("abcdef"), max_size=8), min_size=1, max_size=12)


@given(texts=WORDS, query=st.lists(st.sampled_from("abcdefg"), max_size=4), k=st.integers(1, 5), data=st.data())
def test_scores_are_by_the_formula_in_the_corpus_and_in_a_tail(
    tmp_path_factory: pytest.TempPathFactory, texts: list[list[str]], query: list[str], k: int, data: st.DataObject
) -> None:
    paths = paths_in(tmp_path_factory.mktemp("lexical"))
    index = open_lexical_index(paths, write_lexical_index(texts, paths))
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts))), np.bool_)
    expected = {at: score(query, text, texts) for at, text in enumerate(texts) if allowed[at]}
    best = sorted((value for value in expected.values() if value), reverse=True)[:k]
    for searched in (index, TailWords(texts, index)) if index.statistics.terms else (index,):
        ids, scores = searched.search(query, k, allowed)
        assert scores == pytest.approx(best, rel=1e-4)
        assert [expected[at] for at in ids.tolist()] == pytest.approx(best, rel=1e-4)


def test_equal_scores_come_by_id(tmp_path: Path) -> None:
    index = built(tmp_path, ["same words"] * 7)
    assert index.search(["same"], 3)[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("query", [[], ["cobol"]])
def test_words_that_no_text_has_find_nothing(tmp_path: Path, query: list[str]) -> None:
    assert built(tmp_path).search(query, 3)[0].tolist() == []


@pytest.mark.parametrize("texts", [[], ["", "…"]])
def test_texts_without_words(tmp_path: Path, texts: list[str]) -> None:
    index = built(tmp_path, texts)
    assert index.statistics == Statistics(len(texts), 0)
    assert index.search(["java"], 3)[0].tolist() == []
    tail = TailWords([["java", "developer"]], index)
    assert tail.search(["java"], 3)[0].tolist() == [0]
    assert TailWords([], index).search(["java"], 3)[0].tolist() == []


def test_a_word_that_only_the_tail_has_is_found(tmp_path: Path) -> None:
    tail = TailWords([terms("a cobol developer"), terms("a developer")], built(tmp_path))
    assert tail.search(["cobol", "developer"], 5)[0].tolist() == [0, 1]


def test_equal_texts_give_equal_files(tmp_path: Path) -> None:
    built(tmp_path / "a")
    built(tmp_path / "b")
    for role in ROLES:
        assert (tmp_path / "a" / role).read_bytes() == (tmp_path / "b" / role).read_bytes()


@pytest.mark.parametrize("role", ROLES)
def test_files_that_are_cut_are_not_opened(tmp_path: Path, role: str) -> None:
    paths = paths_in(tmp_path)
    found = write_lexical_index([terms(text) for text in TEXTS], paths)
    paths[role].write_bytes(paths[role].read_bytes()[:-6])
    with pytest.raises(BuildFailed, match="keyword index"):
        open_lexical_index(paths, found)
