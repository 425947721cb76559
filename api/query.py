"""POST /query: SQL in, rows out, as JSON, CSV or an Arrow stream. What answered is said every time.

The SQL is not looked at here: parsing, planning and running are the query service's, in processes that may die of it. A result that is
large is encoded in a thread, so that one client's ten thousand rows do not hold up the others.

Next: `engines/sql/service.py` for what runs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import orjson
from aiohttp import web
from anyio import to_thread
from pydantic import AfterValidator, Field, WithJsonSchema

from api.bodies import JSON, Document, Moments, Schemas, encoded, preferred, read_body
from api.csv_text import csv_text
from api.endpoints import Endpoint
from api.reader import READER
from api.rescue import HEADERS, LOST_HEADERS, RESCUES, lost_headers, rescue_headers
from engines.at import at_from
from engines.reading import Reader
from engines.sql.query_request import QueryRequest

ARROW = "application/vnd.apache.arrow.stream"
CSV = "text/csv"
VERSIONS = "X-Lakehouse-Versions"
TRUNCATED = "X-Lakehouse-Truncated"

LARGE = 64 << 10
"""Bytes of text from which on it is worth a thread to write it."""


class QueryResult(Protocol):
    """What answered a query: an Arrow IPC stream and what is known about it."""

    @property
    def ipc(self) -> bytes | memoryview:
        """The Arrow IPC stream."""

    @property
    def text(self) -> int:
        """About how many bytes the rows are as JSON."""

    @property
    def truncated(self) -> bool:
        """Whether rows or bytes were cut off at a limit."""

    @property
    def versions(self) -> Mapping[str, int]:
        """The version of each table that was read."""

    @property
    def lost(self) -> Mapping[str, int]:
        """Rows that no bucket has any more, by Dataset."""

    @property
    def rescues(self) -> Sequence[str]:
        """Buckets that gave files in another's place."""

    def columns(self) -> Sequence[Mapping[str, str]]:
        """name and type of each column, in order."""

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """The rows as JSON values. CPU."""


class QueryService(Protocol):
    """Runs SQL for a reader. Raises EngineError."""

    async def run(self, request: QueryRequest, reader: Reader) -> QueryResult:
        """The result of one read-only statement."""


def _parameter(value: object) -> object:
    parts = value if isinstance(value, list) else [value]
    if any(isinstance(part, list | dict) for part in parts):
        raise ValueError("must be text, a number, true, false, null, or a list of these")
    return value


_SCALAR: dict[str, Any] = {"type": ["string", "number", "boolean", "null"]}
Parameter = Annotated[Any, AfterValidator(_parameter), WithJsonSchema({"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR}]})]


class QueryBody(Document):
    """A query."""

    sql: str = Field(min_length=1, description="One read-only SQL statement.")
    params: dict[str, Parameter] = Field(
        default_factory=dict, description="Values of the `$name` placeholders in the statement; a list is an array: `= ANY($names)`."
    )
    at: Moments | None = Field(
        None, description="Former versions to read: a number or an instant (ISO 8601) for every table, or one of them by table."
    )
    schema_: Schemas | None = Field(
        None, alias="schema", description="Read tables under a former schema: its id for every table, or one by table."
    )
    max_rows: int | None = Field(None, ge=1, description="Rows wanted at most; the server's own limit holds anyway.")


class QueryColumn(Document):
    """A column of a result."""

    name: str
    type: str = Field(description="As in a Dataset's columns: string, int64, float64, bool, date, timestamp, decimal(p,s), ...")


class QueryAnswer(Document):
    """A result as JSON."""

    columns: list[QueryColumn]
    rows: list[dict[str, Any]] = Field(description="One object a row. Dates as ISO 8601, decimals as text, binary as base64, NaN as null.")
    truncated: bool = Field(description="Whether rows were cut off at a limit.")
    versions: dict[str, int] = Field(description="The version of each table that was read.")
    lost: dict[str, int] = Field(
        default_factory=dict, description="Only where files are lost: how many rows each dataset had in them, which are not in the answer."
    )
    rescues: list[str] = Field(default_factory=list, description=RESCUES)


@dataclass(frozen=True, slots=True)
class QueryRoute:
    """Answers POST /query. most_rows: of any result."""

    service: QueryService
    most_rows: int

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Raises what the service raises, and faults of the body."""
        media_type = preferred(request, (JSON, ARROW, CSV))
        body = await read_body(request, QueryBody)
        most = self.most_rows if body.max_rows is None else min(body.max_rows, self.most_rows)
        asked = QueryRequest(body.sql, body.params, at=at_from(body.at, body.schema_), max_rows=most)
        result = await self.service.run(asked, request[READER])
        rescues = rescue_headers(result.rescues) | lost_headers(result.lost)
        if media_type == ARROW:
            ipc = result.ipc if isinstance(result.ipc, bytes) else await to_thread.run_sync(bytes, result.ipc)
            return encoded(ipc, ARROW, _facts(result) | rescues)
        write = _as_json if media_type == JSON else _as_csv
        content = write(result) if result.text < LARGE else await to_thread.run_sync(write, result)
        return encoded(content, media_type, rescues if media_type == JSON else _facts(result) | rescues)


def _as_json(result: QueryResult) -> bytes:
    content = {"columns": result.columns(), "rows": result.rows(), "truncated": result.truncated, "versions": result.versions}
    caveats = {"lost": result.lost, "rescues": result.rescues}
    return orjson.dumps(content | {name: value for name, value in caveats.items() if value})


def _as_csv(result: QueryResult) -> bytes:
    return csv_text([column["name"] for column in result.columns()], result.rows()).encode()


def _facts(result: QueryResult) -> dict[str, str]:
    """What JSON says in the document, as headers."""
    return {VERSIONS: orjson.dumps(result.versions).decode(), TRUNCATED: "true" if result.truncated else "false"}


def endpoints(service: QueryService, most_rows: int) -> tuple[Endpoint, ...]:
    """The route of queries."""
    headers = {
        VERSIONS: "Arrow and CSV: the versions as JSON.",
        TRUNCATED: "Arrow and CSV: `true` if rows were cut off.",
        **HEADERS,
        **LOST_HEADERS,
    }
    return (
        Endpoint(
            "POST",
            "/query",
            "Run one read-only SQL statement",
            QueryRoute(service, most_rows).handle,
            {JSON: QueryAnswer, ARROW: None, CSV: None},
            body=QueryBody,
            headers=headers,
            problems=(400, 403, 404, 406, 413, 415, 422, 429, 503, 504),
            readers="scoped",
            audited=True,
        ),
    )
