"""A corpus holds every chunk in order, embeds no text twice, survives a kill, and becomes a build that answers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engines.embedding.chunking import Chunking
from engines.embedding.registry import open_embedder
from engines.errors import BuildFailed, CorpusUnsound
from engines.vectors import builds, corpus, corpus_file
from engines.vectors.builds import BuildTask, build_digest, open_build
from engines.vectors.chunk_maker import ChunkMaker
from engines.vectors.corpus import CorpusTask, corpus_digest, make_corpus
from engines.vectors.corpus_file import read_corpus_file, read_facts, regrouped, text_hashes, vectors_of
from engines.vectors.embedding_cache import EmbeddingCache
from engines.vectors.engine import Vectors
from engines.vectors.vector_memory import VectorMemory
from state.buckets import Buckets
from state.catalog.indexes import Build, Corpus
from state.errors import BucketUnavailable, FailpointError, ObjectCorrupt
from state.places import BucketConfig
from state.reader import ObjectReader

ROOT = Path(__file__).parents[2]


class CountingEmbedder:
    """The built-in embedder, remembering what it was asked."""

    def __init__(self) -> None:
        self._bare = open_embedder()
        self.name, self.fingerprint, self.dimension = self._bare.name, self._bare.fingerprint, self._bare.dimension
        self.offsets = self._bare.offsets
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.texts.extend(texts)
        return self._bare.embed(texts)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> CountingEmbedder:
    counting = CountingEmbedder()
    monkeypatch.setattr(corpus, "open_embedder", lambda model: counting)
    return counting


@pytest.fixture
def task(tmp_path: Path) -> CorpusTask:
    return CorpusTask(
        index="resumes",
        dataset="candidates",
        source={},
        snapshot="s1",
        table_version=3,
        rows=0,
        text=("title", "body"),
        chunk=Chunking(32, 4),
        model="builtin",
        target=BucketConfig("primary", "local", str(tmp_path / "lake")),
        key_prefix="indexes/resumes/corpora",
        work=str(tmp_path / "work"),
    )


def rows(number: int, first: int = 0, body: str = "text of row {}") -> list[dict[str, Any]]:
    return [{"key": json.dumps([at]), "title": f"Title {at}", "body": body.format(at)} for at in range(first, first + number)]


def batches(data: Sequence[dict[str, Any]], size: int = 300) -> Iterator[pa.RecordBatch]:
    schema = pa.schema([("key", pa.string()), ("title", pa.string()), ("body", pa.string())])
    yield from pa.Table.from_pylist(list(data), schema=schema).to_batches(max_chunksize=size)


def make(task: CorpusTask, data: Sequence[dict[str, Any]]) -> Corpus:
    return make_corpus(task, batches(data), lambda done, total: None)


def stored(task: CorpusTask, record: Corpus) -> Path:
    assert task.target.root is not None
    return Path(task.target.root, record.ref.key)


def content(path: Path) -> list[dict[str, Any]]:
    return [row for batch in read_corpus_file(path) for row in batch.to_pylist()]


def test_every_row_is_cut_embedded_and_kept_in_order(task: CorpusTask) -> None:
    data = [*rows(700), {"key": '["long"]', "title": "Long", "body": "Many words here. " * 40}]
    record = make(task, data)
    found = content(stored(task, record))
    assert (record.rows, record.chunks) == (701, len(found))
    assert [row["key"] for row in found][:700] == [row["key"] for row in data][:700]
    assert found[0]["text"] == "Title 0\n\ntext of row 0"
    long = [row for row in found if row["key"] == '["long"]']
    joined = "Long\n\n" + "Many words here. " * 40
    assert [row["number"] for row in long] == list(range(len(long)))
    assert len(long) > 3
    assert all(joined[row["start"] :].startswith(row["text"]) for row in long)
    expected = open_embedder().embed([row["text"] for row in found])
    np.testing.assert_allclose(np.array([row["vector"] for row in found]), expected, atol=1e-6)
    assert [row["text_hash"] for row in found] == text_hashes([row["text"] for row in found])


def test_null_and_blank_texts_give_no_chunk(task: CorpusTask) -> None:
    data = [
        {"key": "a", "title": None, "body": None},
        {"key": "b", "title": " ", "body": "\n"},
        {"key": "c", "title": None, "body": "only"},
        {"key": "d", "title": "only", "body": None},
    ]
    record = make(task, data)
    assert (record.rows, record.chunks) == (4, 2)
    assert [(row["key"], row["text"]) for row in content(stored(task, record))] == [("c", "only"), ("d", "only")]


def test_an_empty_table_is_an_empty_corpus(task: CorpusTask) -> None:
    record = make(task, [])
    assert (record.rows, record.chunks) == (0, 0)
    assert content(stored(task, record)) == []


def test_columns_of_other_types_are_read_as_text(task: CorpusTask) -> None:
    schema = pa.schema([("key", pa.string()), ("title", pa.int64()), ("body", pa.string())])
    batch = pa.RecordBatch.from_pylist([{"key": "a", "title": 7, "body": None}], schema)
    record = make_corpus(task, [batch], lambda done, total: None)
    assert content(stored(task, record))[0]["text"] == "7"


def test_a_missing_column_is_named(task: CorpusTask) -> None:
    with pytest.raises(BuildFailed, match=r"no column `resume`, only title, body"):
        make(replace(task, text=("resume",)), rows(1))


def test_equal_texts_are_embedded_once(task: CorpusTask, model: CountingEmbedder) -> None:
    data = [{"key": str(at), "title": None, "body": f"text {at % 7}"} for at in range(3000)]
    record = make(task, data)
    assert sorted(model.texts) == sorted(f"text {number}" for number in range(7))
    found = content(stored(task, record))
    np.testing.assert_array_equal(found[0]["vector"], found[2996]["vector"])


def test_only_new_texts_are_embedded_on_top_of_former_corpora(task: CorpusTask, model: CountingEmbedder) -> None:
    first = make(task, rows(500))
    model.texts.clear()
    changed = rows(500)
    changed[250]["body"] = "something else"
    reuse = replace(task, snapshot="s2", reuse=(str(stored(task, first)),))
    second = make(reuse, [*changed, *rows(2, first=500)])
    assert model.texts == ["Title 250\n\nsomething else", "Title 500\n\ntext of row 500", "Title 501\n\ntext of row 501"]
    found = content(stored(task, second))
    expected = open_embedder().embed([row["text"] for row in found])
    np.testing.assert_allclose(np.array([row["vector"] for row in found]), expected, atol=1e-6)


def test_vectors_of_another_model_are_never_taken(task: CorpusTask, model: CountingEmbedder) -> None:
    first = make(task, rows(10))
    model.texts.clear()
    model.fingerprint = "another"
    second = make(replace(task, reuse=(str(stored(task, first)),)), rows(10))
    assert len(model.texts) == 10
    assert second.digest != first.digest


def test_a_killed_job_goes_on_where_it_was(task: CorpusTask, model: CountingEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "CHECKPOINT", 500)
    undisturbed = content(stored(task, make(task, rows(2000))))
    model.texts.clear()
    parts = 0

    def die(name: str) -> None:
        nonlocal parts
        parts += name == corpus.PART_KEPT
        if parts == 2:
            raise FailpointError("killed")

    reports: list[tuple[int, int]] = []
    with monkeypatch.context() as failing:
        failing.setattr(corpus, "hit", die)
        with pytest.raises(FailpointError):
            make(task, rows(2000))
    embedded = len(model.texts)
    record = make_corpus(replace(task, rows=2000), batches(rows(2000), 77), lambda *report: reports.append(report))
    assert 0 < embedded < 2000
    assert len(model.texts) == 2000
    assert reports[0] == (embedded, 2000)
    assert reports[-1] == (2000, 2000)
    assert content(stored(task, record)) == undisturbed
    assert not Path(task.work).exists()


@pytest.mark.parametrize("limit", [1 << 20, 0])
def test_what_a_killed_job_had_embedded_is_known_to_every_index(
    task: CorpusTask, model: CountingEmbedder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: int
) -> None:
    monkeypatch.setattr(corpus, "CHECKPOINT", 500)
    task = replace(task, cache=EmbeddingCache(tmp_path / "embeddings", limit * 64))
    makers: list[ChunkMaker] = []

    def die(name: str) -> None:
        if name == corpus.PART_KEPT and len(list(Path(task.work).glob("*/*.part"))) == 3:
            raise FailpointError("killed")

    class Watched(ChunkMaker):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            makers.append(self)

    with monkeypatch.context() as failing:
        failing.setattr(corpus, "hit", die)
        failing.setattr(corpus, "ChunkMaker", Watched)
        with pytest.raises(FailpointError):
            make(task, rows(2000))
    embedded = len(model.texts)
    assert 1000 < embedded < 2000
    assert list(makers[0].fresh()) == [], "nothing that has a part is held any more"
    assert task.cache.stats().entries == (embedded if limit else 0)
    make(task, rows(2000))
    assert len(model.texts) == 2000
    told = task.cache.stats()
    assert (told.entries, told.hits, told.misses) == ((2000, 0, 2000) if limit else (0, 0, 0))
    make(replace(task, index="another", work=str(tmp_path / "another")), rows(2000))
    assert len(model.texts) == (2000 if limit else 4000)


_KILLED = """
import os, signal, sys
import pyarrow as pa
from engines.vectors import corpus

