"""GET /storage/errors: what failed in which bucket, newest first, page by page, or counted by bucket, operation and class.

Read like events, in a thread. Next: `state/failure_query.py`, which answers; `state/failures.py`, which says what counts as a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import orjson
from aiohttp import web
from pydantic import Field

from api.bodies import JSON, Document, at_most, encoded, read_parameters
from api.endpoints import Endpoint
from api.reader import READER, require_all, require_bucket
from api.threads import Threads
from engines.reading import TableName
from state.failure_query import FailureQuery, FailureSource, answer, columns
from state.failures import FAULTS, OPERATIONS

SYSTEM_ERRORS = TableName("system.errors")


class ErrorParameters(Document):
    """Which failures; the newest hundred without."""

    bucket: str | None = Field(None, description="Only failures of this bucket: one there is, or was when it failed.")
    op: str | None = Field(None, description=f"Only failures of this operation: {', '.join(OPERATIONS)}.")
    kind: str | None = Field(None, alias="class", description=f"Only failures of this class: {', '.join(fault.slug for fault in FAULTS)}.")
    key: str | None = Field(None, description="Only failures of keys that begin with this.")
    since: str | None = Field(None, description="Only failures from this time (ISO 8601) or id on.")
    until: str | None = Field(None, description="Only failures before this time (ISO 8601) or id.")
    group: str | None = Field(None, description="Count instead: some of bucket, op and class, separated by commas.")
    limit: int = Field(100, ge=1, description="Failures on a page, or groups.")
    cursor: str | None = Field(None, description="`next` of the page before.")


class ErrorRow(Document):
    """One failed operation."""

    id: str = Field(description="A ULID; later failures have greater ones.")
    at: str
    bucket: str
    op: str
    key: str
    kind: str = Field(alias="class", description="The error's slug.")
    message: str
    duration_ms: float = Field(description="Of all attempts.")
    attempt: int = Field(description="How many there were; 0 if the bucket was not asked since it had just failed, and another answered.")
    rescued: bool
    rescue_bucket: str | None


class ErrorGroup(Document):
    """How often something failed. Of bucket, op and class those are there that were asked for."""

    bucket: str | None = None
    op: str | None = None
    kind: str | None = Field(None, alias="class")
    count: int
    rescued: int = Field(description="How many of them the rescue bucket answered.")
    first: str
    last: str


class ErrorAnswer(Document):
    """A page of failures, newest first; or groups, the most frequent first."""

    errors: list[ErrorRow] | None = None
    next: str | None = Field(None, description="The cursor of the next page; null on the last.")
    groups: list[ErrorGroup] | None = None
    incomplete: str | None = Field(None, description="Why older ones could not be read, if so.")


@dataclass(frozen=True, slots=True)
class ErrorRoute:
    """Answers it. buckets: the names of those there are; parameters: with the bound of a page."""

    source: FailureSource
    buckets: Callable[[], Collection[str]]
    parameters: type[ErrorParameters]
    threads: Threads

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Raises ParametersInvalid, BucketNotFound, ReadRefused, and StreamInvalid for what no failure can have."""
        query = _query(read_parameters(request, self.parameters), request[READER].bucket)
        if query.bucket is None:
            require_all(request, SYSTEM_ERRORS)
        else:
            require_bucket(request, query.bucket)
        return encoded(await self.threads.run(lambda wanted: orjson.dumps(answer(self.source, query, self.buckets(), wanted))))


def _query(asked: ErrorParameters, bucket: str | None) -> FailureQuery:
    """bucket: where none is asked for. Raises StreamInvalid."""
    return FailureQuery(
        bucket=asked.bucket or bucket,
        op=asked.op,
        kind=asked.kind,
        key=asked.key,
        since=asked.since,
        until=asked.cursor or asked.until,
        group=columns(asked.group or ""),
        limit=asked.limit,
    )


def endpoints(source: FailureSource, buckets: Callable[[], Collection[str]], most: int, threads: Threads) -> tuple[Endpoint, ...]:
    """The route of failures. buckets: the names of those there are; most: of a page."""
    parameters = at_most(ErrorParameters, "limit", most)
    handle = ErrorRoute(source, buckets, parameters, threads).handle
    summary = "What failed in which bucket, newest first, or counted"
    answers, path = {JSON: ErrorAnswer}, "/storage/errors"
    return (Endpoint("GET", path, summary, handle, answers, parameters=parameters, problems=(400,), readers="operators"),)
