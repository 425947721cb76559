"""The EmbeddingCache: vectors of texts that any index has had embedded, on disk and mapped, so that no model sees a text twice.

A folder for each model's fingerprint; in it segments, Arrow files of the texts' hashes in order and their vectors. A segment is written
aside, synced and renamed, and never changed: any number of processes read and write beside each other. Small ones are merged as they
gather. Where there is more than the limit, segments go that gave a vector the longest ago; whoever has one mapped keeps it until it is
done. Nothing in it is needed: a lost or torn segment costs embedding its texts again.

What is found and what is not is counted in a file beside them, by whoever asked. Next: `chunk_maker.py`, which asks.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa

from engines.embedding.cache_stats import CacheStats
from engines.vectors.corpus_file import vector_array, vectors_of
from engines.vectors.engine import Ids, Mask, Vectors
from engines.vectors.soundness import sound
from engines.vectors.vector_memory import Run, halves, sorted_run
from specs.digests import digest

SEGMENT_BYTES = 64 << 20
SMALL = 8
"""A segment of less than this part of a full one is small; so many of them become one."""

_log = logging.getLogger(__name__)
_HASH_BYTES = 16
_OVERHEAD = 4096
"""Bytes of a segment beside its rows, at most."""

_SUFFIX = ".arrow"
_NAME = re.compile(rf"[0-9a-f]{{32}}-\d+{re.escape(_SUFFIX)}")
"""Of a segment. Any other file in its folder is somebody else's: neither read nor counted nor removed."""


class Recalled:
    """What is known of one model, mapped for as long as it is used. Not thread-safe."""

    def __init__(self, segments: Sequence[tuple[Path, Run, Vectors]], dimension: int) -> None:
        self._segments = segments
        self._dimension = dimension
        self._used: set[Path] = set()
        self.hits = self.misses = 0

    def find(self, hashes: Sequence[bytes]) -> tuple[Mask, Vectors]:
        """bool (n,): which texts are known; float32 (those, dimension): their vectors in order."""
        high, low = halves(hashes)
        known = np.zeros(len(hashes), dtype=np.bool_)
        found = np.zeros((len(hashes), self._dimension), dtype=np.float32)
        for path, run, vectors in self._segments:
            rows = run.find(high, low)
            here = (rows >= 0) & ~known
            if here.any():
                found[here] = vectors.take(rows[here], axis=0)
                known |= here
                self._used.add(path)
        known &= sound(found)  # a segment that a power cut left without its pages
        self.hits += int(known.sum())
        self.misses += int((~known).sum())
        return known, found[known]

    def touch(self) -> None:
        """The segments that gave something since the last time are of use."""
        for path in self._used:
            with suppress(OSError):
                os.utime(path)
        self._used.clear()


