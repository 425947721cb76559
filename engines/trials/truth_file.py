"""The form of an eval set's truth: one Parquet file, a row for each query, in the order of the file or of their making.

    text      string
    filter    string              null without one
    allowed   binary              a bit for each chunk of the corpus, at the first query of each filter; null else
    relevant  list<string>        keys of rows that somebody judged relevant, those of the corpus only
    half      int8                0: by this half a winner is chosen, 1: by this one it is confirmed
    vector    list<float32>[d]    of length 1
    ids       list<int64>         the nearest chunks of the corpus, best first, ties by id; fewer than the width where fewer are allowed
    keys      list<string>        their rows
    scores    list<float32>       their cosines

Next: `truth.py` makes one, `measure.py` reads it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from engines.errors import BuildFailed
from engines.trials.intervals import Counts
from engines.vectors.corpus_file import vector_array, vectors_of
from engines.vectors.engine import Mask, Vectors

_METADATA_KEY = b"lakehouse.truth"
REMEDY = "Reconcile the EvalSet: its answers are computed again."


@dataclass(frozen=True, slots=True)
class TruthFacts:
    """What it is of. k: hits that count; width: how many answers a query has at most; chunks: of the corpus."""

    eval_set: str
    digest: str
    corpus: str
    k: int
    width: int
    chunks: int
    dimension: int


@dataclass(frozen=True, slots=True)
class Truth:
    """An open truth.

    Args:
        filters: of each query, None without one. allowed: by filter.
        half: int8 (queries,). vectors: float32 (queries, dimension).
        ids, scores: of each query its nearest, best first.
    """

    facts: TruthFacts
    texts: tuple[str, ...]
    filters: tuple[str | None, ...]
    allowed: Mapping[str, Mask]
    relevant: tuple[tuple[str, ...], ...]
    half: NDArray[np.int8]
    vectors: Vectors
    ids: tuple[NDArray[np.int64], ...]
    keys: tuple[tuple[str, ...], ...]
    scores: tuple[Vectors, ...]

    def widths(self, k: int) -> Counts:
        """int64 (queries,): how many hits are right at most, among k."""
        return np.array([min(k, len(ids)) for ids in self.ids], dtype=np.int64)


def halves(texts: Sequence[str]) -> NDArray[np.int8]:
    """Which half each query is of, at random by its text: as many in one as in the other."""
    order = sorted(range(len(texts)), key=lambda at: (hashlib.blake2b(texts[at].encode(), digest_size=8).digest(), at))
    half = np.zeros(len(texts), dtype=np.int8)
    half[order[1::2]] = 1
    return half


def write_truth(path: Path, truth: Truth) -> None:
    """Blocking. Raises OSError."""
    seen: set[str] = set()
    allowed: list[bytes | None] = []
    for condition in truth.filters:
        new = condition is not None and condition not in seen
        allowed.append(np.packbits(truth.allowed[condition]).tobytes() if new and condition is not None else None)
        seen |= {condition} if condition is not None else set()
    columns = {
        "text": pa.array(truth.texts, pa.string()),
        "filter": pa.array(truth.filters, pa.string()),
        "allowed": pa.array(allowed, pa.binary()),
        "relevant": pa.array([list(keys) for keys in truth.relevant], pa.list_(pa.string())),
        "half": pa.array(truth.half, pa.int8()),
        "vector": vector_array(np.ascontiguousarray(truth.vectors, np.float32)),
        "ids": pa.array([ids.tolist() for ids in truth.ids], pa.list_(pa.int64())),
        "keys": pa.array([list(keys) for keys in truth.keys], pa.list_(pa.string())),
        "scores": pa.array([scores.tolist() for scores in truth.scores], pa.list_(pa.float32())),
    }
    table = pa.table(columns).replace_schema_metadata({_METADATA_KEY: json.dumps(asdict(truth.facts), sort_keys=True).encode()})
    pq.write_table(table, path, compression="zstd", row_group_size=max(1, len(truth.texts)))


def read_truth(path: Path) -> Truth:
    """Blocking. Raises BuildFailed for a file that is no truth."""
    try:
        table = pq.read_table(path, memory_map=True).combine_chunks()
        facts = TruthFacts(**json.loads((table.schema.metadata or {})[_METADATA_KEY]))
        return _truth(facts, table)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise BuildFailed(f"{path.name} cannot be read as the answers of an eval set: {error}.", remedy=REMEDY) from error


def _truth(facts: TruthFacts, table: Any) -> Truth:
    column: dict[str, list[Any]] = {name: table.column(name).to_pylist() for name in ("text", "filter", "allowed", "relevant", "keys")}
    bits = zip(column["filter"], column["allowed"], strict=True)
    allowed = {
        name: np.unpackbits(np.frombuffer(packed, np.uint8), count=facts.chunks).astype(bool) for name, packed in bits if packed is not None
    }
    batches = table.to_batches()
    vectors = np.concatenate([vectors_of(batch) for batch in batches]) if batches else np.empty((0, facts.dimension), np.float32)
    return Truth(
        facts=facts,
        texts=tuple(column["text"]),
        filters=tuple(column["filter"]),
        allowed=allowed,
        relevant=tuple(map(tuple, column["relevant"])),
        half=table.column("half").to_numpy().astype(np.int8),
        vectors=np.ascontiguousarray(vectors),
        ids=tuple(np.array(ids, np.int64) for ids in table.column("ids").to_pylist()),
        keys=tuple(map(tuple, column["keys"])),
        scores=tuple(np.array(scores, np.float32) for scores in table.column("scores").to_pylist()),
    )
