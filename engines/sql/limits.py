"""What one query may take. Every limit has an error or a mark of its own, so that a client knows which one it met."""

from __future__ import annotations

from dataclasses import dataclass, replace

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """seconds: from the moment a worker takes the query, planning included (QueryTimeout). memory: bytes that its worker may hold besides
    mapped files (QueryMemory). rows, bytes: of the result, which is cut there and marked truncated. text: characters of SQL
    (QueryTooLarge). waiting: seconds for a worker to become free (WorkersBusy).
    """

    seconds: float = 30.0
    memory: int = 1024 * MIB
    rows: int = 10_000
    bytes: int = 16 * MIB
    text: int = 64 * 1024
    waiting: float = 30.0

    def narrowed(
        self,
        *,
        rows: int | None = None,
        seconds: float | None = None,
        memory: int | None = None,
        bytes: int | None = None,  # noqa: A002
    ) -> Limits:
        """These limits, or what is wished where that is less."""
        return replace(
            self,
            rows=self.rows if rows is None else min(self.rows, rows),
            seconds=self.seconds if seconds is None else min(self.seconds, seconds),
            memory=self.memory if memory is None else min(self.memory, memory),
            bytes=self.bytes if bytes is None else min(self.bytes, bytes),
        )
