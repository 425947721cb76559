"""What is LanceDB's own: the files of a build, tables too small for an index, and that nothing imports it unasked."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from engines.errors import BuildFailed, EngineUnsupported
from engines.vectors.engine import Parts, Vectors
from engines.vectors.lance import LanceEngine, LanceIndex
from engines.vectors.matrix import nearest

DIMENSION = 16
with_lance = pytest.mark.skipif(find_spec("lancedb") is None, reason="LanceDB is an extra")


def unit(rows: int, seed: int = 0) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((rows, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def build(folder: Path, vectors: Vectors, **parameters: object) -> Parts:
    """Into a folder of its own; a folder for links is made beside."""
    numbers = count()
    folder.mkdir()

    def stage() -> Path:
        path = folder / str(next(numbers))
        path.touch()
        return path

    def links() -> Path:
        path = folder / f"links-{next(numbers)}"
        path.mkdir()
        return path

    matrix = stage()
    matrix.write_bytes(vectors.tobytes())
    recipe = LanceEngine().recipe(parameters)
    files = LanceEngine().build(vectors, recipe.build, stage, threads=1, progress=lambda done, total: None)
    return Parts(matrix, len(vectors), DIMENSION, files, recipe.search, links)


def opened(parts: Parts) -> LanceIndex:
    return LanceEngine().open(parts)


@with_lance
@pytest.mark.parametrize("kind", ["IVF_HNSW_SQ", "IVF_PQ", "IVF_RQ"])
@pytest.mark.parametrize(("rows", "indexed"), [(255, False), (256, True)])
def test_what_is_too_small_to_learn_from_is_compared_whole(tmp_path: Path, kind: str, rows: int, indexed: bool) -> None:
    vectors = unit(rows)
    index = opened(build(tmp_path / "a", vectors, type=kind, refineFactor=100))
    assert (index.describe()["index"] is not None) is indexed
    query = unit(1, seed=1)[0]
    ids, scores = index.search(query, 5)
    assert ids.tolist() == nearest(vectors, query, 5)[0].tolist()
    assert scores.tolist() == nearest(vectors, query, 5)[1].tolist()


@with_lance
def test_its_files_are_staged_and_no_more_is_left(tmp_path: Path) -> None:
    parts = build(tmp_path / "a", unit(300))
    assert {role.partition("/")[0] for role in parts.files} == {"vectors.lance"}
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(
        [parts.matrix.name, *(path.name for path in parts.files.values())]
    )


@with_lance
def test_lancedb_opens_the_files_in_place_under_the_names_of_their_roles(tmp_path: Path) -> None:
    import lancedb

    for role, path in build(tmp_path / "a", unit(300)).files.items():
        (tmp_path / "bucket" / role).parent.mkdir(parents=True, exist_ok=True)
        path.rename(tmp_path / "bucket" / role)
    assert lancedb.connect(tmp_path / "bucket").open_table("vectors").count_rows() == 300


@with_lance
def test_it_answers_from_its_links_when_the_files_are_removed_and_then_lets_go_of_them(tmp_path: Path) -> None:
    vectors = unit(300)
    parts = build(tmp_path / "a", vectors)
    index = opened(parts)
    for path in parts.files.values():
        path.unlink()
    assert index.search(vectors[3], 1)[0].tolist() == [3]
    (links,) = (tmp_path / "a").glob("links-*")
    del index
    assert not links.exists()


@with_lance
def test_another_filesystem_gets_symbolic_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: object, target: object) -> None:
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    vectors = unit(300)
    assert opened(build(tmp_path / "a", vectors)).search(vectors[3], 1)[0].tolist() == [3]


@with_lance
def test_a_search_that_reads_too_few_partitions_is_answered_from_the_matrix(tmp_path: Path) -> None:
    vectors = unit(600)
    index = opened(build(tmp_path / "a", vectors, type="IVF_PQ", partitions=60, nprobes=1))
    ids, _ = index.search(vectors[0], 400)
    assert ids.tolist() == nearest(vectors, vectors[0], 400)[0].tolist()


@with_lance
def test_search_parameters_are_tuned_and_need_no_build(tmp_path: Path) -> None:
    recipe = LanceEngine().recipe({"nprobes": 3, "ef": 7, "partitions": 2})
    assert recipe.build == {"type": "IVF_HNSW_SQ", "partitions": 2, "m": 16, "efConstruction": 80}
    assert recipe.search == {"nprobes": 3, "refineFactor": 10, "ef": 7}
    vectors = unit(300)
    index = opened(build(tmp_path / "a", vectors, nprobes=3, ef=7))
    assert index.describe()["search"] == {"nprobes": 3, "refineFactor": 10, "ef": 7}
    assert index.search(vectors[3], 1)[0].tolist() == [3]
    index.tune({})
    assert index.describe()["search"] == {"nprobes": 20, "refineFactor": 10}


@with_lance
@pytest.mark.parametrize(
    ("dimension", "parameters", "message"),
    [
        (12, {"type": "IVF_RQ"}, "cannot index these vectors as IVF_RQ: .*divisible by 8"),
        (16, {"partitions": 301}, "lance.partitions is 301, more than the 300 vectors"),
    ],
)
def test_what_lance_cannot_index_is_refused(tmp_path: Path, dimension: int, parameters: dict[str, object], message: str) -> None:
    vectors = np.ones((300, dimension), dtype=np.float32) / np.sqrt(dimension, dtype=np.float32)
    with pytest.raises(BuildFailed, match=message):
        build(tmp_path / "a", vectors, **parameters)


def test_without_lancedb_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(EngineUnsupported, match="not installed") as error:
        build(tmp_path / "a", unit(300))
    assert error.value.remedy == "Install it with `pip install 'lakehouse[lance]'`, or use `hnsw` or `flat`."


def test_nothing_imports_lancedb_or_numkong_before_it_is_asked_for() -> None:
    code = (
        "import sys, reconciler.daemon, engines.vectors.builds, engines.vectors.lance, engines.vectors.flat\n"
        "from engines.vectors.registry import open_engine\n"
        "open_engine('lance').recipe({}); open_engine('flat').recipe({'precision': 'int8'})\n"
        "assert not {'lancedb', 'numkong'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
