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
IDLE_SECONDS = 75.0
"""How long a connection may stay without a whole request, the first one too: so many stay open at most as clients really ask."""
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


def runner_of(app: web.Application, grace: float = GRACE_SECONDS) -> web.AppRunner:
    """How an app is run: bodies are decompressed by us (`encodings.py`), and nobody works for a client that left."""
    return web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,
        handler_cancellation=True,
        keepalive_timeout=IDLE_SECONDS,
        shutdown_timeout=grace,
    )


@asynccontextmanager
async def serving(app: web.Application, bound: socket.socket, *, grace: float = GRACE_SECONDS) -> AsyncIterator[None]:
    """Answers on the socket while the block runs, and closes it."""
    runner = runner_of(app, grace)
    await runner.setup()
    try:
        await web.SockSite(runner, bound).start()
        yield
    finally:
        await runner.cleanup()
