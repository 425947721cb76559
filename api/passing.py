"""Bytes from a store to a client with nothing in between: the thread that reads a piece puts it into the socket, too.

asyncio's transport copies what the socket does not take at once, and changing threads for every few pieces costs a fifth of the speed.
A thread is given back as soon as it is the client that is waited for: the rest of that piece goes by the event loop, so that slow
clients hold no thread. For responses with a Content-Length whose headers were sent; refuses to know what the bytes are. `objects.py` is
the caller.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import time
from collections.abc import AsyncIterator, Iterator
from threading import Event

from aiohttp import web

from api.threads import Threads

AT_ONCE = 64 << 20
"""Bytes after which a thread is given back, whoever waits for one."""
_PATIENCE = 0.05
"""Seconds in all that a thread waits for a client before it is given back."""


async def pass_on(request: web.Request, response: web.StreamResponse, pieces: Iterator[bytes], threads: Threads) -> AsyncIterator[int]:
    """Sends all pieces; yields how many bytes went since the last time. Cancelled, it ends once no thread uses `pieces` any more.

    Raises what reading a piece raises, and ConnectionError if the client left.
    """
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client left")
    transport.set_write_buffer_limits(0)
    try:
        while transport.get_write_buffer_size():  # what was written before goes first: the next write waits for it
            piece = await threads.run(lambda _: next(pieces, b""))
            if not piece:
                return
            await response.write(piece)
            yield len(piece)
        async for count in _into_socket(transport, pieces, threads):
            yield count
    finally:
        transport.set_write_buffer_limits()


async def _into_socket(transport: asyncio.WriteTransport, pieces: Iterator[bytes], threads: Threads) -> AsyncIterator[int]:
    """Past the transport, in which nothing waits."""
    gone, loop = Event(), asyncio.get_running_loop()
    with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as link:
        link.setblocking(False)
        left: memoryview | None = memoryview(b"")
        while left is not None:
            turn = asyncio.ensure_future(threads.run(lambda _: _take_turn(link, pieces, gone)))
            try:
                await asyncio.wait([turn])
            except asyncio.CancelledError:
                gone.set()
                await asyncio.wait([turn])
                turn.exception()  # taken: nobody is left to hear of it
                raise
            sent, left = turn.result()
            if left:
                await loop.sock_sendall(link, left)
            yield sent + len(left or b"")


def _take_turn(link: socket.socket, pieces: Iterator[bytes], gone: Event) -> tuple[int, memoryview | None]:
    """Bytes that were sent, and what is left of a piece; None once there are no more pieces."""
    sent, patience, writable = 0, _PATIENCE, select.poll()
    writable.register(link, select.POLLOUT)
    for piece in pieces:
        view = memoryview(piece)
        while view:
            try:
                taken = link.send(view)
            except BlockingIOError:
                began = time.monotonic()
                if patience <= 0 or not writable.poll(patience * 1000):
                    return sent, view
                patience -= time.monotonic() - began
                continue
            sent, view = sent + taken, view[taken:]
        if sent >= AT_ONCE or gone.is_set():
            return sent, view
    return sent, None
