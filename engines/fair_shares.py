"""What readers share, query workers and threads of searches: who has how many, and who is next.

One that becomes free goes to the share that has the fewest, of those to who came first, so that whoever floods waits for others, and nobody
for the flood. It refuses to know what is shared, and how many of it a share may have: `sql/pool.py` keeps one for others, which runs for
seconds; a search ends soon, and leaves none idle.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import anyio

from engines.reading import Reader

_T = TypeVar("_T")


def share_of(reader: Reader) -> str | None:
    """As whose a reader is counted: its profile's, or its token's; None for the operator."""
    if reader.operator:
        return None
    return f"profile {reader.profile}" if reader.profile is not None else f"token {reader.token}"


class Waiting(Protocol):
    """Somebody who waits."""

    @property
    def share(self) -> str | None:
        """As of `share_of`."""


_W = TypeVar("_W", bound=Waiting)


class Shares:
    """How many each has."""

    def __init__(self) -> None:
        self._held: Counter[str | None] = Counter()

    def held(self, share: str | None) -> int:
        """By this one."""
        return self._held[share]

    def by_readers(self) -> bool:
        """Whether anybody has one but the operator."""
        return any(share is not None for share in self._held)

    def take(self, share: str | None) -> None:
        """One more."""
        self._held[share] += 1

    def give_back(self, share: str | None) -> None:
        """One less."""
        self._held[share] -= 1
        if not self._held[share]:
            del self._held[share]

    def first(self, waiting: Iterable[_W]) -> _W | None:
        """Who is next of those who wait, in the order in which they came; None where nobody does."""
        return min(waiting, key=lambda one: self._held[one.share], default=None)


@dataclass(slots=True, eq=False)
class _Call:
    """One that waits for a thread."""

    future: asyncio.Future[None]
    share: str | None


class FairThreads:
    """At most so many calls at once, each in a thread. Used on one event loop."""

    def __init__(self, most: int) -> None:
        """most: of all shares together."""
        self._threads = anyio.CapacityLimiter(most)
        self._free = most
        self._shares = Shares()
        self._waiting: list[_Call] = []

    async def run(self, share: str | None, function: Callable[..., _T], *args: object) -> _T:
        """What the function returns. A caller that leaves waits for the end of what its thread does. Raises what the function raises."""
        await self._take(share)
        try:
            return await anyio.to_thread.run_sync(function, *args, limiter=self._threads)
        finally:
            self._give_back(share)

    async def _take(self, share: str | None) -> None:
        if self._free:  # then nobody waits
            self._free -= 1
            self._shares.take(share)
            return
        call = _Call(asyncio.get_running_loop().create_future(), share)
        self._waiting.append(call)
        try:
            await call.future
        except asyncio.CancelledError:
            if call in self._waiting:
                self._waiting.remove(call)
            else:
                self._give_back(share)  # it came in the very moment in which this caller gave up
            raise

    def _give_back(self, share: str | None) -> None:
        self._shares.give_back(share)
        first = self._shares.first(call for call in self._waiting if not call.future.done())
        if first is None:
            self._free += 1
            return
        self._waiting.remove(first)
        self._shares.take(first.share)
        first.future.set_result(None)