corpus.CHECKPOINT = 500
parts = 0

def die(name):
    global parts
    parts += name == corpus.PART_KEPT
    if parts == 2:
        os.kill(os.getpid(), signal.SIGKILL)

corpus.hit = die
task = corpus.CorpusTask.from_dict(__import__("json").loads(sys.argv[1]))
with pa.ipc.open_file(sys.argv[2]) as rows:
    corpus.make_corpus(task, [rows.get_batch(at) for at in range(rows.num_record_batches)], lambda done, total: None)
"""


def test_a_process_that_is_killed_leaves_what_it_has_finished(task: CorpusTask, model: CountingEmbedder, tmp_path: Path) -> None:
    given = tmp_path / "rows.arrow"
    data = rows(2000)
    with pa.ipc.new_file(str(given), next(batches(data)).schema) as writer:
        for batch in batches(data):
            writer.write_batch(batch)
    ended = subprocess.run((sys.executable, "-c", _KILLED, json.dumps(task.to_dict()), str(given)), cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    record = make(task, data)
    assert 0 < len(model.texts) <= 1000
    assert (record.rows, record.chunks) == (2000, 2000)
    assert not Path(task.work).exists()


def test_parts_of_other_inputs_and_torn_parts_are_not_taken(task: CorpusTask) -> None:
    work = Path(task.work)
    (work / "other").mkdir(parents=True)
    (work / "other" / "000000000000-000000000100.part").write_bytes(b"")
    own = work / corpus_digest("candidates", "s1", task.text, task.chunk, open_embedder().fingerprint)
    own.mkdir()
    (own / "000000000000-000000000100.tmp").write_bytes(b"torn")
    record = make(task, rows(5))
    assert record.rows == 5
    assert not work.exists()


def test_a_table_that_changes_while_it_is_embedded_loses_nothing(
    task: CorpusTask, model: CountingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "CHECKPOINT", 500)

    def die(name: str) -> None:
        if name == corpus.PART_KEPT:
            raise FailpointError("killed")

    with monkeypatch.context() as failing:
        failing.setattr(corpus, "hit", die)
        for snapshot in ("s1", "s2"):
            with pytest.raises(FailpointError):
                make(replace(task, snapshot=snapshot), rows(2000))
        embedded = len(model.texts)
    grown = [*rows(1, first=9000), *rows(2000)]
    record = make(replace(task, snapshot="s3"), grown)
    assert embedded < 1000, "the second run takes what the first has done"
    assert len(model.texts) == 2001
    assert record.rows == 2001
    model.fingerprint = "another"
    with monkeypatch.context() as failing:
        failing.setattr(corpus, "hit", die)
        with pytest.raises(FailpointError):
            make(replace(task, snapshot="s4"), rows(2000))
    model.fingerprint = "a third"
    model.texts.clear()
    make(replace(task, snapshot="s4"), rows(2000))
    assert len(model.texts) == 2000, "vectors of another model are not taken"


def test_a_corpus_says_what_it_is(task: CorpusTask) -> None:
    record = make(task, rows(3))
    facts = read_facts(stored(task, record))
    assert (
        facts.digest == record.digest == corpus_digest("candidates", "s1", ("title", "body"), Chunking(32, 4), open_embedder().fingerprint)
    )
    assert (facts.index, facts.dataset, facts.snapshot, facts.table_version) == ("resumes", "candidates", "s1", 3)
    assert (facts.model, facts.fingerprint, facts.dimension) == ("builtin", record.fingerprint, record.dimension)
    assert record.ref.key == f"indexes/resumes/corpora/{record.digest}.parquet"
    metadata = pq.read_metadata(stored(task, record))
    assert metadata.num_rows == 3


def test_what_is_no_corpus_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    for name in ("other", "torn"):
        with pytest.raises(BuildFailed, match="no corpus"):
            read_facts(tmp_path / f"{name}.parquet")


def test_the_digest_depends_on_every_input() -> None:
    base = ("d", "s", ("a", "b"), Chunking(32, 4), "f")
    others = [
        ("e", *base[1:]),
        ("d", "t", *base[2:]),
        ("d", "s", ("b", "a"), *base[3:]),
        (*base[:3], Chunking(32, 5), "f"),
        (*base[:4], "g"),
    ]
    assert len({corpus_digest(*inputs) for inputs in [base, *others]}) == 6


def test_tasks_travel_as_json(task: CorpusTask) -> None:
    assert CorpusTask.from_dict(json.loads(json.dumps(task.to_dict()))) == task
    build = BuildTask(make(task, rows(1)), "/corpus", "g1", "hnsw", {"m": 8}, task.target, "indexes/resumes/builds", 2)
    assert BuildTask.from_dict(json.loads(json.dumps(build.to_dict()))) == build


def test_an_unwritable_bucket_is_an_error_of_ours(task: CorpusTask, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BucketUnavailable):
        make(replace(task, work=str(tmp_path / "work"), target=BucketConfig("primary", "local", "/proc/none")), rows(1))


with_lance = pytest.mark.skipif(find_spec("lancedb") is None, reason="LanceDB is an extra")
RECIPES = [("flat", {}), ("flat", {"precision": "int8"}), ("hnsw", {"m": 8}), pytest.param("lance", {}, marks=with_lance)]
OWN_FILES = {"vectors", "chunks", "graph", "codes"}


@pytest.mark.parametrize(("engine", "parameters"), RECIPES)
def test_a_build_answers_from_its_files(task: CorpusTask, engine: str, parameters: dict[str, object]) -> None:
    record = make(task, rows(400))
    reports: list[tuple[int, int]] = []
    work = BuildTask(record, str(stored(task, record)), "g1", engine, parameters, task.target, "indexes/resumes/builds")
    build = builds.run(work, lambda *report: reports.append(report), clock=iter([1.0, 3.5]).__next__)
    assert build.digest == build_digest(engine, parameters, record.digest)
    assert (build.count, build.dimension, build.seconds, build.generation) == (400, 256, 2.5, "g1")
    assert reports[-1] == (400, 400)
    root = Path(task.target.root or "")
    own = {"hnsw": {"graph"}, "flat": {"codes"} if parameters else set()}
    assert set(build.files) & OWN_FILES == {"vectors", "chunks"} | own.get(engine, set())
    assert {role.partition("/")[0] for role in build.files.keys() - OWN_FILES} == ({"vectors.lance"} if engine == "lance" else set())
    assert build.files["vectors"].key == f"indexes/resumes/builds/{build.digest}/vectors.f32"
    assert all((root / ref.key).stat().st_size == ref.size for ref in build.files.values())
    assert [path for path in root.rglob("*") if path.is_file() and ".tmp" in path.parts and path.suffix != ".lock"] == []
    index, table = open_build(build, {role: root / ref.key for role, ref in build.files.items()}, {})
    query = open_embedder().embed(["Title 123\n\ntext of row 123"])[0]
    ids, scores = index.search(query, 3)
    assert table.rows(ids)[0] == ("[123]", 0, "Title 123\n\ntext of row 123")
    assert scores[0] == pytest.approx(1, abs=1e-6)
    assert table.facts == read_facts(stored(task, record))


@pytest.mark.parametrize(("engine", "parameters"), RECIPES)
def test_an_empty_corpus_is_an_empty_build(task: CorpusTask, engine: str, parameters: dict[str, object]) -> None:
    record = make(task, [])
    build = builds.run(BuildTask(record, str(stored(task, record)), None, engine, parameters, task.target, "b"), lambda done, total: None)
    root = Path(task.target.root or "")
    index, table = open_build(build, {role: root / ref.key for role, ref in build.files.items()}, {})
    ids, scores = index.search(np.zeros(256, dtype=np.float32), 10)
    assert (len(ids), len(scores), table.size) == (0, 0, 0)
    assert table.of_rows(pa.array(["x"])).tolist() == []


@pytest.mark.parametrize(("engine", "parameters"), RECIPES)
@pytest.mark.parametrize("backend", ["local", "memory"])
def test_damage_is_found_by_checksum_before_it_serves_and_a_build_again_is_whole(
    task: CorpusTask, tmp_path: Path, engine: str, parameters: dict[str, object], backend: str
) -> None:
    """One changed byte in any file; `memory` stands for what is far away, and comes through the cache."""
    record = make(task, rows(300))
    buckets = Buckets()
    store = buckets.attach(BucketConfig("b", "local", str(tmp_path / "b")) if backend == "local" else BucketConfig("b", "memory"))
    objects = ObjectReader(buckets, tmp_path / "cache", 10**9)
    work = BuildTask(record, str(stored(task, record)), None, engine, parameters, buckets.configs()["b"], "builds")

    def answer(build: Build) -> list[int]:
        paths = {role: objects.path(ref) for role, ref in build.files.items()}
        return open_build(build, paths, {}, objects.folder)[0].search(query, 3)[0].tolist()

    query = open_embedder().embed(["Title 123\n\ntext of row 123"])[0]
    build = builds.run(work, lambda done, total: None, store=store)
    assert answer(build)[0] == 123
    for number, ref in enumerate(build.files.values()):
        kept = store.get(ref.key)
        changed = bytearray(kept)
        changed[len(changed) // 2] ^= 1
        store.put(ref.key, bytes(changed))
        another = ObjectReader(buckets, tmp_path / f"another-{number}", 10**9)
        with pytest.raises(ObjectCorrupt):
            another.path(ref)
        assert another.whole(ref) is (backend == "memory"), "what lies here is known to be damaged from now on"
        store.put(ref.key, kept)
    again = builds.run(work, lambda done, total: None, store=store)
    assert answer(again)[0] == 123


def test_chunks_are_found_across_batches_by_id_and_by_row(task: CorpusTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_file, "ROW_GROUP", 64)
    monkeypatch.setattr("engines.vectors.chunk_table.BATCH", 64)
    record = make(task, rows(300))
    build = builds.run(BuildTask(record, str(stored(task, record)), None, "flat", {}, task.target, "b"), lambda done, total: None)
    root = Path(task.target.root or "")
    _, table = open_build(build, {role: root / ref.key for role, ref in build.files.items()}, {})
    assert [row[0] for row in table.rows(np.array([0, 63, 64, 299]))] == ["[0]", "[63]", "[64]", "[299]"]
    assert np.flatnonzero(table.of_rows(pa.array(["[70]", "[299]", "[1000]"]))).tolist() == [70, 299]


def test_a_vector_that_is_not_finite_stops_the_build(task: CorpusTask, model: CountingEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A corpus of before such chunks were set aside may hold one."""
    nan = np.full((2, 256), np.nan, dtype=np.float32)
    monkeypatch.setattr("engines.vectors.chunk_maker.embed", lambda model, texts: (nan, {}))
    record = make(task, rows(2))
    with pytest.raises(CorpusUnsound, match="chunk 0"):
        builds.run(BuildTask(record, str(stored(task, record)), None, "flat", {}, task.target, "b"), lambda done, total: None)


