"""POST /search: the chunks of an index nearest to a text or a vector, with one similarity whatever the engine, or by words, or both.

Next: `engines/search.py`, which embeds and filters, `engines/ranking.py`, which ranks, `engines/comparing.py` for two side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, Self

import orjson
from aiohttp import web
from pydantic import ConfigDict, Field, JsonValue, RootModel, model_validator

from api.bodies import JSON, Document, Moments, at_most, encoded, read_body, read_parameters
from api.endpoints import Endpoint
from api.errors import FieldFault, ParametersInvalid
from api.reader import READER
from api.rescue import HEADERS, RESCUES, rescue_headers
from engines.at import at_from
from engines.comparing import compare, compare_over
from engines.judgments import Query
from engines.ranking import Mode, Ranking
from engines.reading import Reader
from engines.search_answer import Hit, SearchRequest, SearchResult
from engines.sql.facets import LONGEST_NAME, MOST_FACETS, MOST_VALUES

MOST_DIMENSIONS = 16_384


class SearchService(Protocol):
    """Searches an index for a reader. Raises EngineError."""

    async def search(self, request: SearchRequest, reader: Reader) -> SearchResult:
        """The hits, best first."""

    async def judged(self, request: SearchRequest, reader: Reader) -> Mapping[str, frozenset[str]]:
        """Keys of the rows that are relevant for the request's text, by the EvalSet that says so."""

    async def queries(self, index: str, eval_set: str, reader: Reader) -> Mapping[Query, frozenset[str]]:
        """The queries of an EvalSet, each with the keys of its relevant rows."""


Number = Annotated[float, Field(allow_inf_nan=False)]
ColumnName = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]


_ONE_QUESTION: list[JsonValue] = [
    {"required": ["text"], "properties": {"text": {"type": "string"}, "vector": {"type": "null"}, "evalSet": {"type": "null"}}},
    {"required": ["vector"], "properties": {"vector": {"type": "array"}, "text": {"type": "null"}, "evalSet": {"type": "null"}}},
    {
        "required": ["evalSet", "ab"],
        "properties": {"evalSet": {"type": "string"}, "ab": {"type": "array"}, "text": {"type": "null"}, "vector": {"type": "null"}},
    },
]


class SearchWeights(Document):
    """What a rank counts in mode hybrid."""

    vector: Number = Field(1.0, ge=0, description="Of a rank by vectors.")
    lexical: Number = Field(1.0, ge=0, description="Of a rank by words.")


class SearchShare(Document):
    """A threshold that means the same for every build and model."""

    beats: Number = Field(ge=0, lt=1, description="Share of pairs of unrelated chunks of the build whose cosine a hit's is above.")


class SearchBody(Document):
    """A search, by exactly one of text and vector; or, with `ab`, all those of an EvalSet."""

    model_config = ConfigDict(json_schema_extra={"oneOf": _ONE_QUESTION})

    index: str = Field(min_length=1, description="The Index's name.")
    text: str | None = Field(None, min_length=1, description="What to look for; embedded by the index's own model.")
    vector: list[Number] | None = Field(
        None, min_length=1, max_length=MOST_DIMENSIONS, description="An embedding made by the same model; then `model` should say which."
    )
    k: int = Field(10, ge=1, description="Hits wanted.")
    filter: str | None = Field(None, min_length=1, description="A SQL condition over the dataset's columns; only its rows are searched.")
    at: Moments | None = Field(
        None,
        description="A former version of the index's dataset: its number, or an instant (ISO 8601). Hits are rows and texts of it; "
        "`coverage` says what could not be searched.",
    )
    model: str | None = Field(
        None,
        min_length=1,
        description="Whose vectors are searched: a model that the index has, by its name or fingerprint. Left out, what serves.",
    )
    ab: list[str] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="Two models of the index, or two of its generations: both answer, side by side, and their answers are compared.",
    )
    eval_set: str | None = Field(
        None, min_length=1, description="With `ab`, in the place of text and filter: both answer every query of this EvalSet of the index."
    )

    mode: Mode | None = Field(
        None,
        description="By vectors, words (BM25) or both. Left out: hybrid for a text where the Index is `lexical: true`, else vector.",
    )
    weights: SearchWeights | None = Field(None, description="Of the two in mode hybrid; 1 and 1 if left out.")
    threshold: Number | SearchShare | None = Field(None, description="The least cosine of a hit, or the share of unrelated pairs it beats.")
    group_by: Literal["row"] | None = Field(None, description="`row`: the best chunk of each row only.")
    diversity: Number = Field(0.0, ge=0, le=1, description="How much a hit is to be unlike those before it: maximal marginal relevance.")
    rerank: Literal["builtin"] | None = Field(None, description="`builtin`: the best are judged again, token by token.")
    explain: bool = Field(False, description="Whether the answer tells each stage's candidates and scores.")
    facets: list[ColumnName] | None = Field(
        None,
        max_length=MOST_FACETS,
        description="Columns of the dataset: how often their values come among the rows of the index that pass `filter`.",
    )

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        if self.eval_set is not None and (self.ab is None or any(given is not None for given in (self.text, self.vector, self.filter))):
            raise ValueError("`evalSet` goes with `ab`, in the place of `text`, `vector` and `filter`.")
        if self.eval_set is None and (self.text is None) == (self.vector is None):
            raise ValueError("Exactly one of `text` and `vector` is needed.")
        if self.ab is not None and (self.model is not None or self.ab[0] == self.ab[1]):
            raise ValueError("`ab` names two different models or generations, in the place of `model`.")
        if self.ab is not None and self.facets:
            raise ValueError("`facets` are those of one answer: leave them out, or `ab`.")
        return self


