"""A vector of no use costs its chunk and nothing else: the chunk is told of, the others are found, and another try heals."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from engines.embedding.chunking import Chunking
from engines.embedding.registry import open_embedder
from engines.vectors import builds, corpus
from engines.vectors.builds import BuildTask, open_build
from engines.vectors.corpus import CorpusTask, make_corpus
from engines.vectors.corpus_file import read_corpus_file
from engines.vectors.soundness import embed, sound
from state.catalog.indexes import Corpus
from state.errors import FailpointError
from state.places import BucketConfig

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)


class FaultyEmbedder:
    """The built-in embedder, but for texts with one of these words."""

    def __init__(self) -> None:
        self._bare = open_embedder()
        self.name, self.fingerprint, self.dimension = self._bare.name, self._bare.fingerprint, self._bare.dimension
        self.offsets = self._bare.offsets
        self.faults = {"nanny": float("nan"), "infant": float("inf"), "hugely": 3e38, "nought": 0.0}
        self.wide = "wider"
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts.extend(texts)
        vectors = self._bare.embed(texts).copy()
        for row, text in enumerate(texts):
            for word, value in self.faults.items():
                if word in text:
                    vectors[row] = 0 if value == 0 else vectors[row]
                    vectors[row, :2] = value
        if any(self.wide in text for text in texts):
            vectors = np.pad(vectors, ((0, 0), (0, 1)))
        return vectors


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> FaultyEmbedder:
    faulty = FaultyEmbedder()
    monkeypatch.setattr(corpus, "open_embedder", lambda model: faulty)
    return faulty


@pytest.fixture
def task(tmp_path: Path) -> CorpusTask:
    target = BucketConfig("primary", "local", str(tmp_path / "lake"))
    return CorpusTask("i", "texts", {}, "s1", 1, 0, ("text",), Chunking(), "builtin", target, "corpora", str(tmp_path / "work"))


TEXTS = ["a nurse", "a nanny", "an infant", "hugely paid", "nought", "a wider river", "a baker", "a nanny"]


def make(task: CorpusTask, texts: Sequence[str]) -> Corpus:
    def batches() -> Iterator[pa.RecordBatch]:
        keys = [json.dumps([at]) for at in range(len(texts))]
        yield from pa.table({"key": keys, "text": list(texts)}).to_batches(max_chunksize=3)

    return make_corpus(task, batches(), lambda done, total: None, clock=lambda: AT)


def at(task: CorpusTask, key: str) -> Path:
    assert task.target.root is not None
    return Path(task.target.root, key)


def test_chunks_without_a_vector_of_use_are_told_of_and_the_others_are_found(task: CorpusTask, model: FaultyEmbedder) -> None:
    record = make(task, TEXTS)
    assert (record.rows, record.chunks) == (8, 2)
    assert record.aside is not None
    assert record.aside.rows == 6
    told = pq.read_table(at(task, record.aside.ref.key)).to_pylist()
    assert [(row["key"], row["rule"], row["text"]) for row in told] == [
        ("[1]", "vector: not-finite", "a nanny"),
        ("[2]", "vector: not-finite", "an infant"),
        ("[3]", "vector: not-finite", "hugely paid"),
        ("[4]", "vector: zero", "nought"),
        ("[5]", "vector: dimension", "a wider river"),
        ("[7]", "vector: not-finite", "a nanny"),
    ]
    assert {(row["dataset"], row["source"], row["line"], row["at"]) for row in told} == {
        ("texts", "Index/i", None, AT.replace(tzinfo=None))
    }
    assert told[0]["reason"].startswith("The vector of piece 0 of row [1] has a number that is not finite; the model is builtin/")
    path = str(at(task, record.ref.key))
    build = builds.run(BuildTask(record, path, None, "flat", {}, task.target, "builds"), lambda done, total: None)
    index, table = open_build(build, {role: at(task, ref.key) for role, ref in build.files.items()}, {})
    ids, _ = index.search(open_embedder().embed(["a baker"])[0], 10)
    assert [row[2] for row in table.rows(ids)] == ["a baker", "a nurse"]


def test_rows_without_text_are_counted_and_are_not_told(task: CorpusTask, model: FaultyEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "CHECKPOINT", 2)
    record = make(task, ["", "a nurse", "a nanny", "  ", "a baker", "\n"])
    assert (record.rows, record.chunks, record.aside and record.aside.rows, record.textless) == (6, 2, 1, 3)
    document = record.to_dict()
    assert Corpus.from_dict(json.loads(json.dumps(document))) == record
    del document["textless"]
    assert Corpus.from_dict(document) == replace(record, textless=0), "of before they were counted"


def test_nothing_is_told_where_nothing_is_wrong(task: CorpusTask, model: FaultyEmbedder) -> None:
    record = make(task, ["a nurse"])
    assert record.aside is None
    assert Corpus.from_dict(json.loads(json.dumps(record.to_dict()))) == record
    assert "aside" not in record.to_dict()


def test_a_corpus_of_nothing_but_faults_is_empty(task: CorpusTask, model: FaultyEmbedder) -> None:
    record = make(task, ["nanny"] * 5)
    assert (record.chunks, record.aside and record.aside.rows) == (0, 5)
    assert Corpus.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_another_corpus_tries_again_and_takes_the_rest_from_the_former(task: CorpusTask, model: FaultyEmbedder) -> None:
    first = make(task, TEXTS)
    model.faults.clear()
    model.texts.clear()
    second = make(replace(task, snapshot="s2", reuse=(str(at(task, first.ref.key)),)), TEXTS)
    assert second.aside is not None
    assert (second.chunks, second.aside.rows) == (7, 1)
    assert {"a nurse", "a baker"}.isdisjoint(model.texts)


def test_what_was_set_aside_survives_a_kill(task: CorpusTask, model: FaultyEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "CHECKPOINT", 2)

    def die(name: str) -> None:
        if name == corpus.PART_KEPT:
            raise FailpointError("killed")

    with monkeypatch.context() as failing:
        failing.setattr(corpus, "hit", die)
        with pytest.raises(FailpointError):
            make(task, TEXTS)
    record = make(task, TEXTS)
    assert (record.chunks, record.aside and record.aside.rows) == (2, 6)


def test_vectors_of_former_corpora_that_are_of_no_use_are_not_taken(
    task: CorpusTask, model: FaultyEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A corpus of before chunks were set aside may hold them."""
    with monkeypatch.context() as before:
        before.setattr("engines.vectors.chunk_maker.embed", lambda model, texts: (model.embed(texts), {}))
        former = make(task, ["a nurse", "a nanny"])
    held = np.concatenate([batch.column("vector").flatten() for batch in read_corpus_file(at(task, former.ref.key))])
    assert np.isnan(held).any()
    model.faults.clear()
    healed = make(replace(task, snapshot="s2", reuse=(str(at(task, former.ref.key)),)), ["a nurse", "a nanny"])
    assert (healed.chunks, healed.aside) == (2, None)


def test_only_texts_at_fault_are_blamed_for_an_answer_of_another_shape(model: FaultyEmbedder) -> None:
    vectors, faults = embed(model, ["a nurse", "wider", "a baker"])
    assert faults == {1: "dimension"}
    np.testing.assert_array_equal(vectors[0], open_embedder().embed(["a nurse"])[0])
    assert not vectors[1].any()


def test_rows_of_different_lengths_are_an_answer_of_another_shape(monkeypatch: pytest.MonkeyPatch, model: FaultyEmbedder) -> None:
    monkeypatch.setattr(model, "embed", lambda texts: [[1.0] * (256 + (text == "odd")) for text in texts])
    vectors, faults = embed(model, ["a", "odd", "b"])
    assert faults == {1: "dimension"}
    assert sound(vectors).tolist() == [True, False, True]
