"""Which vectors can be compared with others, and asking a model for them so that one bad answer costs one text.

A vector with a number that is not finite, of length 0, or of another dimension than its model's has no cosine with anything. It goes into
no corpus: the chunk is set aside (`set_aside.py`), and all others go on. Nothing is tried to make such a vector good.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engines.embedding.registry import Embedder
from engines.vectors.engine import Mask, Vectors

NOT_FINITE: Final = "not-finite"
ZERO: Final = "zero"
DIMENSION: Final = "dimension"
Faults = dict[int, str]
"""What is wrong with some of a block's vectors, by row."""


def sound(vectors: Vectors) -> Mask:
    """bool (n,): True for rows of float32 (n, dimension) whose length is a positive number. A length that overflows is none."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", vectors, vectors)
    return np.asarray(np.isfinite(squares) & (squares > 0))


def embed(model: Embedder, texts: Sequence[str]) -> tuple[Vectors, Faults]:
    """float32 (n, dimension), and which rows are no vectors of use: those are zero. Blocking; raises what the model raises.

    Where an answer is of another shape, each text is asked for by itself: then it is known which of them is at fault.
    """
    found = _answer(model, texts)
    if found.shape == (len(texts), model.dimension):
        return _checked(found)
    vectors = np.zeros((len(texts), model.dimension), np.float32)
    wrong: Faults = {}
    for row, text in enumerate(texts):
        alone = _answer(model, [text])
        if alone.shape == (1, model.dimension):
            vectors[row] = alone[0]
        else:
            wrong[row] = DIMENSION
    vectors, others = _checked(vectors)
    return vectors, others | wrong


def _answer(model: Embedder, texts: Sequence[str]) -> NDArray[np.float32]:
    """Of whatever shape; (0, 0) for rows of different lengths."""
    try:
        return np.asarray(model.embed(texts), dtype=np.float32)
    except ValueError:
        return np.empty((0, 0), np.float32)


def _checked(vectors: Vectors) -> tuple[Vectors, Faults]:
    good = sound(vectors)
    if good.all():
        return vectors, {}
    bad = np.flatnonzero(~good)
    faults = {int(row): ZERO if not vectors[row].any() else NOT_FINITE for row in bad}
    return np.where(good[:, np.newaxis], vectors, np.float32(0)), faults
