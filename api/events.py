"""GET /events: what happened and why, newest first, page by page.

Reading touches objects and write-ahead files, so it runs in a thread. Events are kept for ever, and a filter that nothing passes looks at
all of them: a page that nobody waits for any more is not read to its end. A cursor is the id of the last event of a page: events are
ordered by id and never change, so a page cannot shift while new events arrive. Next: `state/streams/reading.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Any, Literal, Protocol

import orjson
from aiohttp import web
from pydantic import Field

from api.bodies import JSON, Document, at_most, encoded, read_parameters
from api.endpoints import Endpoint
from api.reader import require_all
from api.threads import Threads, Wanted
from engines.reading import TableName
from state.streams.reading import Record, matching

STREAM = "events"
SYSTEM_EVENTS = TableName("system.events")


class EventSource(Protocol):
    """Streams, for reading."""

    def records(self, stream: str, *, since: str | None = None, until: str | None = None, newest_first: bool = False) -> Iterator[Record]:
        """Events from `since` on and before `until` (ids or ISO 8601), unparsed. Blocking while iterated. Raises StreamInvalid at once."""


class EventParameters(Document):
    """Which events; the newest hundred without."""

    object: str | None = Field(None, description="Only events of this object, as Kind/name.")
    kind: str | None = Field(None, description="Only events of objects of this kind.")
    type: Literal["Normal", "Warning"] | None = Field(None, description="Only events of this type.")
    reason: str | None = Field(None, description="Only events of this reason.")
    since: str | None = Field(None, description="Only events from this time (ISO 8601) or id on.")
    limit: int = Field(100, ge=1, description="Events on a page.")
    cursor: str | None = Field(None, description="`next` of the page before.")


class EventRow(Document):
    """One event."""

    id: str = Field(description="A ULID; later events have greater ones.")
    at: str
    object: str | None = None
    kind: str | None = None
    name: str | None = None
    type: str | None = None
    reason: str | None = None
    message: str | None = None
    revision: str | None = None
    actor: str | None = None
    request: str | None = Field(None, description="The id of the request that caused it.")
    detail: Any = None


class EventAnswer(Document):
    """A page of events, newest first."""

    events: list[EventRow]
    next: str | None = Field(description="The cursor of the next page; null on the last.")


@dataclass(frozen=True, slots=True)
class EventRoute:
    """Answers GET /events. parameters: with the bound of a page."""

    source: EventSource
    parameters: type[EventParameters]
    threads: Threads

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Raises StreamInvalid for a time or cursor that is none."""
        require_all(request, SYSTEM_EVENTS)
        asked = read_parameters(request, self.parameters)
        return encoded(await self.threads.run(lambda wanted: self.document(asked, wanted)))

    def document(self, asked: EventParameters, wanted: Wanted) -> bytes:
        """The page as JSON, cut short once it is not wanted. Blocking."""
        where = {name: value for name in ("object", "kind", "type", "reason") if (value := getattr(asked, name)) is not None}
        records = self.source.records(STREAM, since=asked.since, until=asked.cursor, newest_first=True)
        # One more than asked for is read, to know whether there is a next page.
        found = list(islice(matching(takewhile(lambda _: wanted(), records), where), asked.limit + 1))
        page = found[: asked.limit]
        following = page[-1]["id"] if len(found) > len(page) else None
        return orjson.dumps({"events": [_row(event) for event in page], "next": following})


def _row(event: Mapping[str, Any]) -> dict[str, Any]:
    """`detail` is JSON as text in the stream; here it is part of the document."""
    detail = event.get("detail")
    return {**event, "detail": orjson.loads(detail) if isinstance(detail, str) else detail}


def endpoints(source: EventSource, most: int, threads: Threads) -> tuple[Endpoint, ...]:
    """The route of events. most: events of a page."""
    parameters = at_most(EventParameters, "limit", most)
    route = EventRoute(source, parameters, threads)
    summary = "What happened, newest first"
    return (
        Endpoint("GET", "/events", summary, route.handle, {JSON: EventAnswer}, parameters=parameters, problems=(400,), readers="operators"),
    )
