"""GET /models and /models/{id}: the models that the lake knows of, which are in memory, who names them, why one cannot be had.

An operator sees all. Anybody else sees the models of its own profile and of indexes that it may search; another one is not there.
`system.models` says the same in SQL. Next: `engines/model_list.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol

from aiohttp import web
from pydantic import Field

from api.bodies import JSON, Document, NoParameters, answer, read_parameters
from api.endpoints import Endpoint
from api.errors import ModelUnknown
from api.reader import READER, may
from api.threads import Threads
from engines.model_list import ModelRow
from engines.reading import IndexName, Reader

_NOT_NOW = "It cannot be had at the moment; operators are told why."


class ModelSource(Protocol):
    """The models. Blocking."""

    def rows(self) -> Sequence[ModelRow]:
        """All."""


class ModelAnswer(Document):
    """One model."""

    name: str = Field(description="As specs call it; of an Ollama server's, with its tag.")
    provider: Literal["builtin", "ollama"]
    kind: Literal["embedding", "chat"] | None
    digest: str | None = Field(description="Of its weights.")
    dimension: int | None = Field(description="Of its vectors.")
    context: int | None = Field(description="Tokens that it reads at once, as it is asked here.")
    loaded: bool
    size_vram: int = Field(description="Bytes of a graphics card's memory that it has now.")
    bound: list[str] = Field(description="Objects whose specs name it, as in Index/resumes.")
    state: Literal["ready", "loaded", "loading", "waiting", "absent"] = Field(description="`ready` is loaded when it is asked.")
    error: str | None = Field(description="Why it cannot be had, or what it waits for; to others than operators, that it is so.")


class ModelsAnswer(Document):
    """All that the reader may know of."""

    models: list[ModelAnswer]


@dataclass(frozen=True, slots=True)
class ModelRoutes:
    """Answers both."""

    models: ModelSource
    threads: Threads

    async def handle_all(self, request: web.Request) -> web.StreamResponse:
        """Every model."""
        read_parameters(request, NoParameters)
        rows = await self.threads.run(lambda _: self.models.rows())
        return answer({"models": [document(row) for row in seen(rows, request[READER])]})

    async def handle_one(self, request: web.Request) -> web.StreamResponse:
        """One by its name. Raises ModelUnknown."""
        read_parameters(request, NoParameters)
        wanted = request.match_info["id"]
        rows = seen(await self.threads.run(lambda _: self.models.rows()), request[READER])
        found = next((row for row in rows if row.called(wanted)), None)
        if found is None:
            raise ModelUnknown(f"There is no model {wanted!r}.", remedy="GET /models lists those there are.")
        return answer(document(found))


def seen(rows: Sequence[ModelRow], reader: Reader) -> list[ModelRow]:
    """What a reader may know of, with the objects that it may know of; why one waits names others, and the server."""
    if reader.operator and reader.bucket is None:
        return list(rows)
    rows = [replace(row, error=row.error and _NOT_NOW) for row in rows]
    visible = ((row, tuple(owner for owner in row.bound if _visible(owner, reader))) for row in rows)
    return [row.bound_to(owners) for row, owners in visible if owners]


def _visible(owner: str, reader: Reader) -> bool:
    kind, _, name = owner.partition("/")
    if kind == "Profile":
        return name == reader.profile
    return kind == "Index" and may(reader, IndexName(name), "describe")


def document(row: ModelRow) -> dict[str, Any]:
    """As `ModelAnswer`."""
    return asdict(row) | {"bound": list(row.bound)}


def endpoints(models: ModelSource, threads: Threads) -> tuple[Endpoint, ...]:
    """A name may hold `:` and `/`."""
    routes = ModelRoutes(models, threads)
    return (
        Endpoint("GET", "/models", "The models that the lake knows of", routes.handle_all, {JSON: ModelsAnswer}, readers="scoped"),
        Endpoint("GET", "/models/{id:.+}", "One model", routes.handle_one, {JSON: ModelAnswer}, problems=(404,), readers="scoped"),
    )
