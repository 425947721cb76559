"""GET /access/audit and /models/{id}/audit: who read what, newest first, page by page, or counted.

An operator sees every row; anybody else those of its own profile, without what policies did. Read like events, in a thread.
Next: `state/audit_query.py`, which answers; `engines/audit.py`, which writes the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import orjson
from aiohttp import web
from pydantic import ConfigDict, Field

from api.bodies import JSON, Document, at_most, encoded, read_parameters
from api.endpoints import Endpoint
from api.reader import READER, require_all
from api.threads import Threads
from engines.reading import TableName
from state.audit_query import ACTIONS, COLUMNS, OUTCOMES, AuditQuery, AuditSource, Own, answer, columns

SYSTEM_AUDIT = TableName("system.audit")


class ModelAuditParameters(Document):
    """Which reads; the newest hundred without."""

    reader: str | None = Field(None, description="Only reads with this token, by its name; `anonymous` is whoever came without.")
    profile: str | None = Field(None, description="Only reads of this profile.")
    role: str | None = Field(None, description="Only reads in this role.")
    action: str | None = Field(None, description=f"Only of this kind: {', '.join(ACTIONS)}.")
    table: str | None = Field(None, description="Only reads of this table, as SQL calls it: `job_orders`, `system.events`.")
    column: str | None = Field(None, description="Only reads of this column; those of which nobody knows the columns are among them.")
    outcome: str | None = Field(None, description=f"Only reads that ended so: {', '.join(OUTCOMES)}.")
    since: str | None = Field(None, description="Only reads from this time (ISO 8601) or id on.")
    until: str | None = Field(None, description="Only reads before this time (ISO 8601) or id.")
    group: str | None = Field(None, description=f"Count instead: some of {', '.join(COLUMNS)}, separated by commas.")
    limit: int = Field(100, ge=1, description="Reads on a page, or groups.")
    cursor: str | None = Field(None, description="`next` of the page before.")


class AccessAuditParameters(ModelAuditParameters):
    """Which reads; the newest hundred without."""

    model: str | None = Field(None, description="Only searches by this model's vectors, and calls of it.")


class AuditRow(Document):
    """One read. What is not known of it, or does not apply, is not there."""

    id: str = Field(description="A ULID; later reads have greater ones.")
    at: str = Field(description="When it ended.")
    reader: str = Field(description="The token's name, never its value; `anonymous` without one.")
    profile: str | None = None
    role: str | None = None
    action: str
    statement: str | None = Field(None, description="Of a query its SQL, of a search its filter: every literal is `?`.")
    tables: list[str] | None = Field(None, description="Tables that were read, or asked for, as SQL calls them.")
    columns: dict[str, list[str]] | None = Field(None, description="Columns that were read, by table; `*` for any.")
    columns_known: bool | None = Field(None, description="False: the statement does not tell its columns; take it for all.")
    filters: dict[str, str] | None = Field(None, description="For operators: the condition that policies put on rows, by table.")
    masks: dict[str, dict[str, str]] | None = Field(None, description="For operators: masks of policies, by table and column.")
    policies: dict[str, list[str]] | None = Field(None, description="For operators: whose filters and masks these are, by table.")
    versions: dict[str, int] | None = Field(None, description="Of each dataset that was read.")
    rows: int | None = Field(None, description="Of the answer.")
    bytes: int | None = Field(None, description="Of the answer, as Arrow, or of the object.")
    duration_ms: float | None = None
    outcome: str = Field(description="`begun`: its first piece was about to be given; the row of its end has this one's id as `request`.")
    reason: str | None = Field(None, description="Why there was no answer: the problem's slug.")
    bucket: str | None = None
    key: str | None = Field(None, description="Of an object.")
    model: str | None = None
    index: str | None = None
    generation: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    request: str | None = None
    detail: Any = None


class AuditGroup(Document):
    """Reads that have the columns of `group` in common, which are members as well."""

    model_config = ConfigDict(extra="allow")

    count: int
    rows: int
    bytes: int
    p50_ms: float | None = Field(description="The median of their durations.")
    p95_ms: float | None
    first: str
    last: str


class AuditAnswer(Document):
    """A page of reads, newest first; or groups, the most frequent first."""

    rows: list[AuditRow] | None = None
    next: str | None = Field(None, description="The cursor of the next page; null on the last.")
    groups: list[AuditGroup] | None = None


@dataclass(frozen=True, slots=True)
class AuditRoutes:
    """Answers both. of_all, of_model: parameters, with the bound of a page."""

    source: AuditSource
    of_all: type[AccessAuditParameters]
    of_model: type[ModelAuditParameters]
    threads: Threads

    async def all(self, request: web.Request) -> web.StreamResponse:
        """Raises ParametersInvalid, ReadRefused, and StreamInvalid for what no read can have."""
        asked = read_parameters(request, self.of_all)
        return await self._answer(request, replace(_query(asked), model=asked.model))

    async def model(self, request: web.Request) -> web.StreamResponse:
        """As `all`. A model that nobody used has no rows, whether it is there or not."""
        return await self._answer(request, replace(_query(read_parameters(request, self.of_model)), model=request.match_info["id"]))

    async def _answer(self, request: web.Request, query: AuditQuery) -> web.StreamResponse:
        reader = request[READER]
        own = None
        if reader.operator:
            require_all(request, SYSTEM_AUDIT)
        else:
            own = Own(reader.profile, reader.token)
        return encoded(await self.threads.run(lambda wanted: orjson.dumps(answer(self.source, query, own, wanted))))


def _query(asked: ModelAuditParameters) -> AuditQuery:
    """Raises StreamInvalid."""
    given = asked.model_dump(include={"reader", "profile", "role", "action", "table", "column", "outcome", "since", "limit"})
    return AuditQuery(until=asked.cursor or asked.until, group=columns(asked.group or ""), **given)


def endpoints(source: AuditSource, most: int, threads: Threads) -> tuple[Endpoint, ...]:
    """Both routes. most: of a page."""
    of_all, of_model = at_most(AccessAuditParameters, "limit", most), at_most(ModelAuditParameters, "limit", most)
    routes = AuditRoutes(source, of_all, of_model, threads)
    every, one = "Who read what, newest first, or counted", "Who used a model, and for what, newest first, or counted"
    return (
        Endpoint("GET", "/access/audit", every, routes.all, {JSON: AuditAnswer}, parameters=of_all, problems=(400, 403), readers="scoped"),
        Endpoint(
            "GET",
            "/models/{id:.+}/audit",
            one,
            routes.model,
            {JSON: AuditAnswer},
            parameters=of_model,
            problems=(400, 403),
            readers="scoped",
        ),
    )
