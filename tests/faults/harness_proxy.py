"""A proxy between a client and an object service, which does by script what networks and busy servers do by themselves.

    with Proxy(server.endpoint) as proxy:
        proxy.on("PUT", "catalog/log/", Fault.CUT_AFTER, times=1)
        open_store(… endpoint=proxy.endpoint …)

It speaks HTTP/1.1 as far as S3 clients do, passes every byte on as it came (requests are signed, their host too), and remembers what it
was asked. It runs in a thread of its own. Next: `test_s3_faults.py`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit


def _refusal(status: bytes, code: bytes) -> bytes:
    document = b"<Error><Code>%b</Code><Message>Refused by the script.</Message></Error>" % code
    return b"HTTP/1.1 %b\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%b" % (status, len(document), document)


class Fault(Enum):
    """What becomes of a request."""

    PASS = auto()
    CUT_BEFORE = auto()  # the connection ends, and the server never heard of it
    CUT_AFTER = auto()  # it was carried out, and the connection ends instead of an answer
    TRUNCATE = auto()  # the answer's head, and half of its body
    SLOW_DOWN = auto()  # 503, as a throttling server says it
    DENY = auto()  # 403, as for keys that may only read
    HOLD = auto()  # it was carried out, and nothing is answered until `release`


REFUSALS = {
    Fault.SLOW_DOWN: _refusal(b"503 Slow Down", b"SlowDown"),
    Fault.DENY: _refusal(b"403 Forbidden", b"AccessDenied"),
}


@dataclass
class _Rule:
    method: str
    part: str
    fault: Fault
    times: int


@dataclass(frozen=True)
class Seen:
    """A request: its method, its path with query, decoded, and what was done to it."""

    method: str
    path: str
    fault: Fault


class Proxy:
    """Starts on entering, ends on leaving."""

    def __init__(self, upstream: str) -> None:
        """upstream: the service's URL, http://host:port."""
        url = urlsplit(upstream)
        assert url.hostname is not None
        assert url.port is not None
        self._upstream = (url.hostname, url.port)
        self._rules: list[_Rule] = []
        self._seen: list[Seen] = []
        self._released = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), name="proxy", daemon=True)
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._released.set)
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        self._loop.close()

    @property
    def endpoint(self) -> str:
        """The URL to give to clients."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def seen(self) -> Sequence[Seen]:
        """Every request so far, in order."""
        return tuple(self._seen)

    def on(self, method: str, part: str, fault: Fault, times: int = 1_000_000) -> None:
        """The next requests of this method whose path has this part meet this fault. Former rules come first."""
        self._rules.append(_Rule(method, part, fault, times))

    def heal(self) -> None:
        """No more faults; what was held is answered."""
        self._rules.clear()
        self._loop.call_soon_threadsafe(self._released.set)

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while await self._request(reader, writer):
                pass
        writer.transport.abort()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False if the connection is to end."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, path = (part.decode() for part in head.split(b" ", 2)[:2])
        body = await _body(head, reader)
        fault = self._fault(method, unquote(path))
        self._seen.append(Seen(method, unquote(path), fault))
        if fault is Fault.CUT_BEFORE:
            return False
        if fault in REFUSALS:
            writer.write(REFUSALS[fault])
            await writer.drain()
            return True
        answer, content = await self._ask(method, head + body)
        if fault is Fault.CUT_AFTER:
            return False
        if fault is Fault.HOLD:
            await self._released.wait()
        writer.write(answer + (content[: len(content) // 2] if fault is Fault.TRUNCATE else content))
        await writer.drain()
        if fault is Fault.TRUNCATE:
            writer.close()  # in good order, so that what was sent arrives
            return False
        return True

    async def _ask(self, method: str, request: bytes) -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_connection(*self._upstream)
        try:
            writer.write(request)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            while head.split(b" ", 2)[1] == b"100":
                head = await reader.readuntil(b"\r\n\r\n")
            return head, b"" if method == "HEAD" else await _body(head, reader)
        finally:
            writer.transport.abort()

    def _fault(self, method: str, path: str) -> Fault:
        for rule in self._rules:
            if rule.times > 0 and rule.method == method and rule.part in path:
                rule.times -= 1
                return rule.fault
        return Fault.PASS


async def _body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    """The bytes after a head, chunks with their sizes."""
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    if b"content-length" in fields:
        return await reader.readexactly(int(fields[b"content-length"]))
    if fields.get(b"transfer-encoding", b"").strip() != b"chunked":
        return b""
    pieces = []
    while True:
        size = await reader.readuntil(b"\r\n")
        pieces += [size, await reader.readexactly(int(size, 16) + 2)]
        if int(size, 16) == 0:
            return b"".join(pieces)
