"""Parts of a table that are written but not stored: a later value, file or pass may still give them up, and then nobody looks for them.

They lie where the bucket stages files, each with the key that it will have. `put` stores them all, once it is known that all are wanted;
leaving the block drops the rest, and so does the next start after a crash. One that happens within `put` is healed by doing the same
again: a key derives from what the part was made of. Next: `table_writer.py`, which writes them; `batch.py`, which decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from state.failpoints import declare, hit
from state.objects import ObjectStore

PART_WRITTEN = declare("ingest.part-written")
PART_STORED = declare("ingest.part-stored")


class StagedParts:
    """A context. Not thread-safe. Blocking."""

    def __init__(self, store: ObjectStore) -> None:
        """store: where the parts will be."""
        self.store = store
        self._staged: dict[str, Path] = {}

    def add(self, staged: Mapping[str, Path]) -> None:
        """Parts by key, whole and closed."""
        self._staged |= staged

    def path(self, key: str) -> Path:
        """Where a part waits. Raises KeyError."""
        return self._staged[key]

    def put(self) -> None:
        """Stores what was added, durably, in that order. Raises DiskFull, BucketUnavailable."""
        for key, path in self._staged.items():
            hit(PART_WRITTEN)
            self.store.put_file(key, path)
            hit(PART_STORED)
        self._staged = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for path in self._staged.values():
            path.unlink(missing_ok=True)
