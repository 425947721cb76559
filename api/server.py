"""The listener: where requests come in, and how it ends without dropping any.

On leaving, the socket closes first, requests in flight finish within the grace period, and only then what they use may be closed. A client
that leaves cancels its request, so that a query nobody waits for stops burning a worker.

Next: `app.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

GRACE_SECONDS = 30.0


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int, *, grace: float = GRACE_SECONDS) -> AsyncIterator[str]:
    """Listens while the block runs; gives "host:port", with the port that was really bound if 0 was asked for.

    Raises OSError if the address cannot be bound.
    """
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=grace)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        bound = runner.addresses[0]
        yield f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}"
    finally:
        await runner.cleanup()
