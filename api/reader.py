"""Who reads: the one place that turns a request into a Reader. Every route asks the directory first, but the two probes.

A listener trusts whoever can reach it, and a browser that can reach it can be made to: a page of any site may rebind its own name to the
listener's address, or post across origins. So a listener answers to names that no stranger can rebind only: a loopback one to loopback
names, a public one to addresses as well, both to the names that its operator gave it. None answers a page of another origin.

It refuses to decide whom a token stands for (`reconciler/directory.py`), and what a reader may see: that is `engines/reading.py`, to read
next.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from api.errors import BucketNotFound, DatasetUnknown, HostRefused, ReadRefused
from engines.audit import Audit
from engines.errors import IndexUnknown, ProfileUnknown, ReaderRefused, TableUnknown, TokenRefused
from engines.reading import Action, Binding, BucketName, Readable, Reader, decide
from state.tokens import PROFILE_HEADER

READER: web.RequestKey[Reader] = web.RequestKey("reader", Reader)
BUCKET = "X-Lakehouse-Bucket"
"""The header by which a request keeps to one bucket: it sees that one's tables, indexes and objects, and no system table."""
PROBES = frozenset({"/healthz", "/readyz"})
NOBODY = Reader(binding=Binding())
"""Whoever probes: sees nothing."""
_UNSEEN = (TableUnknown, IndexUnknown, DatasetUnknown, BucketNotFound)
"""What something in another bucket is to such a request: not there. It may be there for others, which is not said."""


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


class Directory(Protocol):
    """Knows who asks."""

    def reader_of(self, authorization: str | None, profile: str | None, bucket: str | None = None) -> Reader:
        """Who a request with these headers speaks for. From memory, or nearly so. Raises ReaderRefused."""

    @property
    def caught_up(self) -> Callable[[], Awaitable[bool]]:
        """Waits until the newest commit is in force; whether that may have changed who readers are. Raises ReaderRefused."""


async def known(request: web.Request, directory: Directory, buckets: Callable[[], Container[str]]) -> Reader:
    """As `authenticate`, under the newest commit for all from whom something may be hidden, and for those whose profile may have come with
    it. A token that is none waits for nothing."""
    try:
        reader = authenticate(request, directory, buckets)
    except (ProfileUnknown, TokenRefused) as error:
        unknown = isinstance(error, ProfileUnknown) or error.profile_unknown
        if not unknown or not await directory.caught_up():
            raise
    else:
        if reader.operator or reader is NOBODY or not await directory.caught_up():
            return reader
    return authenticate(request, directory, buckets)


def authenticate(request: web.Request, directory: Directory, buckets: Callable[[], Container[str]]) -> Reader:
    """The reader that a request speaks for. Raises ReaderRefused, and BucketNotFound if an operator is to keep to a bucket that is none."""
    if request.path in PROBES:
        return NOBODY
    authorization, profile, bucket = (_header(request, name) for name in ("Authorization", PROFILE_HEADER, BUCKET))
    reader = directory.reader_of(authorization, profile, bucket)
    # to anybody else a bucket that is none is as one that has nothing for it
    if bucket is not None and reader.operator and bucket not in buckets():
        raise BucketNotFound(f"There is no bucket {bucket!r}, to which {BUCKET} keeps this request.")
    return reader


def _header(request: web.Request, name: str) -> str | None:
    """Its value; of one that is given several times all of them, which together name nothing."""
    given = request.headers.getall(name, ())
    return ", ".join(given) if given else None


def guard(listener: Listener, directory: Directory, buckets: Callable[[], Container[str]], audit: Audit) -> Middleware:
    """A middleware that refuses foreign hosts and origins, then puts the request's reader under READER. buckets: those there are now.

    audit: where those are noted who are let in as nobody.
    """

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        authority = request.headers.get("Host", "")
        if not listener.answers(hostname(authority)):
            raise listener.refusal(hostname(authority))
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2] != authority:
            raise HostRefused(f"A page of {origin} may not read from {authority}.", remedy="Ask from a program, without an Origin header.")
        try:
            reader = request[READER] = await known(request, directory, buckets)
        except ReaderRefused as error:
            resource = request.match_info.route.resource
            route = None if resource is None else resource.canonical
            asked = {"method": request.method, "route": route, "address": request.remote}
            await audit.refused("request", NOBODY, error, detail=asked)
            raise
        try:
            return await handler(request)
        except _UNSEEN as error:
            if reader.bucket is None:
                raise
            remedy = error.remedy or "Leave it out to ask for what lies elsewhere."
            raise type(error)(f"{error} {BUCKET} keeps this request to bucket {reader.bucket}.", remedy=remedy) from error

    return guarded


def may(reader: Reader, name: Readable, action: Action) -> bool:
    """Whether the reader may do this at all."""
    return decide(reader, name, action).allowed


def require_all(request: web.Request, name: Readable) -> None:
    """Raises ReadRefused unless the request's reader may read all of it, each row and value: for routes that can filter nothing."""
    reader = request[READER]
    if decide(reader, name, "read").whole:
        return
    if reader.bucket not in (None, name.bucket):
        raise ReadRefused(f"{name} is not of bucket {reader.bucket}, to which {BUCKET} keeps this request.", remedy="Leave it out.")
    raise ReadRefused(f"You may not read all of {name}.", remedy="Ask for what you may see with POST /query.")


def require_bucket(request: web.Request, bucket: str) -> None:
    """As `require_all`; raises BucketNotFound where not even its name may be known."""
    if not may(request[READER], BucketName(bucket), "describe"):
        raise BucketNotFound(f"There is no bucket {bucket!r}.")
    require_all(request, BucketName(bucket))
