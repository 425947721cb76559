"""Being told early: folders are watched by the operating system, so that a commit or a new data file is seen within
milliseconds. A relist stands behind every watch; a notification that is lost costs latency, never correctness.

watchfiles' own filter ignores `.git`, so it is off here; `step` is how long it waits for more of the same burst.
"""

import asyncio
import contextlib
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property, partial
from glob import escape, has_magic
from pathlib import Path

from watchfiles import awatch

from reconciler.sources.source import Watched
from specs.resource import Key

_log = logging.getLogger(__name__)

_STEP_MS = 20
_DEBOUNCE_MS = 200
_BROKEN_PAUSE = 0.5
"""Seconds from a watch that broke to the next."""


async def watch(
    folders: Iterable[Watched], changed: Callable[[set[Path]], None], stop: asyncio.Event, began: Callable[[], None] = lambda: None
) -> None:
    """Calls `changed` with the paths of every burst until `stop` is set. A folder that cannot be watched is left to the relist.

    Calls `began` once from when on nothing is missed: what happened before is for the caller to look at.
    """
    by_depth: dict[bool, list[Path]] = defaultdict(list)
    for folder in folders:
        by_depth[folder.recursive].append(folder.path)
    starts: list[asyncio.Event] = []
    async with asyncio.TaskGroup() as tasks:
        for recursive, paths in by_depth.items():
            present = await asyncio.to_thread(lambda paths: [path for path in paths if path.is_dir()], paths)
            if present:
                starts.append(asyncio.Event())
                tasks.create_task(_watch(present, recursive, changed, stop, starts[-1]))
        for started in starts:
            await started.wait()
        began()


async def _watch(
    paths: list[Path], recursive: bool, changed: Callable[[set[Path]], None], stop: asyncio.Event, started: asyncio.Event
) -> None:
    begun: Callable[[], None] = started.set
    while not stop.is_set():
        # the first step of `awatch` asks the system to watch, and only then waits
        asyncio.get_running_loop().call_soon(begun)
        try:
            bursts = awatch(*paths, watch_filter=None, step=_STEP_MS, debounce=_DEBOUNCE_MS, stop_event=stop, recursive=recursive)
            async for burst in bursts:
                changed({Path(path) for _, path in burst})
            return
        except (OSError, RuntimeError) as error:
            _log.warning("cannot watch %s, changes are seen at the next relist: %s", ", ".join(map(str, paths)), error)
            return
        except ExceptionGroup as failed:
            # a file's name that is no text in UTF-8 breaks a watch; what came with it is looked for when the next one begins
            _log.warning("the watch of %s broke and begins anew: %s", ", ".join(map(str, paths)), failed.exceptions[0])
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _BROKEN_PAUSE)
        begun = partial(changed, set(paths))


class DataWatch:
    """Which datasets a changed file concerns, and which folders have to be watched for that. Used on one event loop.

    Args:
        root: the data root, resolved.
        forbidden: folders below which nothing is watched (the lake, the cache): what is written there is ours.
    """

    def __init__(self, root: Path, forbidden: Iterable[Path]) -> None:
        self._root = root
        self._forbidden = tuple(forbidden)
        self._globs: Mapping[Key, tuple[str, ...]] = {}
        self._exact: dict[Path, set[Key]] = defaultdict(set)
        self._wild: dict[str, _Wild] = {}
        self._by_prefix: dict[Path, list[_Wild]] = {}
        self._below: dict[Path, set[Key]] = {}

    def aim(self, globs: Mapping[Key, tuple[str, ...]]) -> bool:
        """Takes over the datasets' globs; returns whether other folders have to be watched now. Costs what differs."""
        before = self.prefixes()
        for key in globs.keys() | self._globs.keys():
            was, now = self._globs.get(key, ()), globs.get(key, ())
            if was != now:
                for glob in dict.fromkeys(was):
                    self._drop(glob, key)
                for glob in now:
                    self._add(glob, key)
        if globs != self._globs:
            self._index()
        self._globs = globs
        return self.prefixes() != before

    def prefixes(self) -> frozenset[Path]:
        """Folders that hold everything the globs can match, existing or not."""
        return frozenset({path.parent for path in self._exact} | {wild.prefix for wild in self._wild.values()})

    def concerned(self, paths: Iterable[Path]) -> set[Key]:
        """Datasets that one of the changed paths may concern; a folder that came or went concerns all below it."""
        keys: set[Key] = set()
        for path in paths:
            if any(path.is_relative_to(folder) for folder in self._forbidden):
                continue
            keys |= self._exact.get(path, set()) | self._below.get(path, set())
            for folder in (path, *path.parents):
                for wild in self._by_prefix.get(folder, ()):
                    if wild.may_match(path):
                        keys |= wild.keys
        return keys

    def _index(self) -> None:
        """By folder, so that a burst over a thousand datasets costs what changed, not the product of both."""
        self._by_prefix, self._below = defaultdict(list), defaultdict(set)
        for wild in self._wild.values():
            self._by_prefix[wild.prefix].append(wild)
            for folder in (wild.prefix, *wild.prefix.parents):
                self._below[folder] |= wild.keys
        for path, keys in self._exact.items():
            for folder in path.parents:
                self._below[folder] |= keys

    def _add(self, glob: str, key: Key) -> None:
        if not has_magic(glob):
            self._exact[self._root / glob].add(key)
            return
        wild = self._wild.get(glob)
        if wild is None:
            wild = self._wild[glob] = _Wild(_prefix(self._root, glob), _expression(self._root, glob), set())
        wild.keys.add(key)

    def _drop(self, glob: str, key: Key) -> None:
        if not has_magic(glob):
            path = self._root / glob
            self._exact[path].discard(key)
            if not self._exact[path]:
                del self._exact[path]
            return
        self._wild[glob].keys.discard(key)
        if not self._wild[glob].keys:
            del self._wild[glob]


def existing(prefixes: Iterable[Path], root: Path) -> tuple[Watched, ...]:
    """The folders to watch for what lies below `prefixes`: each one's deepest existing folder, outermost only. Blocking.

    The root itself is watched without depth: it holds everything, the lake among it.
    """
    deepest = set()
    for prefix in prefixes:
        folder = prefix
        while folder != root and not folder.is_dir():
            folder = folder.parent
        deepest.add(folder)
    found: list[Path] = []
    # a folder sorts right before all that lies below it
    for folder in sorted(deepest - {root}):
        if not found or not folder.is_relative_to(found[-1]):
            found.append(folder)
    watched = tuple(Watched(folder, True) for folder in found)
    return (Watched(root, False), *watched) if root in deepest else watched


@dataclass(frozen=True)
class _Wild:
    """A glob with wildcards: the folder above them, an expression of the paths it may match, and whose it is."""

    prefix: Path
    expression: str
    keys: set[Key]

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Compiled when a file below the folder changes first, which for most globs is never."""
        return re.compile(self.expression)

    def may_match(self, path: Path) -> bool:
        """A path without a suffix may be a folder of files that match."""
        return not path.suffix or self.pattern.fullmatch(str(path)) is not None


def _prefix(root: Path, glob: str) -> Path:
    parts = glob.split("/")[:-1]
    first = next((position for position, part in enumerate(parts) if has_magic(part)), len(parts))
    return root.joinpath(*parts[:first])


def _expression(root: Path, glob: str) -> str:
    """A regular expression no stricter than the glob: `*` may cross folders, which at worst looks once too often."""
    return translate(f"{escape(str(root))}/{glob.replace('**/', '*')}")
