"""A job that measures how long something takes says so, and is not stopped meanwhile; it owes the processors it takes (`throttle.py`).

Where jobs run in the caller's process, or nothing throttles them, it says so to nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Say = Callable[[bool], None]
_here: ContextVar[Say | None] = ContextVar("timed", default=None)


@contextmanager
def timed() -> Iterator[None]:
    """What the block does is timed. It should be short: what is owed has a bound (`throttle.OWED`), beyond which it is stopped as ever."""
    say = _here.get()
    if say is None:
        yield
        return
    say(True)
    try:
        yield
    finally:
        say(False)


@contextmanager
def said_to(say: Say) -> Iterator[None]:
    """What the block calls says to `say` when something begins and ceases to be timed."""
    token = _here.set(say)
    try:
        yield
    finally:
        _here.reset(token)
