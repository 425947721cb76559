"""Being told early: folders are watched by the operating system, so that a commit or a new data file is seen within
milliseconds. A relist stands behind every watch; a notification that is lost costs latency, never correctness.
Next: `folder_events.py` for the system's side.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from reconciler.folder_events import FolderEvents
from reconciler.sources.source import Source, Watched

_log = logging.getLogger(__name__)


async def watch(
    folders: Iterable[Watched], changed: Callable[[set[Path]], None], stop: asyncio.Event, began: Callable[[], None] = lambda: None
) -> None:
    """Calls `changed` with the paths of every burst until `stop` is set. A folder that cannot be watched is left to the relist.

    Calls `began` once from when on nothing is missed: what happened before is for the caller to look at.
    """
    try:
        events = FolderEvents()
    except OSError as error:
        _log.warning("folders cannot be watched, changes are seen at the next relist: %s", error)
        began()
        return
    with events:
        await asyncio.to_thread(events.add, folders)
        began()
        async with asyncio.TaskGroup() as tasks:
            telling = tasks.create_task(_tell(events, changed))
            await stop.wait()
            telling.cancel()


async def _tell(events: FolderEvents, changed: Callable[[set[Path]], None]) -> None:
    try:
        async for burst in events.bursts():
            changed(burst)
    except OSError as error:
        _log.warning("folders are watched no more, changes are seen at the next relist: %s", error)


def is_folder(path: Path) -> bool:
    """`Path.is_dir`, but False where nobody may look."""
    try:
        return path.is_dir()
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Aim:
    """What to watch now, and which folders would be watched if they were there."""

    folders: tuple[Watched, ...]
    missing: frozenset[Path] = frozenset()


def source_folders(source: Source) -> Aim:
    """What to watch for a new revision; nothing where that cannot be told. Blocking."""
    try:
        folders = source.watched()
    except OSError as error:
        _log.warning("cannot watch the specs, changes are seen at the next relist: %s", error)
        return Aim(())
    there = tuple(folder for folder in folders if is_folder(folder.path))
    return Aim(there, frozenset(folder.path for folder in folders if folder not in there))


class FolderWatch:
    """Watches what `aim` names; anew when that may be others, and when a folder comes, goes, or is made again.

    A watch goes on until its successor has begun, and what it did not watch from the beginning is looked at then.

    Args:
        changed: called with the paths of every burst.
        fresh: called with the folders that are watched from now on and were not before.
    """

    def __init__(
        self, aim: Callable[[], Awaitable[Aim]], changed: Callable[[set[Path]], None], fresh: Callable[[frozenset[Path]], None]
    ) -> None:
        self._aim = aim
        self._changed = changed
        self._fresh = fresh
        self._gone: set[Path] = set()
        self._unseen: set[Path] = set()
        self._moved = asyncio.Event()
        self.settled = asyncio.Event()
        """Set once all that is to be watched is watched for the first time."""

    def look_again(self) -> None:
        """Other folders may have to be watched. From the event loop only."""
        self._moved.set()

    async def run(self) -> None:
        """For ever."""
        former: tuple[asyncio.Event, ...] = ()
        current, watched = None, frozenset[Path]()
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._moved.clear()
                aim = await self._aim()
                if aim == current and not self._gone:
                    await self._moved.wait()
                    continue
                here = frozenset(folder.path for folder in aim.folders)
                # the system's watch of a folder ends with it, also where the folder came back at once
                self._unseen = (self._unseen | (here - (watched - self._gone))) & here
                self._gone.clear()
                stop = asyncio.Event()
                tasks.create_task(watch(aim.folders, partial(self._burst, here, aim.missing), stop, partial(self._began, former, aim)))
                former = (*(event for event in former if not event.is_set()), stop)
                current, watched = aim, here
                await self._moved.wait()

    def _burst(self, here: frozenset[Path], missing: frozenset[Path], paths: set[Path]) -> None:
        self._changed(paths)
        self._gone |= paths & here
        if paths & here or any(folder.is_relative_to(path) for path in paths for folder in missing):
            self._moved.set()

    def _began(self, former: Iterable[asyncio.Event], aim: Aim) -> None:
        """A watch that was begun later may be ready earlier: it ends those before it, and takes over what they were to look at."""
        for event in former:
            event.set()
        self.settled.set()
        fresh = self._unseen.intersection(folder.path for folder in aim.folders)
        self._unseen -= fresh
        if fresh:
            self._fresh(frozenset(fresh))
        if fresh and aim.missing:
            self._moved.set()  # what was missing when this watch was aimed may have come before it began
