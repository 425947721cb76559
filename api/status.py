"""GET /status: one row an object, as the loop last wrote it, and who writes.

Statuses are read from memory; nothing is observed here. Next: `state/status.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

import orjson
from aiohttp import web
from pydantic import Field

from api.bodies import JSON, Document, encoded, read_parameters
from api.endpoints import Endpoint
from api.reader import require_all
from api.threads import Threads
from engines.reading import TableName
from state.status import Status

SYSTEM_STATUS = TableName("system.status")


class StatusSource(Protocol):
    """What is known of all objects."""

    def revision(self) -> str | None:
        """The newest revision that was looked at; None before the first."""

    def all(self, kind: str | None = None, name: str | None = None) -> Iterable[Status]:
        """Every object's status, or those of a kind and of a name. From memory; may be called from any thread."""


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
    daemon: DaemonRow


@dataclass(frozen=True, slots=True)
class StatusRoute:
    """Answers GET /status."""

    source: StatusSource
    daemon: Daemon
    threads: Threads

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """In a thread, since there may be a hundred thousand objects."""
        require_all(request, SYSTEM_STATUS)
        asked = read_parameters(request, StatusParameters)
        return encoded(await self.threads.run(lambda wanted: self.document(asked)))

    def document(self, asked: StatusParameters) -> bytes:
        """The answer as JSON."""
        found = sorted(self.source.all(asked.kind, asked.name), key=lambda status: (status.kind, status.name))
        daemon = {"since": self.daemon.since, "listen": self.daemon.listen, "pid": self.daemon.pid}
        return orjson.dumps({"revision": self.source.revision(), "objects": [status.to_document() for status in found], "daemon": daemon})


def endpoints(source: StatusSource, daemon: Daemon, threads: Threads) -> tuple[Endpoint, ...]:
    """The route of statuses."""
    route = StatusRoute(source, daemon, threads)
    summary = "The state of every object"
    return (Endpoint("GET", "/status", summary, route.handle, {JSON: StatusAnswer}, parameters=StatusParameters, problems=(400,)),)
