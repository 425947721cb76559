"""BM25 over some chunks of a corpus gives what an index of these alone gives, whatever the others are."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from engines.lexical.bm25 import ROLES, LexicalIndex, open_lexical_index, write_lexical_index
from engines.lexical.permitted_words import PermittedWords, lengths_of
from engines.lexical.tail_words import TailWords
from engines.lexical.terms import terms
from engines.permitted import in_order

WORDS = ["java", "kafka", "nurse", "the", "Übersetzer", "straße", "XK-4711", "données", "深圳", "a_b", "n1", "rare"]


def index(folder: Path, texts: Sequence[str]) -> LexicalIndex:
    folder.mkdir(exist_ok=True)
    paths = {role: folder / role for role in ROLES}
    return open_lexical_index(paths, write_lexical_index([terms(text) for text in texts], paths))


def words(corpus: LexicalIndex, texts: Sequence[str], permitted: np.ndarray) -> PermittedWords:
    lengths = lengths_of(pa.chunked_array([pa.array(texts, pa.string())]), corpus.statistics)
    assert lengths.tolist() == [len(terms(text)) for text in texts]
    return PermittedWords(corpus, lengths, permitted, partial(in_order, None))


def made_up(seed: int, count: int = 300) -> list[str]:
    draw = random.Random(seed)
    common = [" ".join(draw.choices(WORDS[:-1], k=draw.randint(0, 40))) for _ in range(count - 1)]
    return [*common, "java " * 900]


@pytest.mark.parametrize("share", [0.02, 0.5, 1.0])
def test_scores_are_those_of_an_index_of_what_is_permitted(tmp_path: Path, share: float) -> None:
    texts = made_up(1)
    permitted = np.random.default_rng(2).random(len(texts)) < share
    permitted[-1] = share > 0.1
    places = permitted.nonzero()[0]
    alone = index(tmp_path / "alone", [texts[at] for at in places])
    found = words(index(tmp_path / "all", texts), texts, permitted)
    assert (found.statistics, found.frequency("java")) == (alone.statistics, alone.frequency("java"))
    allowed = np.random.default_rng(3).random(len(texts)) < 0.7
    for query in (["java"], ["the", "kafka", "java"], ["java", "java"], ["übersetzer", "深圳"], ["unknown"], ["rare"], []):
        for mask in (None, allowed):
            ids, scores = found.search(query, 20, mask)
            expected, wanted = alone.search(query, 20, None if mask is None else mask[places])
            assert scores == pytest.approx(wanted, rel=1e-4)
            assert sorted(ids.tolist()) == pytest.approx(sorted(places[expected].tolist())) or len(set(wanted.tolist())) < len(wanted)
    beside = [terms("java and kafka"), terms("nurse")]
    tail = TailWords(beside, found).search(["java", "nurse"], 5)
    assert tail[1] == pytest.approx(TailWords(beside, alone).search(["java", "nurse"], 5)[1], rel=1e-6)


def test_what_is_hidden_weighs_nothing(tmp_path: Path) -> None:
    seen = made_up(4, 60)
    answers = []
    for number, hidden in enumerate((["secret java " * 500] * 40, ["x"], [""] * 3)):
        texts = [text for pair in zip(seen, [*hidden, *([""] * 60)], strict=False) for text in pair]
        permitted = np.arange(len(texts)) % 2 == 0
        found = words(index(tmp_path / str(number), texts), texts, permitted)
        told = [found.search(query, 15) for query in (["java"], WORDS)]
        answers.append([([at // 2 for at in ids.tolist()], scores.tolist()) for ids, scores in told])
        assert found.search(["secret"], 5)[0].tolist() == []
    assert answers[0] == answers[1] == answers[2]


def test_nothing_permitted_and_nothing_there(tmp_path: Path) -> None:
    texts = ["java", "kafka"]
    nothing = words(index(tmp_path / "a", texts), texts, np.zeros(2, np.bool_))
    assert nothing.search(["java"], 3)[0].tolist() == []
    assert words(index(tmp_path / "b", ["", "--"]), ["", "--"], np.ones(2, np.bool_)).search(["java"], 3)[0].tolist() == []


def test_lengths_are_counted_exactly_where_the_quick_way_errs(tmp_path: Path) -> None:
    texts = ["ne\u0301e \u0345 x", "plain words"]  # marks are no part of a term for Python; folded, one of them is a letter
    corpus = index(tmp_path / "c", texts)
    assert lengths_of(pa.chunked_array([pa.array(texts)]), corpus.statistics).tolist() == [len(terms(text)) for text in texts]
