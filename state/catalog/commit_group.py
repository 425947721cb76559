"""Group commit: callers that arrive while an entry is being written share the next one.

Each caller puts a ticket in line, then asks for the right to write. Whoever gets it writes for all in line; the others find their tickets
settled when their turn comes. So sixteen threads cost one durable write a round, and a lone caller waits for nobody.

It refuses to know what a commit is: `write` settles the tickets. Next: `catalog.py`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from state.catalog.entry import Cause, Change

MAX_GROUP_BYTES = 4 * 1024 * 1024


@dataclass(slots=True, eq=False)
class Ticket:
    """One caller's changes; settled once it has a number or an error.

    `size` is that of its JSON in bytes; `moved` are the objects whose state changed, and whose subscribers this caller is to tell.
    """

    changes: tuple[Change, ...]
    cause: Cause
    size: int
    seq: int | None = None
    error: BaseException | None = None
    moved: set[str] = field(default_factory=set)

    @property
    def open(self) -> bool:
        return self.seq is None and self.error is None


class CommitGroup:
    """`write` is called by one thread at a time and must settle every ticket it is given, or raise: that settles the open ones."""

    def __init__(self, write: Callable[[list[Ticket]], None]) -> None:
        self._write = write
        self._line: deque[Ticket] = deque()
        self.writing = threading.Lock()

    def settle(self, ticket: Ticket) -> int:
        """The number under which the ticket's changes are durable. Raises what its commit raised."""
        self._line.append(ticket)
        with self.writing:
            while ticket.open:
                self._write_group()
        if ticket.error is not None:
            raise ticket.error
        assert ticket.seq is not None
        return ticket.seq

    def _write_group(self) -> None:
        group = self._take()
        try:
            self._write(group)
        except BaseException as error:
            for ticket in group:
                if ticket.open:
                    ticket.error = error
            if not isinstance(error, Exception):
                raise

    def _take(self) -> list[Ticket]:
        group = [self._line.popleft()]
        size = group[0].size
        while self._line and size + self._line[0].size <= MAX_GROUP_BYTES:
            group.append(self._line.popleft())
            size += group[-1].size
        return group
