"""GET /status: one row an object, as the loop last wrote it, and who writes.

A reader who is no operator is told of the Datasets and Indexes that it sees, and of its own Profile; messages count rows and name files, so
it has them of what it sees whole, and of that only where it is ready: what something waits for may be what the reader may not know of.
Statuses are read from memory; nothing is observed here. Next: `state/status.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import orjson
from aiohttp import web
from pydantic import Field

from api.bodies import JSON, Document, encoded, read_parameters
from api.endpoints import Endpoint
from api.reader import READER, require_all
from api.sight import dataset_seen, dataset_whole, index_seen, index_whole
from api.threads import Threads
from engines.reading import Reader, TableName
from state.catalog.fold import ObjectState
from state.status import Status

SYSTEM_STATUS = TableName("system.status")


class StatusSource(Protocol):
    """What is known of all objects."""

    def revision(self) -> str | None:
        """The newest revision that was looked at; None before the first."""

    def all(self, kind: str | None = None, name: str | None = None) -> Iterable[Status]:
        """Every object's status, or those of a kind and of a name. From memory; may be called from any thread."""


class ObjectCatalog(Protocol):
    """The catalog, for reading. Blocking."""

    def get(self, name: str) -> ObjectState | None:
        """An object by "Kind/name"."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """The process that answers. since: ISO 8601, when it started; listen: host:port."""

    since: str
    listen: str
    pid: int


class StatusParameters(Document):
    """Which objects; all without."""

    kind: str | None = Field(None, description="Only objects of this kind.")
    name: str | None = Field(None, description="Only objects of this name.")


class StatusRow(Document):
    """One object."""

    kind: str
    name: str
    ready: Literal["True", "False", "Unknown"]
    reason: str = Field(description="A documented constant.")
    message: str = Field(description="For people: the one blocker, and the next step.")
    revision: str | None = Field(description="The commit of the spec that was observed.")
    applied_revision: str | None = Field(description="The last commit whose spec became Ready.")
    observed_at: str | None = Field(description="ISO 8601; null if nobody looked yet.")
    digest: str | None = Field(description="Of the observed spec.")


class DaemonRow(Document):
    """The process that answers."""

    since: str
    listen: str
    pid: int


class StatusAnswer(Document):
    """All objects, ordered by kind and name."""

    revision: str | None = Field(description="The newest revision that was looked at.")
    objects: list[StatusRow]
    daemon: DaemonRow | None = Field(description="null for readers who are no operators.")


@dataclass(frozen=True, slots=True)
class StatusRoute:
    """Answers GET /status."""

    source: StatusSource
    catalog: ObjectCatalog
    daemon: Daemon
    threads: Threads

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """In a thread, since there may be a hundred thousand objects."""
        reader = request[READER]
        if reader.operator:
            require_all(request, SYSTEM_STATUS)
        asked = read_parameters(request, StatusParameters)
        return encoded(await self.threads.run(lambda wanted: self.document(asked, reader)))

    def document(self, asked: StatusParameters, reader: Reader) -> bytes:
        """The answer as JSON, for this reader. Blocking."""
        statuses = self.source.all(asked.kind, asked.name)
        revision, daemon = None, None
        if reader.operator:
            revision = self.source.revision()
            daemon = {"since": self.daemon.since, "listen": self.daemon.listen, "pid": self.daemon.pid}
        else:
            statuses = [told for status in statuses if (told := self._told(status, reader)) is not None]
        found = sorted(statuses, key=lambda status: (status.kind, status.name))
        return orjson.dumps({"revision": revision, "objects": [status.to_document() for status in found], "daemon": daemon})

    def _told(self, status: Status, reader: Reader) -> Status | None:
        """What a reader who is no operator is told of an object; None where it may not know of it."""
        state = self.catalog.get(status.object)
        match status.kind:
            case "Profile":
                seen = whole = status.name == reader.profile
            case "Dataset":
                seen, whole = dataset_seen(reader, status.name, state), dataset_whole(reader, status.name, state)
            case "Index":
                known = state if state is not None else ObjectState(status.object)
                seen, whole = index_seen(reader, known), index_whole(reader, known)
            case _:
                return None
        if not seen:
            return None
        return status if whole and status.ready == "True" else replace(status, message="")


def endpoints(source: StatusSource, catalog: ObjectCatalog, daemon: Daemon, threads: Threads) -> tuple[Endpoint, ...]:
    """The route of statuses."""
    route = StatusRoute(source, catalog, daemon, threads)
    summary = "The state of every object"
    answers, asked = {JSON: StatusAnswer}, StatusParameters
    return (Endpoint("GET", "/status", summary, route.handle, answers, parameters=asked, problems=(400,), readers="scoped"),)
