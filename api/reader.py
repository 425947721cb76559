"""Who reads: the one place that turns a request into a Reader. Everybody is anonymous so far, and may see all.

A listener trusts whoever can reach it, and a browser that can reach it can be made to: a page of any site may rebind its own name to the
listener's address, or post across origins. So a listener answers to names that no stranger can rebind only: a loopback one to loopback
names, a public one to addresses as well, both to the names that its operator gave it. None answers a page of another origin.

It refuses to decide what a reader may see: that is `engines/reading.py`, to read next.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from api.errors import HostRefused, ReadRefused
from engines.reading import ANONYMOUS, Action, Readable, Reader, decide

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


def is_address(host: str) -> bool:
    """Whether a host, without port, is an address and no name."""
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Listener:
    """Where requests come in. host: what it is bound to; bound: host:port as it really is; names: to answer to besides, in lower case."""

    host: str
    bound: str
    names: frozenset[str] = frozenset()

    def answers(self, host: str) -> bool:
        """Whether a request under this host name or address, without port, may be meant for it. No host comes from no browser."""
        if is_loopback(host) or host.lower().removesuffix(".") in self.names:
            return True
        return not is_loopback(self.host) and (is_address(host) or host in {"", self.host})

    def refusal(self, host: str) -> HostRefused:
        """What a request under another name is told."""
        here = f"http://{self.bound}" if is_loopback(self.host) else "an address instead of a name"
        remedy = f"Use {here}, or add the name to `hosts` in lakehouse.yaml and start the daemon again."
        return HostRefused(f"This daemon listens on {self.bound} and does not answer to the name {host!r}.", remedy=remedy)


def authenticate(request: web.Request) -> Reader:
    """The reader that a request speaks for."""
    return ANONYMOUS


def guard(listener: Listener) -> Middleware:
    """A middleware that refuses foreign hosts and origins, then puts the request's reader under READER."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        authority = request.headers.get("Host", "")
        if not listener.answers(hostname(authority)):
            raise listener.refusal(hostname(authority))
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2] != authority:
            raise HostRefused(f"A page of {origin} may not read from {authority}.", remedy="Ask from a program, without an Origin header.")
        request[READER] = authenticate(request)
        return await handler(request)

    return guarded


def may(reader: Reader, name: Readable, action: Action) -> bool:
    """Whether the reader may do this at all."""
    return decide(reader, name, action).allowed


def require_all(request: web.Request, name: Readable) -> None:
    """Raises ReadRefused unless the request's reader may read all of it, each row and value: for routes that can filter nothing."""
    if not decide(request[READER], name, "read").whole:
        raise ReadRefused(f"You may not read all of {name}.", remedy="Ask for what you may see with POST /query.")
