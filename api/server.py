"""The listener: where requests come in, and how it ends without dropping any.

On leaving, the socket closes first, requests in flight finish within the grace period, and only then what they use may be closed. A client
that leaves cancels its request, so that a query nobody waits for stops burning a worker.

Next: `app.py`.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

GRACE_SECONDS = 30.0
BACKLOG = 128


def listener(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one. Bound before anything else is opened, so that a taken address costs nothing.

    Raises OSError if the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def address(bound: socket.socket) -> str:
    """host:port as it is really bound."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@asynccontextmanager
async def serving(app: web.Application, bound: socket.socket, *, grace: float = GRACE_SECONDS) -> AsyncIterator[None]:
    """Answers on the socket while the block runs, and closes it."""
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=grace)
    await runner.setup()
    try:
        await web.SockSite(runner, bound).start()
        yield
    finally:
        await runner.cleanup()
