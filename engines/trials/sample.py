"""A share of a corpus, and an eval set's truth within it: what a trial of lower fidelity builds over.

Chunks are taken at random by their key, so that every recipe is tried on the same ones, and mostly the same while the corpus grows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from engines.errors import BuildFailed
from engines.trials.perturbing import place
from engines.trials.truth_file import Truth
from engines.vectors.corpus_file import read_corpus_file, vectors_of
from engines.vectors.engine import Mask, Vectors
from engines.vectors.matrix import FLOAT, open_matrix
from engines.vectors.nearest_many import nearest_many

_SEED = 0
_LEAST = 256
"""Chunks: of fewer no recipe can be told from another."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Some rows of a corpus as a matrix, mapped from `path`, and the truth in them."""

    path: Path
    matrix: Vectors
    truth: Truth


def sampled(corpus: Path, folder: Path, truth: Truth, share: float) -> Sample:
    """About this share of the chunks. folder: for the matrix. Blocking. Raises BuildFailed where these are too few."""
    path = folder / "vectors.f32"
    limit = int(share * 2**64).to_bytes(9, "big")
    taken: list[Mask] = []
    with path.open("wb") as file:
        for batch in read_corpus_file(corpus, ["key", "number", "vector"]):
            keys, numbers = batch.column("key").to_pylist(), batch.column("number").to_pylist()
            mask = np.array([b"\0" + place(_SEED, key, number) < limit for key, number in zip(keys, numbers, strict=True)], dtype=bool)
            file.write(np.ascontiguousarray(vectors_of(batch)[mask], FLOAT).data)
            taken.append(mask)
    chosen = np.concatenate(taken)
    count = int(chosen.sum())
    if count < _LEAST:
        remedy = f"Try a greater share: the corpus has {len(chosen):,} chunks."
        raise BuildFailed(f"{share:.0%} of the corpus are {count} chunks; {_LEAST} are needed to tell recipes apart.", remedy=remedy)
    matrix = open_matrix(path, count, truth.facts.dimension)
    return Sample(path, matrix, _within(truth, matrix, chosen))


def _within(truth: Truth, matrix: Vectors, chosen: Mask) -> Truth:
    allowed = {name: mask[chosen] for name, mask in truth.allowed.items()}
    ids, scores = list(truth.ids), list(truth.scores)
    for name in {*truth.filters}:
        ats = [at for at, condition in enumerate(truth.filters) if condition == name]
        mask = None if name is None else allowed[name]
        found, cosines = nearest_many(matrix, truth.vectors[ats], truth.facts.width, mask)
        for row, at in enumerate(ats):
            ids[at], scores[at] = found[row], cosines[row]
    keys = tuple(() for _ in truth.texts)  # nothing is told of rows: judgments are of the whole corpus
    return replace(truth, allowed=allowed, ids=tuple(ids), scores=tuple(scores), keys=keys, relevant=keys)
