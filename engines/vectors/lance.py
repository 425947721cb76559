"""The engine on disk: an index of LanceDB's, for what does not fit into memory.

A build is a LanceDB table of the vectors, in the files that Lance made of it, each an object of its own: below a bucket's folder they lie
as Lance wants them, and LanceDB itself opens them. Here they are opened through links in a folder of this process: the object cache names
its files otherwise, and may remove them.

Lance finds candidates by what it keeps of each vector (8 bits a number, or fewer); `refineFactor` of them for each result are compared with
the matrix, so that scores are cosines. It knows nothing of filters here: `filtering.py`. What has fewer vectors than Lance can learn from
has no index, and Lance compares them all.

LanceDB is an extra of ours, takes a second or two to import and 180 MB of disk: nothing imports it before the first build or search that
asks for it. Next: `engine.py`, `builds.py`.
"""

from __future__ import annotations

import errno
import importlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from engines.errors import BuildFailed, EngineUnsupported
from engines.vectors.engine import Ids, Mask, Parts, Progress, Recipe, Vectors
from engines.vectors.filtering import Costs, measure, search_filtered
from engines.vectors.matrix import best_of, nearest, open_matrix
from engines.vectors.parameters import read
from specs.kinds.index_generation import Lance

_SEARCH = ("nprobes", "refineFactor", "ef")  # the parameters that need no new build
_TABLE = "vectors"
_FOLDER = f"{_TABLE}.lance"
_FRAGMENT = 1 << 20  # rows that Lance puts into one file, of which it numbers each by itself
_BATCH = 16_384
_LEARNS_FROM = 256  # vectors at least
_NO_SPACE = f"(os error {errno.ENOSPC})"
_REMEDY = "Reconcile the index: it is built again from its corpus."


@dataclass(frozen=True, slots=True, weakref_slot=True)
class _Table:
    """LanceDB's table, and the session that holds its cache."""

    table: Any
    session: Any
    index: str | None


class LanceIndex:
    """An open table and the matrix. Thread-safe: nothing is added to it."""

    def __init__(self, opened: _Table, matrix: Vectors, disk_bytes: int, search: Mapping[str, Any]) -> None:
        """matrix: float32 (size, dimension), the rows of the table in their order."""
        self._opened = opened
        self._matrix = matrix
        self._disk_bytes = disk_bytes
        self._measured: Costs | None = None
        self._given = read("lance", Lance, search)
        self.size, self.dimension = matrix.shape

    def search(self, query: Vectors, k: int, allowed: Mask | None = None) -> tuple[Ids, Vectors]:
        """See VectorIndex.search."""
        k = min(k, self.size)
        if k == 0:
            return nearest(self._matrix, query, 0)
        breadth = self._given.refine_factor
        if allowed is not None:
            return search_filtered(self._matrix, query, k, allowed, fetch=self.search, costs=self._costs(), breadth=breadth)
        found = self._candidates(query, min(k * breadth, self.size))
        return best_of(self._matrix, query, k, found) if len(found) >= k else nearest(self._matrix, query, k)

    def tune(self, search: Mapping[str, Any]) -> None:
        """See VectorIndex.tune: nprobes, refineFactor and ef."""
        self._given = read("lance", Lance, search)

    def beside(self, search: Mapping[str, Any]) -> LanceIndex:
        """See VectorIndex.beside."""
        return LanceIndex(self._opened, self._matrix, self._disk_bytes, search)

    def quick(self, k: int) -> bool:
        """Never: LanceDB answers by threads of its own."""
        return False

    def describe(self) -> Mapping[str, Any]:
        """See VectorIndex.describe. index: LanceDB's type, None where it compares all vectors; memory_bytes: of LanceDB's cache."""
        return {
            "engine": "lance",
            "index": self._opened.index,
            "size": self.size,
            "dimension": self.dimension,
            "search": _given(self._given.model_dump(by_alias=True, include={"nprobes", "refine_factor", "ef"})),
            "memory_bytes": self._opened.session.size_bytes,
            "disk_bytes": self._disk_bytes,
        }

    def _candidates(self, query: Vectors, count: int) -> Ids:
        """Ascending. Raises BuildFailed where Lance meets what it cannot read."""
        given = self._given
        asked = self._opened.table.search(query, vector_column_name="vector").distance_type("dot").limit(count).nprobes(given.nprobes)
        if given.ef is not None and self._opened.index == "IvfHnswSq":
            asked = asked.ef(max(given.ef, count))
        try:
            rows = asked.with_row_id(True).select(["_distance"]).to_arrow().column("_rowid").to_numpy()
        except (RuntimeError, ValueError, OSError) as error:
            raise BuildFailed(f"LanceDB cannot search its index: {_first_line(error)}.", remedy=_REMEDY) from error
        return np.sort((rows >> 32).astype(np.int64) * _FRAGMENT + (rows & 0xFFFFFFFF).astype(np.int64))

    def _costs(self) -> Costs:
        """Measured by the first search with a filter. By two at once, if they come at once: either is as good."""
        if self._measured is None:
            self._measured = measure(self._matrix, self.search, breadth=1)
        return self._measured


