"""The files of a table that a job reads beside new ones: local ones are where they are, remote ones are fetched by the job.

A fetched file is a job's own, which nothing evicts before the job is through with it. Next: `object_place.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Self

from engines.files.object_place import ObjectPlace, Remote
from engines.sql.readings import PartFile
from state.errors import ObjectCorrupt, ObjectMissing
from state.reader import ObjectReader


class FormerParts:
    """Fetches; removes what it has fetched in the end. Blocking. Not thread-safe."""

    def __init__(self) -> None:
        """Opens nothing yet."""
        self._readers: dict[ObjectPlace, ObjectReader] = {}
        self._own = ExitStack()

    def here(self, parts: Sequence[PartFile]) -> tuple[PartFile, ...]:
        """The same as local files; none of them where one is lost or damaged. Raises DiskFull, BucketUnavailable."""
        try:
            return self.every(parts)
        except (ObjectMissing, ObjectCorrupt):
            return ()

    def every(self, parts: Sequence[PartFile]) -> tuple[PartFile, ...]:
        """The same as local files. Raises ObjectMissing, ObjectCorrupt, DiskFull, BucketUnavailable."""
        return tuple(part if part.remote is None else self._fetched(part, part.remote) for part in parts)

    def cache(self, objects: Iterable[Remote]) -> None:
        """Has them in the cache, where links of a view lead. Raises ObjectMissing, ObjectCorrupt, DiskFull, BucketUnavailable."""
        for one in objects:
            self._reader(one.place).path(one.ref)

    def discard(self) -> None:
        """Removes the files."""
        self._own.close()

    def _fetched(self, part: PartFile, remote: Remote) -> PartFile:
        path = self._reader(remote.place).own(remote.ref, "")
        self._own.callback(partial(path.unlink, missing_ok=True))
        return replace(part, path=str(path), remote=None)

    def _reader(self, place: ObjectPlace) -> ObjectReader:
        if place not in self._readers:
            self._readers[place] = place.reader()
        return self._readers[place]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()
