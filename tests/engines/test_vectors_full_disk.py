"""A build on a disk that is full ends as DiskFull, leaves nothing, and is whole once there is room."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pytest

from engines.embedding.chunking import Chunking
from engines.vectors import builds
from engines.vectors.builds import BuildTask, open_build
from engines.vectors.corpus import CorpusTask, make_corpus
from engines.vectors.registry import open_engine
from state.errors import DiskFull
from state.places import BucketConfig

MIB = 1 << 20
CHUNKS = 2000
RECIPES = [
    pytest.param("flat", {}, id="flat"),
    pytest.param("flat", {"precision": "int8"}, id="flat of int8"),
    pytest.param("hnsw", {"m": 16}, id="hnsw"),
    pytest.param(
        "lance", {"type": "IVF_RQ"}, id="lance", marks=pytest.mark.skipif(find_spec("lancedb") is None, reason="LanceDB is an extra")
    ),
]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 16 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a small filesystem needs the right to mount one: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(("engine", "parameters"), RECIPES)
@pytest.mark.parametrize("room", [1 * MIB, CHUNKS * 1024 + MIB // 4], ids=["for nothing", "for the vectors"])
def test_a_build_on_a_full_disk_leaves_nothing(
    small_disk: Path, tmp_path: Path, engine: str, parameters: dict[str, str], room: int
) -> None:
    if engine == "flat" and not parameters and room > MIB:
        pytest.skip("it needs no more than the vectors")
    source = BucketConfig("source", "local", str(tmp_path / "source"))
    task = CorpusTask("i", "x", {}, "s", 1, 0, ("text",), Chunking(), "builtin", source, "corpora", str(tmp_path / "work"))
    rows = pa.RecordBatch.from_pydict({"key": [f"[{at}]" for at in range(CHUNKS)], "text": [f"text {at}" for at in range(CHUNKS)]})
    corpus = make_corpus(task, [rows], lambda done, total: None)
    target = BucketConfig("small", "local", str(small_disk / "lake"))
    recipe = open_engine(engine).recipe(parameters)
    work = BuildTask(corpus, str(tmp_path / "source" / corpus.ref.key), None, engine, recipe.build, target, "builds")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(16 * MIB - room - 64 * 1024))
    with pytest.raises(DiskFull, match="disk of") as full:
        builds.run(work, lambda done, total: None)
    assert [path for path in (small_disk / "lake").rglob("*") if path.is_file() and path.suffix != ".lock"] == []
    assert full.value.bucket == "small"
    ballast.unlink()
    build = builds.run(work, lambda done, total: None)
    paths = {role: small_disk / "lake" / ref.key for role, ref in build.files.items()}
    index, table = open_build(build, paths, recipe.search)
    assert (index.size, table.size) == (CHUNKS, CHUNKS)