class LanceEngine:
    """Builds and opens LanceDB's tables."""

    name = "lance"

    def recipe(self, parameters: Mapping[str, Any]) -> Recipe:
        """See VectorEngine.recipe: nprobes, refineFactor and ef are of the search, all others of the build."""
        values = read(self.name, Lance, parameters).model_dump(by_alias=True)
        search = {name: values.pop(name) for name in _SEARCH}
        return Recipe(self.name, _given(values), _given(search))

    def build(
        self, vectors: Vectors, parameters: Mapping[str, Any], stage: Callable[[], Path], *, threads: int, progress: Progress
    ) -> Mapping[str, Path]:
        """See VectorEngine.build. LanceDB takes all cores, and begins elsewhere each time; it reports no progress."""
        given = read(self.name, Lance, parameters)
        count = len(vectors)
        if given.partitions is not None and given.partitions > max(count, 1):
            raise BuildFailed(f"lance.partitions is {given.partitions}, more than the {count} vectors.", remedy="Leave it out.")
        progress(0, count)
        place = stage()
        place.unlink()
        with tempfile.TemporaryDirectory(dir=place.parent) as folder:
            try:
                self._write(Path(folder), vectors, given)
            except (RuntimeError, ValueError, OSError) as error:
                if _NO_SPACE in str(error):  # LanceDB has no type for it
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder) from error
                raise BuildFailed(f"LanceDB cannot index these vectors as {given.type}: {_first_line(error)}.") from error
            files = {}
            for path in sorted(path for path in Path(folder, _FOLDER).rglob("*") if path.is_file()):
                staged = stage()
                path.replace(staged)
                files[path.relative_to(folder).as_posix()] = staged
        progress(count, count)
        return files

    def open(self, parts: Parts) -> LanceIndex:
        """See VectorEngine.open."""
        lancedb = _lancedb()
        matrix = open_matrix(parts.matrix, parts.count, parts.dimension)
        folder = parts.folder()
        for role, path in parts.files.items():
            _link(path, folder / role)
        session = lancedb.Session()
        try:
            table = lancedb.connect(folder, session=session).open_table(_TABLE)
            rows, indices = table.count_rows(), table.list_indices()
        except (RuntimeError, ValueError, OSError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise BuildFailed(f"{_FOLDER} cannot be opened as a table of LanceDB: {_first_line(error)}.", remedy=_REMEDY) from error
        if rows != parts.count:
            shutil.rmtree(folder, ignore_errors=True)
            raise BuildFailed(f"{_FOLDER} has {rows} vectors, not {parts.count}.", remedy=_REMEDY)
        disk_bytes = matrix.nbytes + sum(path.stat().st_size for path in parts.files.values())
        opened = _Table(table, session, indices[0].index_type if indices else None)
        index = LanceIndex(opened, matrix, disk_bytes, parts.search)
        weakref.finalize(opened, shutil.rmtree, folder, ignore_errors=True)
        return index

    def _write(self, folder: Path, vectors: Vectors, given: Lance) -> None:
        count, dimension = vectors.shape
        lancedb = _lancedb()
        schema = pa.schema([("vector", pa.list_(pa.float32(), dimension))])
        table = lancedb.connect(folder).create_table(_TABLE, pa.RecordBatchReader.from_batches(schema, _batches(vectors, schema)))
        longest = table.stats()["fragment_stats"]["lengths"]["max"] if count else 0
        if longest != min(count, _FRAGMENT):
            raise BuildFailed(f"LanceDB puts {longest} vectors into a file, not {_FRAGMENT}.", remedy="Use the version that is supported.")
        if count >= _LEARNS_FROM:
            table.create_index("vector", config=_configuration(given), name="vector_index")


def _lancedb() -> Any:
    try:
        return importlib.import_module("lancedb")
    except ModuleNotFoundError as error:
        remedy = "Install it with `pip install 'lakehouse[lance]'`, or use `hnsw` or `flat`."
        raise EngineUnsupported("The engine `lance` needs LanceDB, which is not installed.", remedy=remedy) from error


def _configuration(given: Lance) -> Any:
    index = importlib.import_module("lancedb.index")
    match given.type:
        case "IVF_HNSW_SQ":
            return index.HnswSq(distance_type="dot", num_partitions=given.partitions, m=given.m, ef_construction=given.ef_construction)
        case "IVF_PQ":
            return index.IvfPq(distance_type="dot", num_partitions=given.partitions)
        case "IVF_RQ":
            return index.IvfRq(distance_type="dot", num_partitions=given.partitions)


def _batches(vectors: Vectors, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(vectors), _BATCH):
        block = vectors[start : start + _BATCH]
        yield pa.RecordBatch.from_arrays([pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), vectors.shape[1])], schema=schema)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _link(path: Path, link: Path) -> None:
    """A hard link, so that the file stays for as long as it is open here; another filesystem gets a symbolic one."""
    link.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, link)
    except OSError:
        link.symlink_to(path.absolute())


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
