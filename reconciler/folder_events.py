"""What the operating system tells about folders: inotify, with the folders that come and go below a watched one.

Nothing polls: a quiet folder costs nothing, and a change is told once nothing more has come for `_QUIET` seconds. A folder that came, or
became readable, is itself told as changed, after it is watched: whoever then lists it misses nothing. Refuses to say what changed: a path
is told, its state is for the caller to look at. See docs/adr/0006; `watch.py` is the caller.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from asyncinotify import Event, Inotify, Mask

from reconciler.sources.source import Watched

_log = logging.getLogger(__name__)

_QUIET = 0.01
"""Seconds without news that end a burst."""
_LONGEST = 0.2
"""Seconds after which a burst is told although more keeps coming."""
_READ_AT_ONCE = 64
_CHANGES = Mask.MODIFY | Mask.CLOSE_WRITE | Mask.ATTRIB | Mask.MOVE | Mask.CREATE | Mask.DELETE | Mask.DELETE_SELF | Mask.MOVE_SELF
_FOLDERS_ONLY = Mask.ONLYDIR | Mask.EXCL_UNLINK
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ENAMETOOLONG, errno.ELOOP})


class FolderEvents:
    """Some folders and what happens in them. For one task of one event loop; `add` blocks, and may be called from a thread meanwhile.

    Raises OSError where the system refuses one more of these (`fs.inotify.max_user_instances`).
    """

    def __init__(self) -> None:
        self._inotify = Inotify(cache_size=_READ_AT_ONCE, sync_timeout=0)
        self._roots: set[Path] = set()
        self._deep: set[int] = set()
        """Watches whose subfolders are watched, too."""
        self._is_full = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._inotify.close()

    def add(self, folders: Iterable[Watched]) -> None:
        """Watches these from now on. One that is not there, or that nobody may read, is passed over. Blocking."""
        for folder in folders:
            self._roots.add(folder.path)
            self._watch(folder.path, deep=folder.recursive)

    async def bursts(self) -> AsyncIterator[set[Path]]:
        """Paths that changed, in bursts, for ever. If the system lost count, these are the folders themselves."""
        loop = asyncio.get_running_loop()
        while True:
            changed, came = set[Path](), set[Path]()
            self._take(await self._inotify.get(), changed, came)
            ends = loop.time() + _LONGEST
            more = True
            while more and loop.time() < ends:
                await asyncio.sleep(_QUIET)
                more = self._take_waiting(changed, came)
            if came:
                await asyncio.to_thread(self._add_below, came)
            if changed:
                yield changed

    def _take_waiting(self, changed: set[Path], came: set[Path]) -> bool:
        """Takes what is there, which may be nothing: then returns False."""
        taken = False
        while (event := self._inotify.sync_get()) is not None:
            self._take(event, changed, came)
            taken = True
        return taken

    def _take(self, event: Event, changed: set[Path], came: set[Path]) -> None:
        """Notes whose path it is. came: gets the folders to watch next, where that is due."""
        if Mask.Q_OVERFLOW in event:
            changed |= self._roots
        path, watch = event.path, event.watch
        if path is None or watch is None:
            return
        if Mask.IGNORED in event:  # the end of a watch; what ended it was told before
            self._deep.discard(watch.wd)
            return
        changed.add(path)
        if Mask.ISDIR in event and watch.wd in self._deep:
            if Mask.MOVED_FROM in event:
                self._drop(path)
            else:
                came.add(path)

    def _drop(self, folder: Path) -> None:
        """Ends the watches of a folder that went elsewhere: they would go on, under a path that is not theirs any more."""
        for watch in self._inotify.watches:
            if watch.path.is_relative_to(folder):
                try:
                    self._inotify.rm_watch(watch)
                except OSError:  # removed meanwhile
                    continue

    def _add_below(self, folders: Iterable[Path]) -> None:
        for folder in folders:
            self._watch(folder, deep=True)

    def _watch(self, folder: Path, *, deep: bool) -> None:
        """A folder is watched before it is listed, so that one that is made meanwhile is either listed or told."""
        waiting = [folder]
        while waiting:
            path = waiting.pop()
            try:
                watch = self._inotify.add_watch(path, _CHANGES | _FOLDERS_ONLY)
            except OSError as error:
                self._refused(path, error)
                continue
            if watch.path != path:  # the same folder by another name, as links make it
                continue
            if deep:
                self._deep.add(watch.wd)
                waiting += _folders_in(path)

    def _refused(self, path: Path, error: OSError) -> None:
        if error.errno in _NOT_THERE:
            return
        if error.errno != errno.ENOSPC:
            _log.warning("cannot watch %s, changes are seen at the next relist: %s", path, error)
        elif not self._is_full:
            self._is_full = True
            _log.warning("cannot watch %s and more, changes are seen at the next relist: raise fs.inotify.max_user_watches", path)


def _folders_in(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            found = [Path(entry.path) for entry in entries if entry.is_dir()]
    except OSError:  # gone, or nobody may look
        return iter(())
    return iter(found)
