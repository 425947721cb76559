"""Who reads: the one place that turns a request into a Reader. Everybody is anonymous so far, and may see all.

A listener on the loopback interface trusts whoever can reach it, and a browser on the same machine can be made to: a page of any site may
rebind its own name to 127.0.0.1, or post across origins. So a loopback listener answers only to loopback names, and no listener answers
a page of another origin.

It refuses to decide what a reader may see: that is `engines/reading.py`, to read next.
"""

from __future__ import annotations

from ipaddress import ip_address

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from api.errors import HostRefused, ReadRefused
from engines.reading import ANONYMOUS, Action, IndexName, Reader, TableName, decide

READER: web.RequestKey[Reader] = web.RequestKey("reader", Reader)


def is_loopback(host: str) -> bool:
    """Whether a host name or address, without port, can only mean this machine."""
    name = host.strip("[]").lower().removesuffix(".")
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def hostname(authority: str) -> str:
    """The host of "host:port", "[::1]:port" or "host"."""
    if authority.startswith("["):
        return authority.partition("]")[0] + "]"
    return authority.partition(":")[0]


def authenticate(request: web.Request) -> Reader:
    """The reader that a request speaks for."""
    return ANONYMOUS


def guard(listen_host: str) -> Middleware:
    """A middleware that refuses foreign hosts and origins, then puts the request's reader under READER."""
    local_only = is_loopback(listen_host)

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.headers.get("Host", "")
        if local_only and not is_loopback(hostname(host)):
            message = f"This daemon listens on {listen_host} and does not answer to the name {host!r}."
            raise HostRefused(message, remedy=f"Use http://{listen_host}.")
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2] != host:
            raise HostRefused(f"A page of {origin} may not read from {host}.", remedy="Ask from a program, without an Origin header.")
        request[READER] = authenticate(request)
        return await handler(request)

    return guarded


def may(reader: Reader, name: TableName | IndexName, action: Action) -> bool:
    """Whether the reader may do this at all."""
    return decide(reader, name, action).allowed


def require_all(request: web.Request, name: TableName) -> None:
    """Raises ReadRefused unless the request's reader may read every row and value of the table: for routes that can filter nothing."""
    if not decide(request[READER], name, "read").whole:
        raise ReadRefused(f"You may not read all of {name}.", remedy="Ask for what you may see with POST /query.")
