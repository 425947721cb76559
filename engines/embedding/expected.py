"""The embedder of an open build whose model a server runs: opened anew for each text, since the server may be away now and back then.

It answers for the one model whose vectors the build holds: where another came to have its name, it refuses. Next: `registry.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from engines.embedding.registry import Embedder, Model, model_name
from engines.errors import ModelMismatch


class ExpectedModel:
    """See `registry.Embedder`. Nothing is asked before the first text."""

    quick = False

    def __init__(self, model: Model, fingerprint: str, dimension: int, open_model: Callable[[Model], Embedder]) -> None:
        self.name, self.fingerprint, self.dimension = model_name(model), fingerprint, dimension
        self._model = model
        self._open = open_model

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 (len(texts), dimension). Raises ModelMismatch, and what opening and asking the model raise."""
        return self._opened().embed(texts)

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """Each token's begin and end in the text, in characters, ascending."""
        return self._opened().offsets(text)

    def _opened(self) -> Embedder:
        found = self._open(self._model)
        if found.fingerprint != self.fingerprint:
            raise ModelMismatch(
                f"The index holds vectors of {self.fingerprint}; the model {found.name} here is {found.fingerprint}.",
                remedy="The index embeds its texts again by itself; until then search by a vector, or by another model.",
            )
        return found
