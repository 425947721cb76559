"""POST /search: the chunks of an index nearest to a text or a vector, with one similarity whatever the engine.

Next: `engines/search.py`, which embeds, filters and ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol, Self

import orjson
from aiohttp import web
from pydantic import ConfigDict, Field, JsonValue, model_validator

from api.bodies import JSON, Document, at_most, encoded, read_body
from api.endpoints import Endpoint
from api.reader import READER
from api.rescue import HEADERS, RESCUES, rescue_headers
from engines.at import at_from
from engines.reading import Reader
from engines.search import SearchRequest, SearchResult

MOST_DIMENSIONS = 16_384


class SearchService(Protocol):
    """Searches an index for a reader. Raises EngineError."""

    async def search(self, request: SearchRequest, reader: Reader) -> SearchResult:
        """The hits, best first."""


Number = Annotated[float, Field(allow_inf_nan=False)]


_ONE_QUESTION: list[JsonValue] = [
    {"required": ["text"], "properties": {"text": {"type": "string"}, "vector": {"type": "null"}}},
    {"required": ["vector"], "properties": {"vector": {"type": "array"}, "text": {"type": "null"}}},
]


class SearchBody(Document):
    """A search, by exactly one of text and vector."""

    model_config = ConfigDict(json_schema_extra={"oneOf": _ONE_QUESTION})

    index: str = Field(min_length=1, description="The Index's name.")
    text: str | None = Field(None, min_length=1, description="What to look for; embedded by the index's own model.")
    vector: list[Number] | None = Field(
        None, min_length=1, max_length=MOST_DIMENSIONS, description="An embedding made by the same model; then `model` should say which."
    )
    k: int = Field(10, ge=1, description="Hits wanted.")
    filter: str | None = Field(None, min_length=1, description="A SQL condition over the dataset's columns; only its rows are searched.")
    at: int | str | dict[str, int | str] | None = Field(
        None,
        description="A former version of the index's dataset: its number, or an instant (ISO 8601). Hits are rows and texts of it; "
        "`coverage` says what could not be searched.",
    )
    model: str | None = Field(None, min_length=1, description="The model the client believes in; another one is refused.")

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        if (self.text is None) == (self.vector is None):
            raise ValueError("Exactly one of `text` and `vector` is needed.")
        return self


class SearchHit(Document):
    """A chunk that was found."""

    key: str = Field(description="The row: its primary key as canonical JSON, or `<file digest>:<row>`.")
    chunk: int = Field(description="Which chunk of the row's text, from 0.")
    text: str = Field(description="The chunk's text.")
    score: float = Field(description="Cosine similarity: higher is better, 1 is equal.")


class SearchCoverage(Document):
    """Of a former version."""

    version: int = Field(description="The version whose texts the build that answered holds.")
    missing: int = Field(description="Rows of the wanted version that this build lacks, or has with another text: they cannot be found.")


class SearchAnswer(Document):
    """Hits, best first, and what found them."""

    hits: list[SearchHit]
    index: str
    generation: str | None = Field(description="The IndexGeneration that answered; null if the recommended recipe was built without one.")
    versions: dict[str, int] = Field(description="The version of the dataset that the index holds, or that `at` asked for.")
    coverage: SearchCoverage | None = Field(None, description="With `at`: what of that version was searched.")
    rescues: list[str] = Field(default_factory=list, description=RESCUES)


@dataclass(frozen=True, slots=True)
class SearchRoute:
    """Answers POST /search. body: with the bound of hits."""

    service: SearchService
    body: type[SearchBody]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Raises what the service raises, and faults of the body."""
        body = await read_body(request, self.body)
        wanted = SearchRequest(
            index=body.index,
            text=body.text,
            vector=body.vector,
            k=body.k,
            filter=body.filter,
            model=body.model,
            at=None if body.at is None else at_from(body.at),
        )
        result = await self.service.search(wanted, request[READER])
        hits = [{"key": hit.key, "chunk": hit.chunk, "text": hit.text, "score": hit.score} for hit in result.hits]
        content: dict[str, object] = {"hits": hits, "index": result.index, "generation": result.generation, "versions": result.versions}
        if result.coverage is not None:
            content["coverage"] = {"version": result.coverage.version, "missing": result.coverage.missing}
        content |= {"rescues": result.rescues} if result.rescues else {}
        return encoded(orjson.dumps(content), headers=rescue_headers(result.rescues))


def endpoints(service: SearchService, most_hits: int) -> tuple[Endpoint, ...]:
    """The route of searches. most_hits: of any of them."""
    body = at_most(SearchBody, "k", most_hits)
    return (
        Endpoint(
            "POST",
            "/search",
            "Find the chunks of an index nearest to a text or a vector",
            SearchRoute(service, body).handle,
            {JSON: SearchAnswer},
            body=body,
            headers=HEADERS,
            problems=(400, 403, 404, 413, 415, 422, 501, 503, 504),
        ),
    )
