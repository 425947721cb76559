"""Which embedder a model's name opens, and what an embedder is.

A model is opened once per process and shared by its threads. A model behind a server becomes one more case here. Next: `builtin.py`,
`minilm.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines.embedding import builtin, minilm
from engines.errors import EngineUnsupported

Model = str | Mapping[str, str]


class Embedder(Protocol):
    """Texts into vectors of one model. Thread-safe.

    fingerprint names everything the vectors depend on, parted by "/": name, version, pooling, weights' digest, dimension, normalisation;
    a prefix too, where a model wants one before its texts. Vectors of equal fingerprints may be compared, others never. All vectors have
    length 1, but for a text without tokens, which has the zero vector.
    """

    @property
    def name(self) -> str:
        """As a spec and a search request call the model."""

    @property
    def fingerprint(self) -> str:
        """As above."""

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""

    @property
    def quick(self) -> bool:
        """Whether a short text is embedded while an event loop can wait: in some 0.1 ms."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 (len(texts), dimension), in the texts' order. Blocking."""

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """Each token's begin and end in the text, in characters, ascending."""


_opened: dict[str, Embedder] = {}
_fingerprints: dict[str, str] = {}
_opening = threading.Lock()


def open_embedder(model: Model = builtin.NAME) -> Embedder:
    """The embedder of a model's name, as "builtin-128", or of {"ollama": name}. Opened on first use, then shared.

    Blocking on first use. Raises EngineUnsupported for a model that is not built, ModelUnavailable for one that cannot be read.
    """
    name = _supported(model)
    with _opening:
        if name not in _opened:
            _opened[name] = minilm.load() if name == minilm.NAME else builtin.load(name)
        return _opened[name]


def open_builtin() -> builtin.StaticEmbedder:
    """The built-in one, which knows its tokens' vectors too. Blocking on first use. Raises ModelUnavailable."""
    model = open_embedder(builtin.NAME)
    assert isinstance(model, builtin.StaticEmbedder)
    return model


def fingerprint(model: Model = builtin.NAME) -> str:
    """What `open_embedder(model).fingerprint` is, without loading the model: for whoever only compares. Blocking; raises as that does."""
    name = _supported(model)
    with _opening:
        if name not in _fingerprints:
            _fingerprints[name] = minilm.fingerprint() if name == minilm.NAME else builtin.fingerprint(name)
        return _fingerprints[name]


def _supported(model: Model) -> str:
    if isinstance(model, str) and (model in builtin.SIZES or model == minilm.NAME):
        return model
    name = model if isinstance(model, str) else "/".join(f"{server}: {name}" for server, name in model.items())
    raise EngineUnsupported(f"The embedding model {name!r} is not supported yet.", remedy=f"Use `model: {builtin.NAME}`.")