@dataclass(frozen=True, slots=True)
class EmbeddingCache:
    """A folder, and the bytes that it may hold; 0 keeps nothing. Thread- and process-safe. Blocking."""

    folder: Path
    limit: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"folder": str(self.folder), "limit": self.limit}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EmbeddingCache:
        """The inverse of `to_dict`."""
        return cls(Path(data["folder"]), data["limit"])

    def of(self, fingerprint: str, dimension: int) -> Recalled:
        """What is known of a model."""
        opened = (_open(path, dimension) for path in self._segments(self._of(fingerprint)))
        return Recalled([segment for segment in opened if segment is not None], dimension)

    def keep(self, fingerprint: str, batches: Iterable[tuple[Sequence[bytes], Vectors]], recalled: Recalled) -> None:
        """Vectors that a model has made, with their texts' hashes; and count what was asked since. In the memory of a segment.

        Where it cannot be written, nothing is kept: what was made has its place elsewhere.
        """
        if not self.limit:
            return
        try:
            recalled.touch()
            self._count(hits=recalled.hits, misses=recalled.misses)
            recalled.hits = recalled.misses = 0
            self._keep(fingerprint, batches)
        except OSError as error:
            _log.warning("Vectors are not kept for other indexes: %s", error)

    def _keep(self, fingerprint: str, batches: Iterable[tuple[Sequence[bytes], Vectors]]) -> None:
        folder = self._of(fingerprint)
        for gathered in _gathered(batches, self._segment_bytes):
            if _room(*gathered) > self.limit:
                continue
            with self._locked():
                for torn in folder.glob("*.tmp"):  # of a process that was killed: who writes has the lock
                    torn.unlink()
                hashes, vectors = self._with_small(folder, *gathered)
                self._evict(_room(hashes, vectors))
                _write(folder, hashes, vectors)

    def fit(self) -> None:
        """Let go of what is beyond the limit, which may have been another before. What cannot be removed stays, and the log tells of it."""
        try:
            if self.folder.exists():
                with self._locked():
                    self._evict()
        except OSError as error:
            _log.warning("Vectors beyond the limit of embeddingCacheBytes stay: %s", error)

    def stats(self) -> CacheStats:
        """Since the folder was made, whichever processes asked."""
        found = [(_entries(path), size) for path, size, _ in self._all()]
        counted = self._counted()
        return CacheStats(sum(rows for rows, _ in found), sum(size for _, size in found), self.limit, **counted)

    @property
    def _segment_bytes(self) -> int:
        return min(SEGMENT_BYTES, max(1, self.limit // 4))

    def _of(self, fingerprint: str) -> Path:
        return self.folder / digest(fingerprint)[:16]

    def _segments(self, folder: Path) -> list[Path]:
        return sorted(path for path in folder.glob(f"*{_SUFFIX}") if _NAME.fullmatch(path.name)) if self.limit else []

    def _all(self) -> Iterator[tuple[Path, int, float]]:
        """Every segment, its bytes, and when it was last of use."""
        for path in self.folder.glob(f"*/*{_SUFFIX}"):
            with suppress(OSError):
                told = path.stat()
                if _NAME.fullmatch(path.name):
                    yield path, told.st_size, told.st_mtime

    def _with_small(self, folder: Path, hashes: Sequence[bytes], vectors: Vectors) -> tuple[Sequence[bytes], Vectors]:
        """Together with the small segments, which are removed, where there are enough of them."""
        few = self._segment_bytes // SMALL
        small = [path for path in self._segments(folder) if path.stat().st_size < few] if vectors.nbytes < few else []
        if len(small) < SMALL:
            return hashes, vectors
        all_hashes, all_vectors = list(hashes), [vectors]
        for path in small:
            segment = _open(path, vectors.shape[1])
            if segment is not None:
                all_hashes += _hashes(segment[1])
                all_vectors.append(segment[2])
            path.unlink(missing_ok=True)
        return all_hashes, np.concatenate(all_vectors)

    def _evict(self, room: int = 0) -> None:
        """Remove what was of use the longest ago, until there is room for so many bytes; counted. With the lock."""
        found = sorted(self._all(), key=lambda item: item[2])
        total, gone = sum(size for _, size, _ in found), 0
        for path, size, _ in found:
            if total + room <= self.limit:
                break
            path.unlink(missing_ok=True)
            total -= size
            gone += _entries(path)
        if gone:
            self._write_counts(evictions=gone)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process, and one thread of it, at a time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _count(self, **more: int) -> None:
        with self._locked():
            self._write_counts(**more)

    def _write_counts(self, **more: int) -> None:
        counted = {name: value + more.get(name, 0) for name, value in self._counted().items()}
        aside = self.folder / "counts.tmp"
        aside.write_text(json.dumps(counted))
        aside.replace(self.folder / "counts.json")

    def _counted(self) -> dict[str, int]:
        names = ("hits", "misses", "evictions")
        try:
            told = json.loads((self.folder / "counts.json").read_text())
            return {name: int(told[name]) for name in names}
        except (OSError, ValueError, KeyError, TypeError):
            return dict.fromkeys(names, 0)


NO_CACHE = EmbeddingCache(Path(), 0)


def _gathered(batches: Iterable[tuple[Sequence[bytes], Vectors]], most: int) -> Iterator[tuple[Sequence[bytes], Vectors]]:
    """Together, as long as they are within so many bytes."""
    hashes: list[bytes] = []
    blocks: list[Vectors] = []
    for own, block in batches:
        if blocks and sum(held.nbytes for held in blocks) + block.nbytes > most:
            yield hashes, np.concatenate(blocks)
            hashes, blocks = [], []
        hashes += own
        blocks.append(block)
    if hashes:
        yield hashes, np.concatenate(blocks)


def _room(hashes: Sequence[bytes], vectors: Vectors) -> int:
    """Bytes of a segment of these, at most."""
    return vectors.nbytes + len(hashes) * _HASH_BYTES + _OVERHEAD


def _write(folder: Path, hashes: Sequence[bytes], vectors: Vectors) -> None:
    """Durable before it has its name: a torn file must not pass for one."""
    run = sorted_run(*halves(hashes), np.arange(len(hashes), dtype=np.int64))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{uuid4().hex}-{len(hashes)}{_SUFFIX}"
    aside = path.with_suffix(".tmp")
    columns = {"high": pa.array(run.high), "low": pa.array(run.low), "vector": vector_array(vectors.take(run.row, axis=0))}
    batch = pa.RecordBatch.from_pydict(columns)
    try:
        with aside.open("wb") as file:
            with pa.ipc.new_file(file, batch.schema) as writer:
                writer.write_batch(batch)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
    finally:
        aside.unlink(missing_ok=True)


def _open(path: Path, dimension: int) -> tuple[Path, Run, Vectors] | None:
    """None for what is gone, or is no segment."""
    try:
        with pa.memory_map(str(path)) as source:
            batch = pa.ipc.open_file(source).get_batch(0)
            vectors = vectors_of(batch)
            high, low = (batch.column(name).to_numpy() for name in ("high", "low"))
    except (OSError, KeyError, pa.ArrowException):
        return None
    rows: Ids = np.arange(len(batch), dtype=np.int64)
    return (path, Run(high, low, rows), vectors) if vectors.shape[1] == dimension else None


def _hashes(run: Run) -> list[bytes]:
    data = np.column_stack([run.high, run.low]).tobytes()
    return [data[at : at + _HASH_BYTES] for at in range(0, len(data), _HASH_BYTES)]


def _entries(path: Path) -> int:
    """How many vectors a segment holds, by its name."""
    return int(path.stem.rpartition("-")[2])
