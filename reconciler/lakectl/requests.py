"""Leaving a request for the daemon, waking it, and waiting for its answer.

A request is an object in the state bucket; its end is a row of the stream `requests` under its id. Without a daemon it
stays there, and the next one carries it out: whoever asks is told so.
"""

import getpass
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from reconciler.lakectl.here import Here, read_address
from reconciler.lakectl.lake import Lake, require_lake
from reconciler.lakectl.session import Session
from state.lease import is_alive
from state.requests import Request, RequestQueue
from state.streams.ids import Ulids
from state.timestamps import iso

_LOOK_EVERY = 0.02
_LONGEST_PAUSE = 0.25
_DAEMON_EVERY = 1.0
"""Seconds after which it is looked again whether the daemon still lives."""
_CLOCKS_AGREE = timedelta(minutes=10)
"""How far the clocks of whoever asks and whoever answers may be apart."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request ended: outcome is done, refused, failed, `waiting` (not answered in time) or `queued` (nobody is there to answer)."""

    id: str
    outcome: str
    message: str


def ask(
    here: Here,
    session: Session,
    verb: str,
    object_: str,
    *,
    reason: str,
    payload: Mapping[str, Any] | None = None,
    wait: float,
    insist: bool = False,
) -> Answer:
    """Submits, pokes, waits at most `wait` seconds; not at all where nobody is there to answer, unless with `insist`.

    Raises NoLakehouse, RequestInvalid, state errors.
    """
    lake = require_lake(here, session.clock)
    request = Request(
        id=Ulids(session.clock)(),
        verb=verb,
        object=object_,
        actor=actor(),
        reason=reason,
        payload=dict(payload or {}),
        at=iso(session.clock()),
    )
    RequestQueue(lake.store).submit(request)
    if not insist and not _is_reconciled(lake, session.clock):
        return _queued(request.id, "nobody is reconciling now")
    poke(here)
    return _answer(lake, request.id, session.clock, time.monotonic() + wait, insist=insist)


def _queued(request: str, why: str) -> Answer:
    return Answer(request, "queued", f"queued, not done: {why}; the next daemon or `lakectl apply` carries it out")


def _is_reconciled(lake: Lake, clock: Callable[[], datetime]) -> bool:
    heartbeat = lake.heartbeat()
    return heartbeat is not None and is_alive(heartbeat, clock())


def actor() -> str:
    """Who asks: user@host."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "somebody"  # a container whose user has no name
    return f"{user}@{socket.gethostname()}"


def poke(here: Here) -> bool:
    """Wakes the daemon of this repository; False if there is none. A lost poke costs it two seconds, nothing else."""
    address = read_address(here)
    if address is None:
        return False
    with suppress(OSError), closing(socket.socket(socket.AF_UNIX)) as line:
        line.settimeout(1)
        line.connect(address.socket)
        return True
    return False


def _answer(lake: Lake, request: str, clock: Callable[[], datetime], deadline: float, *, insist: bool) -> Answer:
    pause, since, looked = _LOOK_EVERY, clock() - _CLOCKS_AGREE, time.monotonic()
    while True:
        alive = True
        if time.monotonic() - looked > _DAEMON_EVERY:
            alive, looked = _is_reconciled(lake, clock), time.monotonic()
        row = next(lake.streams.read("requests", since=since, where={"request": request}), None)
        if row is not None:
            return Answer(request, row["outcome"], row["message"])
        if not alive and not insist:
            return _queued(request, "the daemon has ended meanwhile")
        if time.monotonic() > deadline:
            return Answer(request, "waiting", "not answered yet; the daemon carries it out when it comes to it")
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
