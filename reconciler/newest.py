"""Whether the specs in force are those of the newest commit: asked for every reader from whom something may be hidden, or who is none yet.

A commit is seen within milliseconds by itself; who asks sooner must not be answered by policies that it took back. So the ref is looked at,
one small read in a thread, and where it has moved the request waits until it was followed. Where that takes long nobody is answered. A
repository that cannot be read, or a commit whose specs do not parse, leaves the last good ones in force, as it does for everybody.

Next: `follow.py`, which moves; `directory.py`, by whom readers are told apart then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from engines.errors import ReadersClosed
from reconciler.errors import RevisionUnknown, SourceUnavailable

PATIENCE = 10.0
"""Seconds for which a reader waits for a commit to be read."""


class Newest:
    """Used on one event loop."""

    def __init__(self, head: Callable[[], str | None], in_force: Callable[[], str | None], follow: Callable[[], Awaitable[None]]) -> None:
        """head: of the source, blocking; in_force: the revision whose specs are, None before the first; follow: has the ref looked at."""
        self._head = head
        self._in_force = in_force
        self._follow = follow

    async def caught_up(self) -> bool:
        """Whether other specs may be in force now than before this was asked. Raises ReadersClosed where that is not known in time."""
        before = self._in_force()
        if before is None:
            return False  # nobody is let in but operators until specs were read
        try:
            head = await asyncio.to_thread(self._head)
        except (SourceUnavailable, RevisionUnknown):
            return False
        if head is None or head == self._in_force():
            return self._in_force() != before  # it may have been followed while it was looked at
        try:
            async with asyncio.timeout(PATIENCE):
                await self._follow()
        except TimeoutError as error:
            message = "A commit is being read, and whether it hides something is not known yet."
            raise ReadersClosed(message, remedy="Try again in a moment.") from error
        return True
