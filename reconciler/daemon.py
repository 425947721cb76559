"""The daemon: takes the lease, follows the watched ref, answers HTTP, and ends in good order on SIGTERM.

What it owns is opened in this order and closed in the reverse one: state and lease, the listener, the loop. A second daemon
on the same state is refused with the first one's name. `on_up` is told once the listener is bound.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry

from api.app import Parts as ApiParts
from api.app import build_app
from api.limits import Limits
from api.server import serving
from api.status import Daemon as DaemonFacts
from reconciler.assembly import Assembly, assemble
from reconciler.metrics import watch_loop
from reconciler.opening import Housekeeping, State, open_state, utc_now
from reconciler.place import DaemonAddress, Place, remove_daemon, write_daemon
from reconciler.reading import StatusView, reading
from reconciler.settings import Settings, load_settings
from specs.version import VERSION
from state import reasons
from state.timestamps import iso

_log = logging.getLogger(__name__)


def daemon_settings(place: Place, listen: str | None) -> Settings:
    """Settings of the watched commit; an unreadable or faulty file at start-up is an error, not a guess."""
    settings = load_settings(place.source.settings(place.source.revision()))
    return settings.model_copy(update={"listen": listen}) if listen is not None else settings


async def run_daemon(place: Place, settings: Settings, on_up: Callable[[str], None]) -> None:
    """Runs until SIGTERM or SIGINT. Raises LeaseHeld, StateBucketMissing, OSError (the address is taken), LeaseLost."""
    host, _, port = settings.listen.rpartition(":")
    state = await asyncio.to_thread(open_state, place, settings, address=f"http://{settings.listen}")
    housekeeping = Housekeeping(state)
    try:
        assembly = assemble(state, settings)
        try:
            async with reading(state, settings) as readers, _socket(place.socket, assembly.driver.poke):
                registry = CollectorRegistry()
                watch_loop(registry, assembly)
                since = iso(utc_now())
                parts = ApiParts(
                    queries=readers.queries,
                    searches=readers.searches,
                    statuses=StatusView(state, lambda: assembly.world.revision),
                    events=state.streams,
                    catalog=state.catalog,
                    missing=lambda: _missing(assembly),
                    daemon=DaemonFacts(since, settings.listen, os.getpid()),
                    listen_host=host.strip("[]"),
                    version=VERSION,
                    limits=_limits(settings),
                    registry=registry,
                )
                async with serving(build_app(parts), host.strip("[]"), int(port)) as bound:
                    await _serve(state, assembly, bound, since, on_up)
        finally:
            await asyncio.to_thread(assembly.executor.shutdown)
    finally:
        await asyncio.to_thread(housekeeping.close)


async def _serve(state: State, assembly: Assembly, bound: str, since: str, on_up: Callable[[str], None]) -> None:
    """Drives until a signal; tells clients where to find this process meanwhile."""
    url = f"http://{bound}"
    write_daemon(state.place.cache, DaemonAddress(url, os.getpid(), state.id, since, str(state.place.socket)))
    epoch = state.lease.epoch if state.lease is not None else 0
    assembly.statuses.record_event("Daemon/lakehouse", "Normal", reasons.STARTED, f"listens on {url}, epoch {epoch}")
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, assembly.driver.stop)
    try:
        on_up(url)
        await assembly.driver.run()
    finally:
        remove_daemon(state.place.cache, os.getpid())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    assembly.statuses.record_event("Daemon/lakehouse", "Normal", reasons.STOPPED, "stopped in good order")


def _missing(assembly: Assembly) -> Sequence[str]:
    """Why the daemon is not ready: it has not looked at every object once."""
    if not assembly.driver.first_pass.is_set():
        return ("the watched revision has not been read yet",)
    unseen = assembly.driver.unvisited
    return (f"{unseen} objects have not been looked at yet",) if unseen else ()


def _limits(settings: Settings) -> Limits:
    limits = settings.limits
    return Limits(body_bytes=limits.body_bytes, query_rows=limits.query_rows, search_k=limits.search_k)


@contextlib.asynccontextmanager
async def _socket(path: Path, poke: Callable[[], None]) -> AsyncIterator[None]:
    """A socket of our own user that is only ever poked: whoever connects, wakes the daemon."""

    async def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        poke()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    await asyncio.to_thread(_make_room, path)
    # the folder may be anybody's; the socket is its owner's alone from the moment it exists
    before = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(connected, path)
    finally:
        os.umask(before)
    try:
        yield
    finally:
        server.close()
        await asyncio.to_thread(path.unlink, missing_ok=True)


def _make_room(path: Path) -> None:
    """A socket that a dead daemon left is in the way of a new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