def test_memory_finds_what_it_was_given_through_merges(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    hashes = [random.bytes(16) for _ in range(3000)]
    vectors = random.standard_normal((3000, 4)).astype(np.float32)
    with VectorMemory(tmp_path / "known", 4) as memory:
        assert memory.find(hashes[:3]).tolist() == [-1, -1, -1]
        for start in range(0, 3000, 100):
            memory.add(hashes[start : start + 100], vectors[start : start + 100])
            known = memory.find(hashes)
            assert (known[: start + 100] >= 0).all()
            assert (known[start + 100 :] == -1).all()
        np.testing.assert_array_equal(memory.take(memory.find(hashes)), vectors)
    assert not (tmp_path / "known").exists()


def test_regrouping_keeps_every_row() -> None:
    source = [pa.RecordBatch.from_pydict({"a": list(range(start, start + 7))}) for start in range(0, 70, 7)]
    groups = list(regrouped(source, 16))
    assert [len(group) for group in groups] == [16, 16, 16, 16, 6]
    assert [value for group in groups for value in group.column("a").to_pylist()] == list(range(70))


def test_vectors_are_read_without_a_copy(task: CorpusTask) -> None:
    record = make(task, rows(3))
    batch = next(iter(read_corpus_file(stored(task, record))))
    assert vectors_of(batch).ctypes.data == batch.column("vector").flatten().buffers()[1].address