class SearchParameters(Document):
    """What may stand in the address as well."""

    model: str | None = Field(None, min_length=1, description="As `model` of the body, in its place.")


class SearchHit(Document):
    """A chunk that was found."""

    key: str = Field(description="The row: its primary key as canonical JSON, or `<file digest>:<row>`.")
    chunk: int = Field(description="Which chunk of the row's text, from 0.")
    text: str = Field(description="The chunk's text.")
    score: float = Field(
        description="Higher is better. Mode vector: cosine similarity, 1 is equal. Mode lexical: BM25. Mode hybrid: reciprocal ranks, 1 is "
        "first in both. With `rerank`, the reranker's."
    )
    headings: list[str] | None = Field(
        None, description="That lead to the chunk, outermost first, where the Index has `chunk: {by: structure}`; `text` begins with them."
    )
    path: str | None = Field(None, description="Of a document: its file, as the glob of the dataset finds it.")
    page: int | None = Field(None, description="Of a PDF: the page, from 1.")


class SearchCandidate(Document):
    """A chunk that a stage let through."""

    key: str
    chunk: int
    rank: int
    score: float


class SearchStage(Document):
    """What a stage of the ranking did."""

    model_config = ConfigDict(extra="allow")

    stage: str = Field(description="filter, vector, lexical, fusion, threshold, group, rerank, diversity or facets, in this order.")
    candidates: list[SearchCandidate] = Field(description="Best first, with the stage's own scores.")


class SearchCoverage(Document):
    """Of a former version."""

    version: int = Field(description="The version whose texts the build that answered holds.")
    missing: int = Field(description="Rows of the wanted version that this build lacks, or has with another text: they cannot be found.")


class SearchFacetValue(Document):
    """A value of a column."""

    value: JsonValue = Field(description="As the reader is shown it, in the form that `POST /query` gives it.")
    count: int = Field(description="Rows that have it.")


class SearchFacet(Document):
    """How often the values of a column come among the rows that could be found, whatever is looked for."""

    values: list[SearchFacetValue] = Field(description=f"The {MOST_VALUES} that most rows have; equal counts by value, null last.")
    rows: int = Field(description="Rows of the index that pass `filter`, as far as the reader may see them.")
    distinct: int = Field(description="Different values of these rows, null among them.")


class SearchAnswer(Document):
    """Hits, best first, and what found them."""

    hits: list[SearchHit]
    mode: Mode = Field(description="By what candidates were found.")
    index: str
    model: str = Field(description="Whose vectors were searched.")
    generation: str | None = Field(description="The IndexGeneration that answered; null if the recommended recipe was built without one.")
    versions: dict[str, int] = Field(description="The version of the dataset that the index holds, or that `at` asked for.")
    coverage: SearchCoverage | None = Field(None, description="With `at`: what of that version was searched.")
    rescues: list[str] = Field(default_factory=list, description=RESCUES)
    stages: list[SearchStage] | None = Field(None, description="With `explain`: the stages of the ranking.")
    facets: dict[str, SearchFacet] | None = Field(None, description="With `facets`: by column.")


class Agreement(Document):
    """How far two answers agree: of the rows of their hits, each by its best hit."""

    k: int = Field(description="Hits wanted of each.")
    overlap: float | None = Field(description="Share of the longer answer's rows that both have; null where neither has any.")
    rank_correlation: float | None = Field(
        description="Kendall's tau-b over the rows that either has, from -1 to 1; a row that one lacks stands behind all it has. Null "
        "where an answer ranks nothing."
    )
    ndcg: dict[str, tuple[float, float]] = Field(
        description="By each EvalSet that has this text, with this filter, and relevant rows: nDCG@k of both answers."
    )


class SearchComparison(Document):
    """With `ab`: both answers, in the order of their names."""

    ab: tuple[SearchAnswer, SearchAnswer]
    agreement: Agreement


class SearchSetComparison(Document):
    """With `ab` and `evalSet`: means over the queries of the set for which they are known; null where there is none."""

    eval_set: str
    ab: tuple[str, str]
    k: int
    queries: int
    judged: int = Field(description="Queries with relevant rows.")
    overlap: float | None = Field(description="As in `agreement` of one comparison.")
    rank_correlation: float | None = Field(description="As in `agreement` of one comparison.")
    ndcg: tuple[float, float] | None = Field(description="nDCG@k of both over the judged queries.")
    better: tuple[int, int] = Field(description="Of the judged queries, for how many each has the greater nDCG.")


