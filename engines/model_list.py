"""Every model that this lake knows of, with what is known of it: the built-in embedder, MiniLM, and those of an Ollama server.

A server that is away takes nothing off the list: what specs name of it is told of with the reason. Facts of this process, as they are now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from engines.embedding import builtin, minilm
from engines.embedding.registry import fingerprint, opened
from engines.errors import EngineError
from engines.ollama.choice import ModelState
from engines.ollama.facts import Loaded, ModelFacts
from engines.ollama.models import OllamaModels
from engines.ollama.names import whole

Provider: TypeAlias = Literal["builtin", "ollama"]
Standing: TypeAlias = Literal["ready", "loaded", "loading", "waiting", "absent"]


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model.

    Args:
        name: as specs call it; of a server's, with its tag. kind: embedding or chat, None where nobody can tell.
        context: tokens that it reads at once, as it is asked. dimension: of its vectors.
        loaded: whether it is in memory; size_vram: its bytes in the memory of a graphics card.
        bound: objects whose specs name it. state: ready is one that is loaded when it is asked. error: why it cannot be had, or waits.
    """

    name: str
    provider: Provider
    kind: Literal["embedding", "chat"] | None
    digest: str | None
    dimension: int | None
    context: int | None
    loaded: bool
    size_vram: int
    bound: tuple[str, ...]
    state: Standing
    error: str | None = None

    def called(self, name: str) -> bool:
        """Whether this is its name; a tag `latest` may be left out."""
        return self.name == (whole(name) if self.provider == "ollama" else name)

    def bound_to(self, owners: tuple[str, ...]) -> ModelRow:
        """As whoever knows of these objects only is to see it."""
        return replace(self, bound=owners)


def _nothing() -> Mapping[str, Sequence[str]]:
    return {}


class ModelList:
    """Blocking: a server may have to be asked. ready: how it stands with a model that is loaded in turns, from memory; bound: objects by
    the models that they name."""

    def __init__(
        self,
        models: OllamaModels,
        ready: Callable[[str], ModelState] | None = None,
        bound: Callable[[], Mapping[str, Sequence[str]]] = _nothing,
    ) -> None:
        self._models = models
        self._ready = ready
        self._bound = bound

    def rows(self) -> tuple[ModelRow, ...]:
        """By provider and name. Raises nothing for a server that is away."""
        bound = self._bound()
        own = [_own(name, tuple(bound.get(name, ()))) for name in (*builtin.SIZES, minilm.NAME)]
        named = {whole(name): tuple(owners) for name, owners in bound.items() if name not in {*builtin.SIZES, minilm.NAME}}
        return (*own, *self._served(named))

    def _served(self, named: Mapping[str, tuple[str, ...]]) -> list[ModelRow]:
        why: str | None = None
        pulled: Sequence[str] = ()
        loaded: Mapping[str, Loaded] = {}
        try:
            pulled = [model.name for model in self._models.pulled()]
            loaded = {model.name: model for model in self._models.client.loaded()}
        except EngineError as error:
            why = error.explain()
        return [self._row(name, named.get(name, ()), loaded.get(name), why) for name in sorted({*pulled, *named})]

    def _row(self, name: str, bound: tuple[str, ...], loaded: Loaded | None, why: str | None) -> ModelRow:
        facts: ModelFacts | None = None
        if why is None:
            try:
                facts = self._models.facts(name)
            except EngineError as error:
                why = error.explain()
        state, why = self._standing(name, loaded, why, bound)
        return ModelRow(
            name=name,
            provider="ollama",
            kind=facts.kind if facts is not None else None,
            digest=facts.digest if facts is not None else None,
            dimension=facts.dimension if facts is not None else None,
            context=min(facts.context or self._models.server.context, self._models.server.context) if facts is not None else None,
            loaded=loaded is not None,
            size_vram=loaded.vram if loaded is not None else 0,
            bound=bound,
            state=state,
            error=why,
        )

    def _standing(self, name: str, loaded: Loaded | None, why: str | None, bound: tuple[str, ...]) -> tuple[Standing, str | None]:
        if why is not None:
            return "absent", why
        if loaded is not None:
            return "loaded", None
        found = self._ready(name) if self._ready is not None and bound else None
        if found is None or found.phase == "loaded" or found.idle:
            return "ready", None
        return found.phase, found.reason or None


def _own(name: str, bound: tuple[str, ...]) -> ModelRow:
    """One that needs no server. Its digest is that of its weights, as the fingerprint has it."""
    digest: str | None = None
    dimension: int | None = minilm.DIMENSION if name == minilm.NAME else builtin.SIZES[name]
    why: str | None = None
    try:
        digest = fingerprint(name).split("/")[3]
    except EngineError as error:
        why = error.explain()
    there = name in opened()
    state: Standing = "absent" if why is not None else "loaded" if there else "ready"
    return ModelRow(name, "builtin", "embedding", digest, dimension, None, there, 0, bound, state, why)
