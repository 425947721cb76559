"""Which embedder a model's name opens, and what an embedder is.

A model is opened once per process and shared by its threads. Whatever is neither built in nor `minilm` is a model of the Ollama server that
this process was told of (`connect`); a job is told by whoever starts it (`for_job`). Next: `builtin.py`, `minilm.py`, `engines/ollama`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engines.embedding import builtin, minilm
from engines.errors import EngineUnsupported, ServerAbsent
from engines.ollama.models import OllamaModels

Model = str | Mapping[str, str]
_SERVER = "ollama"


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
_servers: dict[str, OllamaModels] = {}
"""At most one, under `_SERVER`."""


def open_embedder(model: Model = builtin.NAME) -> Embedder:
    """The embedder of a model's name, as "builtin-128", or of {"ollama": name}. Opened on first use, then shared.

    Blocking on first use. Raises EngineUnsupported for a model that makes no vectors, ModelUnavailable for one that does not answer.
    """
    name = _local(model)
    return _open(name) if name is not None else _served(model)


def open_asker(model: Model = builtin.NAME) -> Embedder:
    """The same for texts that are looked for, which some models want to be told. Raises as `open_embedder` does."""
    name = _local(model)
    return _open(name) if name is not None else _served(model, asks=True)


def open_builtin() -> builtin.StaticEmbedder:
    """The built-in one, which knows its tokens' vectors too. Blocking on first use. Raises ModelUnavailable."""
    model = _open(builtin.NAME)
    assert isinstance(model, builtin.StaticEmbedder)
    return model


def fingerprint(model: Model = builtin.NAME) -> str:
    """What `open_embedder(model).fingerprint` is, without loading the model: for whoever only compares. Blocking; raises as that does."""
    name = _local(model)
    if name is None:
        remote = _remote(model)
        return server().fingerprint(remote)
    with _opening:
        if name not in _fingerprints:
            _fingerprints[name] = minilm.fingerprint() if name == minilm.NAME else builtin.fingerprint(name)
        return _fingerprints[name]


def opened() -> frozenset[str]:
    """Models that this process has in its own memory."""
    return frozenset(_opened)


def by_server(model: Model) -> bool:
    """Whether it takes a server to answer, which may be away now and back in a moment."""
    return _local(model) is None


def model_name(model: Model) -> str:
    """As a spec and a search request call it."""
    return model if isinstance(model, str) else model[_SERVER]


def connect(models: OllamaModels) -> None:
    """From here on this process asks this server for the models that it does not have itself."""
    _servers[_SERVER] = models


def disconnect() -> None:
    """From here on it has no server."""
    _servers.clear()


def server() -> OllamaModels:
    """The server. Raises ServerAbsent where this process was told of none."""
    found = _servers.get(_SERVER)
    if found is None:
        raise ServerAbsent("No model server is known here.", remedy=f"Use `model: {builtin.NAME}`.")
    return found


def for_job(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A job's arguments with what its process needs to open the same models."""
    found = _servers.get(_SERVER)
    return dict(arguments) if found is None else {**arguments, _SERVER: found.to_dict()}


def of_job(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `for_job`, in the job's process: connected, and the arguments without it. Where the daemon runs the job itself it is
    connected already."""
    told = arguments.get(_SERVER)
    if told is not None and _SERVER not in _servers:
        connect(OllamaModels.of_job(told, builtin_tokens))
    return {name: value for name, value in arguments.items() if name != _SERVER}


def builtin_tokens(text: str) -> Sequence[tuple[int, int]]:
    """Of the built-in model's tokenizer, which stands for those of models that do not tell theirs."""
    return _open(builtin.NAME).offsets(text)


def _open(name: str) -> Embedder:
    with _opening:
        if name not in _opened:
            _opened[name] = minilm.load() if name == minilm.NAME else builtin.load(name)
        return _opened[name]


def _served(model: Model, *, asks: bool = False) -> Embedder:
    remote = _remote(model)
    return server().embedder(remote, asks=asks)


def _local(model: Model) -> str | None:
    """The name of a model that needs no server; None for another."""
    return model if isinstance(model, str) and (model in builtin.SIZES or model == minilm.NAME) else None


def _remote(model: Model) -> str:
    """The name of a model of a server. Raises EngineUnsupported for one that would be built in."""
    name = model_name(model)
    if name.startswith(f"{builtin.NAME}-"):
        raise EngineUnsupported(f"There is no embedding model {name!r}.", remedy=f"Use one of {', '.join(builtin.SIZES)}.")
    return name
