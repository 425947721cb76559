"""What `lance.py` measures of one index over real vectors. Each function here is meant for a process of its own, where nothing else is.

An index is built once and kept beside the vectors (`corpora.py`); its engine is asked through our own protocol, as the daemon asks it, so
that lance's candidates are compared with the matrix and both engines give cosines.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import tempfile
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import count as numbers
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import pyarrow as pa

from bench.corpora import CACHE, matrix_file, vectors
from bench.report import Stopwatch
from bench.search import K
from engines.peak_memory import forget_peak, peak
from engines.trials.measure import TIE
from engines.vectors.engine import Parts, VectorIndex, Vectors
from engines.vectors.matrix import open_matrix
from engines.vectors.nearest_many import nearest_many
from engines.vectors.registry import open_engine
from specs.digests import digest

TARGET = 0.97
TIMED = 200
ROUNDS = 5
APPENDED = 1000
DIMENSION = 256


@dataclass(frozen=True, slots=True)
class Case:
    """An index of `count` real vectors. parameters: as an IndexGeneration has them."""

    engine: str
    count: int
    parameters: Mapping[str, Any]

    @property
    def name(self) -> str:
        """As the table has it."""
        return f"{self.engine} {self.parameters['type']}" if "type" in self.parameters else self.engine

    @property
    def folder(self) -> Path:
        """Where its files are kept."""
        return CACHE / "lance" / digest({"engine": self.engine, "count": self.count, "parameters": dict(self.parameters)})

    def files(self) -> dict[str, Path]:
        """By role, once it is built."""
        return {role: self.folder / name for role, name in self._record()["files"].items()}

    def facts(self) -> dict[str, float]:
        """Of its making."""
        return dict(self._record()["facts"])

    def open(self, search: Mapping[str, Any]) -> VectorIndex:
        """As a search opens it."""
        return open_engine(self.engine).open(Parts(matrix_file(self.count), self.count, DIMENSION, self.files(), search))

    def _record(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "record.json").read_text(encoding="utf-8")))


def build(case: Case) -> dict[str, float]:
    """Seconds and peak memory, by all cores; taken from the record if it was built before."""
    if (case.folder / "record.json").exists():
        return case.facts()
    shutil.rmtree(case.folder, ignore_errors=True)
    case.folder.mkdir(parents=True)
    at = numbers()

    def stage() -> Path:
        path = case.folder / f"{next(at)}"
        path.touch()
        return path

    matrix, engine = vectors(case.count).vectors, open_engine(case.engine)
    recipe, held = engine.recipe(case.parameters), forget_peak()
    with Stopwatch() as watch:
        files = engine.build(matrix, recipe.build, stage, threads=os.cpu_count() or 1, progress=lambda done, total: None)
    peak_mib = (peak() - held) / 2**20
    facts = {"build_seconds": round(watch.wall, 2), "build_cpu_seconds": round(watch.cpu, 2), "build_peak_mib": round(peak_mib, 1)}
    record = {"facts": facts, "files": {role: path.name for role, path in files.items()}}
    (case.folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
    return facts


def truth(count: int, asked: int) -> tuple[Vectors, Vectors]:
    """So many queries, and the cosine of each one's 10th nearest: what is as near is right."""
    real = vectors(count)
    queries = real.queries[:asked]
    return queries, nearest_many(real.vectors, queries, K)[1][:, -1]


def tune(case: Case, queries: Vectors, tenth: Vectors) -> dict[str, Any]:
    """The parameters that are fastest at a recall@10 of TARGET, by bisecting one for each of a few values of the other.

    search: None where the target is out of reach; recall is then the best that was seen.
    """
    index = case.open({})
    seen: dict[str, float] = {}
    reached = []
    for fixed, name, values in ways(case.parameters.get("type", case.engine)):

        def reaches(value: int, fixed: Mapping[str, int] = fixed, name: str = name) -> bool:
            search = {**fixed, name: value}
            index.tune(search)
            seen[json.dumps(search)] = found = recall(index, queries, tenth)
            return found >= TARGET

        if (value := least(reaches, values)) is not None:
            search = {**fixed, name: value}
            index.tune(search)
            reached.append((timed([index], queries[:TIMED], 2)[0]["p50_us"], search))
    if not reached:
        return {"search": None, "recall_at_10": round(max(seen.values()), 4)}
    _, search = min(reached, key=lambda found: found[0])
    return {"search": search, "recall_at_10": round(seen[json.dumps(search)], 4)}


def ways(kind: str) -> list[tuple[dict[str, int], str, list[int]]]:
    """What is fixed, and which parameter is bisected over which values."""
    match kind:
        case "hnsw":
            return [({}, "efSearch", ladder(K, 1000))]
        case "IVF_HNSW_SQ":
            return [({"refineFactor": factor}, "ef", ladder(K * factor, 1000)) for factor in (1, 3, 10)]
        case _:
            return [({"refineFactor": factor}, "nprobes", ladder(1, 300)) for factor in (5, 15, 50)]


def ladder(low: int, high: int) -> list[int]:
    """Whole numbers from low to high, each a tenth greater than the one before, or by one."""
    values = [low]
    while values[-1] < high:
        values.append(min(max(values[-1] + 1, round(values[-1] * 1.1)), high))
    return values


