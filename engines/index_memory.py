"""Memory while one build takes another's place: whether both fit, and what answers meanwhile if they do not.

A graph is read into memory as a whole: hnswlib cannot map it. So where the next one does not fit beside what is open, the outgoing build
lets its graph go first and answers by comparing with all of its vectors: they are mapped from its own file, take no memory that the system
cannot have back, and the answers are exact, but slower. Vectors as int8 would be faster by half and take a fifth of a build more, at the
very moment at which there is too little. Next: `open_builds.py`, which asks before it loads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from engines.serving import Serving
from engines.vectors.flat import FlatIndex
from state.catalog.indexes import Build

_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")
SPARE = 1.1
"""What has to be left for a build, beside its own size: embedder, pages of its vectors, and whoever else asks meanwhile."""


def heap_bytes(build: Build) -> int:
    """What opening the build reads into memory, about: a graph. All other files are mapped."""
    graph = build.files.get("graph")
    return 0 if graph is None else graph.size


def held_bytes(serving: Iterable[Serving], former: Iterable[asyncio.Future[Serving]]) -> int:
    """What open builds hold beside what is mapped, those that are being opened not counted, files that several share once. From any
    thread."""
    opened = [one.result() for one in list(former) if one.done() and not one.cancelled() and one.exception() is None]
    each: dict[int, int] = {}
    for one in [*list(serving), *opened]:
        each[id(one.table)] = max(each.get(id(one.table), 0), int(one.index.describe()["memory_bytes"]))
    return sum(each.values())


def available_memory() -> int | None:
    """What this process can have without taking it from anybody, in bytes: of the system, and of each of its control groups (v2) that has
    a limit. None where neither tells; Linux does."""
    told = [_of_system(), *_of_groups()]
    return min((size for size in told if size is not None), default=None)


def _of_system() -> int | None:
    with suppress(OSError, ValueError):
        for line in _MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _of_groups() -> Iterator[int]:
    """The group of the process, and those above it. Pages of files that were not used for long are counted, but are there to be had."""
    with suppress(OSError):
        lines = _GROUP.read_text(encoding="utf-8").splitlines()
        own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
        if own is None:
            return
        group = _GROUPS / own
        for folder in (group, *group.parents):
            if not folder.is_relative_to(_GROUPS):
                return
            with suppress(OSError, ValueError):  # the topmost has no limit, others say "max"
                limit = int((folder / "memory.max").read_text(encoding="ascii"))
                used = int((folder / "memory.current").read_text(encoding="ascii"))
                statistics = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
                yield max(0, limit - used + int(statistics.get("inactive_file", 0)))


@dataclass(frozen=True, slots=True)
class Room:
    """How much memory builds may hold while one takes another's place. limit: in bytes; 0 for what the system has. available: now."""

    limit: int = 0
    available: Callable[[], int | None] = available_memory

    def has(self, incoming: int, held: int) -> bool:
        """Whether a build of so many bytes fits beside those that are open and hold so many."""
        if self.limit and incoming + held > self.limit:
            return False
        available = self.available()
        return available is None or incoming * SPARE <= available


def stand_in(serving: Serving) -> Serving:
    """The same build without its graph: it answers from its mapped vectors, exactly."""
    return replace(serving, index=FlatIndex(serving.vectors), stands_in=True)
