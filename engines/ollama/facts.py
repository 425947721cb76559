"""What is known of an Ollama server and its models. Plain data; next: `client.py`, which asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal["embedding", "chat"]


@dataclass(frozen=True, slots=True)
class Pulled:
    """A model that the server has. name: with its tag; size: bytes on disk."""

    name: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is in memory. vram: its bytes in the memory of the graphics card; size: all of it."""

    name: str
    digest: str
    size: int
    vram: int
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model. context: tokens that it reads at once; dimension: of its vectors. None where the server does not say."""

    name: str
    digest: str
    kind: Kind
    size: int
    context: int | None = None
    dimension: int | None = None


def facts_of(pulled: Pulled, info: Mapping[str, Any], capabilities: tuple[str, ...], family: str | None) -> ModelFacts:
    """info: `model_info` of /api/show, whose keys begin with the architecture. A server that tells no capabilities tells the family."""
    architecture = str(info.get("general.architecture", ""))

    def number(name: str) -> int | None:
        value = info.get(f"{architecture}.{name}")
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None

    embeds = "embedding" in capabilities if capabilities else "bert" in (family or architecture)
    kind: Kind = "embedding" if embeds else "chat"
    dimension = number("embedding_length") if embeds else None
    return ModelFacts(pulled.name, pulled.digest, kind, pulled.size, number("context_length"), dimension)
