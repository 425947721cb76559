"""GET /healthz and /readyz: whether the process lives, and whether it has looked at every object once.

Alive means that the loop answers. Ready says more, and why not. Neither touches storage. Next: `api/metrics.py` for figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from aiohttp import web

from api.bodies import JSON, Document, answer
from api.endpoints import Endpoint
from api.errors import NotReady

Readiness: TypeAlias = Callable[[], Sequence[str]]
"""What is still missing, one sentence each; empty when ready. From memory, at once."""


class Health(Document):
    """The process lives."""

    status: Literal["ok"]


class Ready(Document):
    """The process serves what the specs say."""

    status: Literal["ready"]


def endpoints(missing: Readiness) -> tuple[Endpoint, ...]:
    """The two probes."""

    async def healthz(request: web.Request) -> web.StreamResponse:
        return answer({"status": "ok"})

    async def readyz(request: web.Request) -> web.StreamResponse:
        if reasons := missing():
            raise NotReady(reasons)
        return answer({"status": "ready"})

    return (
        Endpoint("GET", "/healthz", "Whether the process lives", healthz, {JSON: Health}, readers="all"),
        Endpoint("GET", "/readyz", "Whether every object was looked at once", readyz, {JSON: Ready}, problems=(503,), readers="all"),
    )
