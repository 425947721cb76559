"""The daemon's doorbell: a socket of its own user that is only ever poked. Whoever connects, wakes the daemon; nothing is said.

It refuses to carry requests: those are objects in the state bucket (`state.requests`), which losing a poke only delays.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

_OWNER_ONLY = 0o600


@contextlib.asynccontextmanager
async def doorbell(path: Path, poke: Callable[[], None]) -> AsyncIterator[None]:
    """Answers at `path` while the block runs: `poke` is called on the running loop for each caller. Raises OSError."""

    async def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        poke()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_unix_server(connected, sock=await asyncio.to_thread(_bound, path))
    try:
        yield
    finally:
        server.close()
        await asyncio.to_thread(path.unlink, missing_ok=True)


def _bound(path: Path) -> socket.socket:
    """A socket at `path` that nobody but its owner can connect to, in place of one that a dead daemon left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(str(path))
        # in time: nobody can connect before the server listens. A umask would be the whole process's, and of all its threads' files
        path.chmod(_OWNER_ONLY)
    except OSError:
        bound.close()
        raise
    return bound
