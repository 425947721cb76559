"""The texts of the benchmarks: each once, in an order of the kinds, and none that is a query's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import corpora

DOCUMENTS = [f"The first sentence of text {n}. It says a second thing about {n}. And a third one, number {n}." for n in range(20)]


@pytest.fixture(autouse=True)
def few_documents(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(corpora, "QUERIES", 5)
    monkeypatch.setattr(corpora, "CACHE", tmp_path)
    monkeypatch.setattr(corpora, "documentation", lambda: list(DOCUMENTS))
    monkeypatch.setattr(corpora, "_licences", lambda: [DOCUMENTS[0], DOCUMENTS[19], "A paragraph of some licence, which is long enough."])
    monkeypatch.setattr(corpora, "_docstrings", list)


def test_whole_texts_come_first_then_sentences_then_runs_of_them() -> None:
    found, held_out, made_of = corpora.texts(70)
    assert held_out == DOCUMENTS[-5:]
    assert found[:16] == [*DOCUMENTS[:15], "A paragraph of some licence, which is long enough."]
    assert made_of == {
        "documentation strings of botocore": 15,
        "paragraphs of licences": 1,
        "sentences of these": 45,
        "runs of 2 sentences of these": 9,
    }
    assert found[16] == "The first sentence of text 0."
    assert found[61] == "The first sentence of text 0. It says a second thing about 0."
    assert len(set(found)) == 70
    assert not set(found) & set(held_out)


def test_more_than_there_are_is_refused_with_a_remedy() -> None:
    with pytest.raises(ValueError, match=r"There are 91 texts here, not 1000: install more by `pip install 'lakehouse\[texts\]'`"):
        corpora.texts(1000)


def test_vectors_are_made_once_and_told_what_they_are_of(monkeypatch: pytest.MonkeyPatch) -> None:
    made = corpora.vectors(16)
    assert (made.vectors.shape, made.queries.shape) == ((16, 256), (5, 256))
    assert np.allclose(np.linalg.norm(made.vectors, axis=1), 1, atol=1e-5)
    assert made.data == "16 texts: 15 documentation strings of botocore, 1 paragraphs of licences"
    monkeypatch.setattr(corpora, "texts", lambda count: 1 / 0)
    assert corpora.vectors(16).vectors.tolist() == made.vectors.tolist()


def test_what_packages_carry_to_be_refused_has_no_docstrings(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def (:")
    (tmp_path / "good.py").write_text('"""A module\'s idea.\n\nAnd more."""\n\n\ndef f():\n    """What it gives."""\n')
    assert corpora._docstrings_of(tmp_path / "bad.py") == []
    assert corpora._docstrings_of(tmp_path / "good.py") == ["A module's idea.\n\nAnd more.", "What it gives."]
