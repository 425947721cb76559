"""What one request, and all at once, may cost.

Bytes of a body are counted by aiohttp while it reads; rows and bytes of a result by the query service. Here are the figures, and the
middleware that bounds how many requests are answered at once and for how long. Probes and metrics pass uncounted: a busy daemon
must still be able to say that it is alive.

It refuses to read settings: the daemon hands the figures in. Next: `app.py`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from api.errors import RequestTimeout, TooBusy

UNCOUNTED = frozenset({"/healthz", "/readyz", "/metrics"})


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of requests and answers.

    body_bytes: of a request, decompressed. query_rows: of a result, however many a client asks for. search_k: hits. page: entries of
    one page of events. in_flight: requests answered at once. seconds: a whole request, waiting and reading its body included; it should
    be longer than a query may wait and run, so that the query's own error arrives first.
    """

    body_bytes: int = 1 << 20
    query_rows: int = 10_000
    search_k: int = 1_000
    page: int = 1_000
    in_flight: int = 256
    seconds: float = 90.0


def bounded(limits: Limits) -> Middleware:
    """A middleware that answers TooBusy above `in_flight` requests, and RequestTimeout after `seconds`."""
    in_flight = 0

    @web.middleware
    async def limited(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal in_flight
        if request.path in UNCOUNTED:
            return await handler(request)
        if in_flight >= limits.in_flight:
            raise TooBusy(f"{in_flight} requests are being answered already.", remedy="Try again in a moment.")
        in_flight += 1
        bound = asyncio.timeout(limits.seconds)
        try:
            async with bound:
                return await handler(request)
        except TimeoutError as error:
            if not bound.expired():
                raise
            raise RequestTimeout(f"The request took longer than {limits.seconds:g} s.") from error
        finally:
            in_flight -= 1

    return limited
