"""Being told early: folders are watched by the operating system, so that a commit or a new data file is seen within
milliseconds. A relist stands behind every watch; a notification that is lost costs latency, never correctness.

watchfiles' own filter ignores `.git`, so it is off here; `step` is how long it waits for more of the same burst.
"""

import asyncio
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property
from pathlib import Path

from watchfiles import awatch

from reconciler.sources.source import Watched
from specs.resource import Key

_log = logging.getLogger(__name__)

_STEP_MS = 20
_DEBOUNCE_MS = 200
_WILD = frozenset("*?[")


async def watch(folders: Iterable[Watched], changed: Callable[[set[Path]], None], stop: asyncio.Event) -> None:
    """Calls `changed` with the paths of every burst until `stop` is set. A folder that cannot be watched is left to the relist."""
    by_depth: dict[bool, list[Path]] = defaultdict(list)
    for folder in folders:
        if folder.path.is_dir():
            by_depth[folder.recursive].append(folder.path)
    async with asyncio.TaskGroup() as tasks:
        for recursive, paths in by_depth.items():
            tasks.create_task(_watch(paths, recursive, changed, stop))


async def _watch(paths: list[Path], recursive: bool, changed: Callable[[set[Path]], None], stop: asyncio.Event) -> None:
    try:
        bursts = awatch(*paths, watch_filter=None, step=_STEP_MS, debounce=_DEBOUNCE_MS, stop_event=stop, recursive=recursive)
        async for burst in bursts:
            changed({Path(path) for _, path in burst})
    except (OSError, RuntimeError) as error:
        _log.warning("cannot watch %s, changes are seen at the next relist: %s", ", ".join(map(str, paths)), error)


@dataclass(frozen=True)
class _Aim:
    """A dataset's glob and the folder watched for it; `there` unless a folder that is yet to come would be nearer."""

    key: Key
    glob: str
    folder: Path
    there: bool

    @cached_property
    def expression(self) -> re.Pattern[str]:
        """Compiled when the first file changes, which for most globs is never."""
        return re.compile(_expression(self.glob))


class DataWatch:
    """Which datasets a changed file concerns, and which folders have to be watched for that.

    Args:
        root: the data root, resolved.
        forbidden: folders below which nothing is watched (the lake, the cache): what is written there is ours.
    """

    def __init__(self, root: Path, forbidden: Iterable[Path]) -> None:
        self._root = root
        self._forbidden = tuple(forbidden)
        self._globs: Mapping[Key, tuple[str, ...]] = {}
        self._aims: dict[tuple[Key, str], _Aim] = {}
        self._patterns: dict[Path, list[_Aim]] = {}
        self._above: dict[Path, list[Path]] = {}

    def aim(self, globs: Mapping[Key, tuple[str, ...]]) -> bool:
        """Takes over the datasets' globs; returns whether other folders have to be watched now.

        Only what is new, or waits for a folder, is looked at: most commits change one of a thousand datasets.
        """
        if globs == self._globs and all(aim.there for aim in self._aims.values()):
            return False
        aims: dict[tuple[Key, str], _Aim] = {}
        patterns: dict[Path, list[_Aim]] = defaultdict(list)
        for key, its_globs in globs.items():
            for glob in its_globs:
                known = self._aims.get((key, glob))
                aim = known if known is not None and known.there else self._aim(key, glob)
                aims[key, glob] = aim
                patterns[aim.folder].append(aim)
        differs = patterns.keys() != self._patterns.keys()
        self._globs, self._aims, self._patterns = globs, aims, dict(patterns)
        if differs:
            self._above = defaultdict(list)
            for folder in patterns:
                for outer in (folder, *folder.parents):
                    self._above[outer].append(folder)
        return differs

    @property
    def folders(self) -> tuple[Watched, ...]:
        """Outermost folders only: what lies below one is watched with it. The root itself is watched without depth."""
        found: list[Path] = []
        outer = None
        # a folder sorts right before all that lies below it
        for folder in sorted(self._patterns):
            if outer is None or not folder.is_relative_to(outer):
                found.append(folder)
                outer = folder if folder != self._root else None
        return tuple(Watched(folder, folder != self._root) for folder in found if folder.is_dir())

    def concerned(self, paths: Iterable[Path]) -> set[Key]:
        """Datasets that one of the changed paths may concern; a folder that came or went concerns all below it."""
        keys: set[Key] = set()
        for path in paths:
            if any(path.is_relative_to(folder) for folder in self._forbidden):
                continue
            for folder in self._above.get(path, ()):
                keys.update(aim.key for aim in self._patterns[folder])
            for folder in path.parents:
                if folder in self._patterns:
                    relative = path.relative_to(self._root).as_posix()
                    exact = path.suffix != ""
                    keys.update(aim.key for aim in self._patterns[folder] if not exact or aim.expression.fullmatch(relative))
        return keys

    def _aim(self, key: Key, glob: str) -> _Aim:
        """The deepest existing folder that holds everything the glob can match."""
        parts: list[str] = []
        for part in glob.split("/")[:-1]:
            if _WILD & set(part):
                break
            parts.append(part)
        wanted = folder = self._root.joinpath(*parts)
        while folder != self._root and not folder.is_dir():
            folder = folder.parent
        return _Aim(key, glob, folder, folder == wanted)


def _expression(glob: str) -> str:
    """A regular expression no stricter than the glob: `*` may cross folders, which at worst looks once too often."""
    return translate(glob.replace("**/", "*"))