def least(reaches: Callable[[int], bool], values: Sequence[int]) -> int | None:
    """The least of ascending values that reaches, where all greater ones do as well; None where not even the greatest does."""
    if not reaches(values[-1]):
        return None
    at = bisect_left(values, True, hi=len(values) - 1, key=reaches)
    return values[at]


def recall(index: VectorIndex, queries: Vectors, tenth: Vectors) -> float:
    """Recall@10: the share of hits that are as near as the 10th nearest."""
    hits = [np.count_nonzero(index.search(query, K)[1] >= least - TIE) for query, least in zip(queries, tenth, strict=True)]
    return float(np.mean(hits)) / K


def race(cases: Sequence[tuple[Case, Mapping[str, Any]]], queries: Vectors) -> list[dict[str, float]]:
    """Microseconds of a search by each, all open in one process and asked one after the other."""
    return timed([case.open(search) for case, search in cases], queries, ROUNDS)


def timed(indexes: Sequence[VectorIndex], queries: Vectors, rounds: int) -> list[dict[str, float]]:
    """All queries by each index, `rounds` times in turn: p50, p99 and CPU of its best round."""
    found: list[list[dict[str, float]]] = [[] for _ in indexes]
    for _ in range(rounds):
        for index, best in zip(indexes, found, strict=True):
            microseconds = []
            with Stopwatch() as watch:
                for query in queries:
                    started = time.perf_counter()
                    index.search(query, K)
                    microseconds.append((time.perf_counter() - started) * 1e6)
            p50, p99 = (round(float(np.percentile(microseconds, share)), 1) for share in (50, 99))
            best.append({"p50_us": p50, "p99_us": p99, "cpu_us": round(watch.cpu / len(queries) * 1e6, 1)})
    return [min(rounds_of, key=lambda one: one["p50_us"]) for rounds_of in found]


def load(case: Case, search: Mapping[str, Any], query: Vectors, *, from_disk: bool) -> float:
    """Seconds from files to a first answer, in a process that has the libraries imported and LanceDB connected.

    from_disk: the page cache has let go of the files.
    """
    ready(case)
    if from_disk:
        forget((matrix_file(case.count), *case.files().values()))
    started = time.perf_counter()
    case.open(search).search(query, K)
    return time.perf_counter() - started


def memory(case: Case, search: Mapping[str, Any], queries: Vectors) -> dict[str, float]:
    """MiB that the open index adds to the process while it answers: of its own, and mapped files, which the system may take back."""
    ready(case)
    gc.collect()
    before = resident()
    index = case.open(search)
    for query in queries:
        index.search(query, K)
    after = resident()
    described = index.describe()
    own, mapped = ((after[name] - before[name]) / 1024 for name in ("RssAnon", "RssFile"))
    disk = (described["disk_bytes"] - matrix_file(case.count).stat().st_size) / 2**20
    return {"memory_mib": round(own, 1), "mapped_mib": round(mapped, 1), "disk_mib": round(disk, 1)}


def append(case: Case, rows: Vectors) -> dict[str, float]:
    """Seconds until rows are durable in a copy of the index: where any search finds them, and where they are part of the index proper."""
    with tempfile.TemporaryDirectory(dir=case.folder.parent) as folder:
        return _append_hnsw(case, rows, Path(folder)) if case.engine == "hnsw" else _append_lance(case, rows, Path(folder))


def _append_hnsw(case: Case, rows: Vectors, folder: Path) -> dict[str, float]:
    """hnswlib writes its whole graph."""
    graph = hnswlib.Index(space="ip", dim=DIMENSION)
    graph.load_index(str(case.files()["graph"]), max_elements=case.count + len(rows))
    with Stopwatch() as watch:
        graph.add_items(rows, np.arange(case.count, case.count + len(rows)))
        graph.save_index(str(folder / "graph"))
        _sync(folder / "graph")
    return {"append_seconds": round(watch.wall, 3), "append_folded_seconds": round(watch.wall, 3)}


def _append_lance(case: Case, rows: Vectors, folder: Path) -> dict[str, float]:
    """Lance writes a file of the rows, which searches compare; optimize() takes them into the index."""
    for role, path in case.files().items():
        (folder / role).parent.mkdir(parents=True, exist_ok=True)
        os.link(path, folder / role)
    table = import_module("lancedb").connect(folder).open_table("vectors")
    vector = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), DIMENSION)
    with Stopwatch() as whole:
        with Stopwatch() as adding:
            table.add(pa.table({"vector": vector}))
        table.optimize()
    return {"append_seconds": round(adding.wall, 3), "append_folded_seconds": round(whole.wall, 3)}


def ready(case: Case) -> None:
    """Import what the engine needs, and start its threads."""
    open_engine(case.engine)
    open_matrix(matrix_file(case.count), case.count, DIMENSION)
    if case.engine == "lance":
        with tempfile.TemporaryDirectory() as folder:
            import_module("lancedb").connect(folder).table_names()


def resident() -> dict[str, int]:
    """KiB of this process, by kind."""
    lines = (line.split() for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return {line[0].rstrip(":"): int(line[1]) for line in lines if line[0].startswith("Rss")}


def forget(files: Sequence[Path]) -> None:
    """Have the page cache let go of files. What a process still maps stays."""
    for path in files:
        with _opened(path) as file:
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


def _sync(path: Path) -> None:
    with _opened(path) as file:
        os.fsync(file)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_RDWR)
    try:
        yield file
    finally:
        os.close(file)
