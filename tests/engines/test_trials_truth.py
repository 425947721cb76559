"""An eval set's truth against a search by hand, and the queries that are made of texts."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from engines.embedding.chunking import By, Chunking
from engines.embedding.registry import open_embedder
from engines.errors import BuildFailed, FileChanged, FileRefused
from engines.trials import truth as making
from engines.trials.perturbing import Source, chosen, normal, perturbed, place
from engines.trials.truth import SAME, Asked, TruthTask, make_truth
from engines.trials.truth_file import Truth, halves, read_truth
from engines.vectors.corpus import CorpusTask, make_corpus
from engines.vectors.corpus_file import read_corpus_file, vectors_of
from state.catalog.indexes import Corpus, EvalTruth
from state.digest_file import sha256_bytes
from state.places import BucketConfig

_TEXT = """java python nurse chef warehouse driver welder teacher lawyer cloud kubernetes hospital pastry forklift night shift senior
    junior remote chicago berlin lagos osaka lima contract finance audit sales marketing robotics battery solar wind garden bakery
    school"""
WORDS = _TEXT.split()
Made = Callable[..., tuple[EvalTruth, Truth]]


def nothing(done: int, total: int) -> None:
    return None


def texts(count: int, seed: int = 1) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.sample(WORDS, 14)) for _ in range(count)]


@pytest.fixture
def lake(tmp_path: Path) -> BucketConfig:
    return BucketConfig("primary", "local", str(tmp_path / "lake"))


def corpus_of(found: Sequence[str], lake: BucketConfig, tmp_path: Path, by: By = "tokens") -> tuple[Corpus, Path]:
    task = CorpusTask(
        index="i", dataset="d", source={}, snapshot="s1", table_version=1, rows=len(found), text=("text",), chunk=Chunking(64, 8, by),
        model="builtin", target=lake, key_prefix="indexes/i/corpora", work=str(tmp_path / "work"),
    )  # fmt: skip
    batch = pa.RecordBatch.from_pylist([{"key": json.dumps([at]), "text": text} for at, text in enumerate(found)])
    record = make_corpus(task, [batch], nothing)
    assert lake.root is not None
    return record, Path(lake.root, record.ref.key)


@pytest.fixture
def made(lake: BucketConfig, tmp_path: Path) -> Made:
    """The truth of these texts, by a generated eval set unless queries are given as lines."""

    def make(
        found: Sequence[str], lines: Sequence[dict[str, Any]] | None = None, k: int = 10, by: By = "tokens", **asked: int
    ) -> tuple[EvalTruth, Truth]:
        record, path = corpus_of(found, lake, tmp_path, by)
        if lines is None:
            given = Asked(queries=asked.get("queries", 30), seed=asked.get("seed", 7))
        else:
            content = "".join(json.dumps(line) + "\n" for line in lines).encode()
            (tmp_path / "q.jsonl").write_bytes(content)
            given = Asked(str(tmp_path / "q.jsonl"), "evals/q.jsonl", sha256_bytes(content))
        task = TruthTask("e", record, str(path), given, k, None, lake, "indexes/i/evals")
        assert TruthTask.from_dict(json.loads(json.dumps(task.to_dict()))) == task
        kept = make_truth(task, nothing)
        assert lake.root is not None
        return kept, read_truth(Path(lake.root, kept.ref.key))

    return make


def vectors(lake: BucketConfig) -> np.ndarray:
    assert lake.root is not None
    (path,) = Path(lake.root, "indexes/i/corpora").iterdir()
    return np.concatenate([vectors_of(batch) for batch in read_corpus_file(path)])


class TestAnswers:
    @pytest.mark.parametrize("k", [3, 10, 25])
    def test_are_those_of_a_search_by_hand(self, made: Made, lake: BucketConfig, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("engines.vectors.corpus_file.ROW_GROUP", 70)  # several blocks
        kept, truth = made(texts(300), k=k)
        matrix, width = vectors(lake), max(k, 10)
        assert (kept.k, truth.facts.width, truth.facts.chunks) == (k, width, 300)
        for vector, ids, scores, keys in zip(truth.vectors, truth.ids, truth.scores, truth.keys, strict=True):
            exact = np.vecdot(matrix, vector)
            assert ids.tolist() == sorted(range(300), key=lambda at: (-exact[at], at))[:width]
            np.testing.assert_array_equal(scores, exact[ids])
            assert keys == tuple(json.dumps([at]) for at in ids.tolist())

    def test_equal_texts_are_tied_and_in_order(self, made: Made) -> None:
        _, truth = made([*texts(40), *["night nurse in a hospital of berlin"] * 20], [{"text": "a nurse at night"}], k=10)
        assert truth.ids[0].tolist() == list(range(40, 50))
        assert len({float(score) for score in truth.scores[0]}) == 1

    def test_vectors_are_the_models_own(self, made: Made) -> None:
        _, truth = made(texts(50), [{"text": "a nurse"}, {"text": "cloud work"}])
        np.testing.assert_allclose(truth.vectors, open_embedder().embed(["a nurse", "cloud work"]), atol=1e-6)
        assert sorted(truth.half.tolist()) == [0, 1]

    def test_a_file_that_changed_meanwhile(self, made: Made, lake: BucketConfig, tmp_path: Path) -> None:
        made(texts(20), [{"text": "a nurse"}])
        record, path = corpus_of(texts(20), lake, tmp_path)
        task = TruthTask("e", record, str(path), Asked(str(tmp_path / "q.jsonl"), "q.jsonl", "other"), 5, None, lake, "indexes/i/evals")
        with pytest.raises(FileChanged):
            make_truth(task, nothing)

    @pytest.mark.parametrize(("value", "fault"), [(0.0, "knows no word"), (np.nan, "not finite")])
    def test_a_text_that_the_model_has_no_vector_of_use_for(
        self, made: Made, monkeypatch: pytest.MonkeyPatch, value: float, fault: str
    ) -> None:
        bare = open_embedder()

        class Deaf:
            name, fingerprint, dimension, offsets = bare.name, bare.fingerprint, bare.dimension, bare.offsets

            def embed(self, texts: Sequence[str]) -> np.ndarray:
                return bare.embed(texts) * np.array([[value if text == "hm" else 1.0] for text in texts], np.float32)

        monkeypatch.setattr(making, "open_asker", lambda model: Deaf())
        with pytest.raises(FileRefused, match=rf"evals/q.jsonl:2: .*{fault}") as raised:
            made(texts(20), [{"text": "a nurse"}, {"text": "hm"}])
        assert raised.value.line == 2

    def test_a_text_below_its_headings_has_leaked_as_well(self, made: Made) -> None:
        given = [*texts(20), "# Wards\n\nnight nurse in a hospital"]
        with pytest.raises(FileRefused, match=r"evals/q.jsonl:1: .*text of the dataset itself"):
            made(given, [{"text": "Night nurse in a hospital"}])

    @pytest.mark.parametrize("at", [0, 20])
    def test_a_row_of_several_chunks_has_leaked_as_well(self, made: Made, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("engines.vectors.corpus_file.ROW_GROUP", 7)  # a row is in two of them
        long = "\n  " + ".\n\n  ".join(texts(20, seed=3))
        rows = [*texts(at), long, *texts(20, seed=2)]
        with pytest.raises(FileRefused, match=r"evals/q.jsonl:2: .*text of the dataset itself"):
            made(rows, [{"text": "a nurse"}, {"text": long.upper().replace("\n", " ")}])
        _, truth = made(rows, [{"text": "a nurse"}, {"text": long + " and more"}, {"text": long[:-7]}])
        assert len(truth.texts) == 3

    def test_a_document_that_was_cut_by_its_structure_has_leaked_as_well(self, made: Made) -> None:
        one, two, three, four = (".\n\n".join(texts(9, seed=seed)) for seed in range(4))
        guide = f"# Guide\n\n{one}\n\n## Install\n\n{two}\n\n# Reference\n## Of all\n\n{three}\n\n## Last\n### Of them\n\n{four}\n"
        rows = [*texts(20, seed=8), f"before\n\n{guide}", guide]
        for leaked in (guide.upper(), f"before {guide}"):
            with pytest.raises(FileRefused, match=r"evals/q.jsonl:2: .*text of the dataset itself"):
                made(rows, [{"text": "a nurse"}, {"text": leaked}], by="structure")
        _, truth = made(rows, [{"text": "a nurse"}, {"text": guide[:-7]}, {"text": guide.replace("# Last", "# First")}], by="structure")
        assert len(truth.texts) == 3

    def test_a_file_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(b"PAR1")
        with pytest.raises(BuildFailed, match="cannot be read as the answers"):
            read_truth(tmp_path / "x")


class TestMadeQueries:
    def test_never_are_the_texts(self, made: Made, lake: BucketConfig) -> None:
        """Neither by their words nor by their vectors."""
        found = [*texts(200), "nurse", "pastry chef", "42", "java java"]
        kept, truth = made(found, queries=150)
        assert kept.queries == 150
        assert not {normal(text) for text in found} & {normal(text) for text in truth.texts}
        assert max(scores[0] for scores in truth.scores) < SAME
        assert np.max(truth.vectors @ vectors(lake).T) < SAME

    def test_still_find_where_they_come_from(self, made: Made) -> None:
        """They are questions about the texts, not noise: most find their own among ten."""
        found = texts(400)
        _, truth = made(found, queries=100)
        own = {perturbed(text, 7): at for at, text in enumerate(found)}
        assert np.mean([own[text] in ids for text, ids in zip(truth.texts, truth.ids, strict=True)]) > 0.9

    def test_depend_on_the_seed_alone(self, made: Made) -> None:
        first, again, other = (made(texts(100), seed=seed)[1] for seed in (7, 7, 8))
        assert first.texts == again.texts
        assert set(first.texts) != set(other.texts)

    def test_mostly_stay_while_the_corpus_grows(self) -> None:
        def keys(count: int) -> set[int]:
            return {source.id for source in chosen((Source(place(7, json.dumps([at]), 0), at, "") for at in range(count)), 100)}

        assert len(keys(10_000) & keys(11_000)) > 80

    def test_fewer_than_asked_for(self, made: Made) -> None:
        kept, _ = made(texts(12), queries=500, k=5)
        assert 0 < kept.queries <= 12

    def test_of_nothing(self, made: Made) -> None:
        with pytest.raises(FileRefused, match="none of the texts"):
            made(["42", "43"], k=1)

    @pytest.mark.parametrize("text", ["nurse", "pastry chef", "one two three four five", " ".join(texts(5)), "Ünïcödé wörds ärë fïne"])
    def test_are_changed(self, text: str) -> None:
        for seed in range(50):
            query = perturbed(text, seed)
            assert query is not None
            assert normal(query) != normal(text)
            assert len(query) <= len(text) + len(text.split())
        assert perturbed("12 34", 1) is None


def test_halves_are_equal_and_stay() -> None:
    names = texts(101)
    half = halves(names)
    assert half.sum() == 50
    assert dict(zip(names, half, strict=True)) == dict(zip(names[::-1], halves(names[::-1]), strict=True))


def test_the_name_follows_what_is_asked(lake: BucketConfig) -> None:
    corpus = Corpus("c", None, 1, 1, "s", 1, "f", 2)  # type: ignore[arg-type]
    task = TruthTask("e", corpus, "", Asked(queries=3, seed=1), 10, None, lake, "p")
    others = (
        replace(task, eval_set="f"),
        replace(task, k=5),
        replace(task, corpus=replace(corpus, digest="d")),
        replace(task, asked=Asked(queries=3, seed=2)),
        replace(task, asked=Asked("p", "s", "digest")),
    )
    assert len({one.digest for one in (task, *others)}) == 6
    assert replace(task, asked=Asked("p", "s", "digest")).digest == replace(task, asked=Asked("q", "t", "digest")).digest