class SearchReply(RootModel[SearchAnswer | SearchComparison | SearchSetComparison]):
    """An answer, or two with `ab`, or how far all of an EvalSet agree."""


@dataclass(frozen=True, slots=True)
class SearchRoute:
    """Answers POST /search. body: with the bound of hits."""

    service: SearchService
    body: type[SearchBody]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Raises what the service raises, and faults of the body."""
        body, model = await read_body(request, self.body), read_parameters(request, SearchParameters).model
        if model is not None and (body.ab is not None or body.model not in (None, model)):
            raise ParametersInvalid([FieldFault("model", "is another than the body's, or goes with `ab`")])
        body = body if model is None else body.model_copy(update={"model": model})
        content = await answered(self.service, body, request[READER])
        return encoded(orjson.dumps(content), headers=rescue_headers(rescues_of(content)))


async def answered(service: SearchService, body: SearchBody, reader: Reader) -> dict[str, Any]:
    """The answer to a body, JSON-able. Raises what the service raises, and what reading `at` raises."""
    request = request_of(body)
    if body.ab is None:
        return document(await service.search(request, reader))
    if body.eval_set is not None:
        over = await compare_over(service, request, body.ab, body.eval_set, reader)
        means = {"overlap": over.overlap, "rankCorrelation": over.rank_correlation, "ndcg": over.ndcg, "better": list(over.better)}
        return {"evalSet": over.eval_set, "ab": body.ab, "k": over.k, "queries": over.queries, "judged": over.judged, **means}
    compared = await compare(service, request, body.ab, reader)
    found = compared.comparison
    agreement = {"k": found.k, "overlap": found.overlap, "rankCorrelation": found.rank_correlation}
    return {
        "ab": [document(result) for result in compared.answers],
        "agreement": agreement | {"ndcg": {name: list(gains) for name, gains in found.ndcg.items()}},
    }


def rescues_of(content: Mapping[str, Any]) -> list[str]:
    """The rescue buckets that an answer names, or either of two; a comparison over an EvalSet tells none."""
    answers = content["ab"] if "agreement" in content else [content]
    return sorted({name for answer in answers for name in answer.get("rescues", ())})


def request_of(body: SearchBody) -> SearchRequest:
    """What the service is asked. Raises what reading `at` raises."""
    share = body.threshold.beats if isinstance(body.threshold, SearchShare) else None
    weights = body.weights or SearchWeights.model_validate({})
    ranking = Ranking(
        mode=body.mode,
        vector_weight=weights.vector,
        lexical_weight=weights.lexical,
        threshold=None if isinstance(body.threshold, SearchShare) else body.threshold,
        beats=share,
        by_row=body.group_by == "row",
        diversity=body.diversity,
        rerank=body.rerank,
        explain=body.explain,
    )
    return SearchRequest(
        index=body.index,
        text=body.text,
        vector=body.vector,
        k=body.k,
        filter=body.filter,
        model=body.model,
        at=None if body.at is None else at_from(body.at),
        ranking=ranking,
        facets=tuple(dict.fromkeys(body.facets or ())),
    )


def document(result: SearchResult) -> dict[str, Any]:
    """The answer, JSON-able."""
    content: dict[str, Any] = {"hits": [_hit(hit) for hit in result.hits], "mode": result.mode, "index": result.index}
    content["model"] = result.model
    content["generation"] = result.generation
    content["versions"] = dict(result.versions)
    if result.coverage is not None:
        content["coverage"] = {"version": result.coverage.version, "missing": result.coverage.missing}
    if result.rescues:
        content["rescues"] = list(result.rescues)
    if result.stages is not None:
        content["stages"] = [stage.to_dict() for stage in result.stages]
    if result.facets is not None:
        content["facets"] = {column: facet.to_dict() for column, facet in result.facets.items()}
    return content


def _hit(hit: Hit) -> dict[str, Any]:
    content: dict[str, Any] = {"key": hit.key, "chunk": hit.chunk, "text": hit.text, "score": hit.score}
    more = {"headings": hit.headings or None, "path": hit.path, "page": hit.page}
    return content | {name: value for name, value in more.items() if value is not None}


def endpoints(service: SearchService, most_hits: int) -> tuple[Endpoint, ...]:
    """The route of searches. most_hits: of any of them."""
    body = at_most(SearchBody, "k", most_hits)
    return (
        Endpoint(
            "POST",
            "/search",
            "Find the chunks of an index nearest to a text or a vector",
            SearchRoute(service, body).handle,
            {JSON: SearchReply},
            body=body,
            parameters=SearchParameters,
            headers=HEADERS,
            problems=(400, 403, 404, 413, 415, 422, 429, 501, 503, 504),
            readers="scoped",
            audited=True,
        ),
    )
