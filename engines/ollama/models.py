"""What this process knows of an Ollama server, and the embedders and chats by it: one for the whole process, or one a job.

Facts are asked for again after a moment, so that a model that was pulled again is another one at once, and a server that is away costs a
visit one time limit and not one a question. Next: `embedder.py`, `chat.py`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from engines.errors import EngineError, EngineUnsupported, ModelUnavailable
from engines.ollama.activation import Call
from engines.ollama.calls import Calls, untold
from engines.ollama.chat import Chats
from engines.ollama.client import OllamaClient
from engines.ollama.embedder import OllamaEmbedder, fingerprint
from engines.ollama.facts import ModelFacts, Pulled
from engines.ollama.names import same, whole
from engines.ollama.prefixes import prefixes
from engines.ollama.server import Server

_FRESH = 2.0
"""Seconds for which facts hold."""
_AWAY = 5.0
"""Seconds for which a server that did not answer is not asked again."""


@contextmanager
def anyhow(model: str) -> Iterator[Call]:
    """Where nobody sees to what is loaded: a job, whose index holds its model, and an offline `lakectl`."""
    yield Call(whole(model))


class OllamaModels:
    """Thread-safe. Blocking. Every method raises what `client.py` raises."""

    def __init__(
        self,
        server: Server,
        tokens: Callable[[str], Sequence[tuple[int, int]]],
        use: Callable[[str], AbstractContextManager[Call]] = anyhow,
        calls: Calls = untold,
        clock: Callable[[], float] = time.monotonic,
        client: OllamaClient | None = None,
    ) -> None:
        """tokens: of a text, ours. use: a model is loaded for as long as the block runs. clock: seconds."""
        self.server = server
        self.use, self.calls = use, calls
        self._tokens = tokens
        self._clock = clock
        self.client = client or OllamaClient(server)
        self._lock = threading.Lock()
        self.changed: Callable[[], object] = _nobody
        """Told, from any thread, when the server has other models than it had when it was asked last, or does not answer, or does again."""
        self._had: Mapping[str, str] | str | None = None
        self._pulled: tuple[float, tuple[Pulled, ...] | EngineError] | None = None
        self._shown: dict[tuple[str, str], ModelFacts] = {}
        self._dimensions: dict[str, int] = {}
        self._version: str | None = None

    def pulled(self) -> tuple[Pulled, ...]:
        """The models that the server has."""
        with self._lock:
            found, other = self._look()
        if other:
            self.changed()
        return _given(found)

    def _look(self) -> tuple[tuple[Pulled, ...] | EngineError, bool]:
        """What it has, and whether that is otherwise than it was known. Holds the lock."""
        now = self._clock()
        if self._pulled is not None:
            at, found = self._pulled
            if now - at < (_AWAY if isinstance(found, EngineError) else _FRESH):
                return found, False
        try:
            if self._version is None:
                self._version = self.client.version()
            found = self.client.pulled()
        except EngineError as error:
            found, self._version = error, None
        self._pulled = self._clock(), found
        before, self._had = self._had, found.slug if isinstance(found, EngineError) else {model.name: model.digest for model in found}
        return found, before is not None and before != self._had

    def version(self) -> str | None:
        """Of the server, once it answered."""
        return self._version

    def facts(self, model: str) -> ModelFacts:
        """What the server has under this name now."""
        from engines.ollama.translation import missing

        found = next((pulled for pulled in self.pulled() if same(pulled.name, model)), None)
        if found is None:
            raise missing(self.server.url, model)
        key = (found.name, found.digest)
        if key not in self._shown:
            self._shown[key] = self.client.shown(found)
        return self._shown[key]

    def context(self, model: str) -> int:
        """Tokens that a model reads at once: its own bound, or that of the settings."""
        return min(self.facts(model).context or self.server.context, self.server.context)

    def fingerprint(self, model: str) -> str:
        """What `embedder(model).fingerprint` is."""
        facts = self._embedding(model)
        return fingerprint(model, facts, self._dimension(facts), prefixes(model))

    def embedder(self, model: str, *, asks: bool = False) -> OllamaEmbedder:
        """asks: of texts that are looked for. Raises EngineUnsupported for a model that makes no vectors."""
        facts = self._embedding(model)
        dimension = self._dimension(facts)

        def now() -> ModelFacts:
            return self.facts(model)

        return OllamaEmbedder(model, facts, dimension, prefixes(model), self.client, now, self._tokens, self.use, self.calls, asks)

    def chats(self) -> Chats:
        """Of every model of the server."""
        return Chats(self.client, self.context, lambda model: self.use(model), lambda *call: self.calls(*call))

    def chat_model(self, model: str) -> ModelFacts:
        """Raises EngineUnsupported for a model that only makes vectors."""
        facts = self.facts(model)
        if facts.kind != "chat":
            raise EngineUnsupported(f"{model} is an embedding model and answers no chat.", remedy="Name a chat model, as in qwen2.5:7b.")
        return facts

    def _embedding(self, model: str) -> ModelFacts:
        facts = self.facts(model)
        if facts.kind != "embedding":
            raise EngineUnsupported(
                f"{model} is a chat model and makes no vectors.", remedy="Name an embedding model, as in nomic-embed-text."
            )
        return facts

    def _dimension(self, facts: ModelFacts) -> int:
        """As the server tells it, else of a first vector."""
        if facts.dimension is not None:
            return facts.dimension
        if facts.digest not in self._dimensions:
            with self.use(facts.name):
                vectors, _ = self.client.embed(facts.name, ["dimension"], self.context(facts.name))
            if not len(vectors[0]):
                raise ModelUnavailable(f"{facts.name} gives vectors without a number.", remedy="Name an embedding model.")
            self._dimensions[facts.digest] = len(vectors[0])
        return self._dimensions[facts.digest]

    def to_dict(self) -> dict[str, Any]:
        """What a job needs to ask the same server."""
        return self.server.to_dict()

    @classmethod
    def of_job(cls, told: Mapping[str, Any], tokens: Callable[[str], Sequence[tuple[int, int]]]) -> OllamaModels:
        """The inverse of `to_dict`, in a job's process."""
        return cls(Server.from_dict(told), tokens)


def _nobody() -> None:
    """Nobody asks."""


def _given(found: tuple[Pulled, ...] | EngineError) -> tuple[Pulled, ...]:
    if isinstance(found, EngineError):
        raise type(found)(str(found), remedy=found.remedy) from found
    return found
