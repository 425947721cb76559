"""Being told early: folders are watched by the operating system, so that a commit or a new data file is seen within
milliseconds. A relist stands behind every watch; a notification that is lost costs latency, never correctness.

watchfiles' own filter ignores `.git`, so it is off here; `step` is how long it waits for more of the same burst.
"""

import asyncio
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from fnmatch import translate
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


class DataWatch:
    """Which datasets a changed file concerns, and which folders have to be watched for that.

    Args:
        root: the data root, resolved.
        forbidden: folders below which nothing is watched (the lake, the cache): what is written there is ours.
    """

    def __init__(self, root: Path, forbidden: Iterable[Path]) -> None:
        self._root = root
        self._forbidden = tuple(forbidden)
        self._patterns: dict[Path, list[tuple[re.Pattern[str], Key]]] = {}

    def aim(self, globs: Mapping[Key, tuple[str, ...]]) -> bool:
        """Takes over the datasets' globs; returns whether other folders have to be watched now."""
        patterns: dict[Path, list[tuple[re.Pattern[str], Key]]] = defaultdict(list)
        for key, its_globs in globs.items():
            for glob in its_globs:
                patterns[self._folder(glob)].append((re.compile(_expression(glob)), key))
        differs = patterns.keys() != self._patterns.keys()
        self._patterns = dict(patterns)
        return differs

    @property
    def folders(self) -> tuple[Watched, ...]:
        """Outermost folders only: what lies below one is watched with it. The root itself is watched without depth."""
        found: list[Path] = []
        for folder in sorted(self._patterns):
            if not any(folder.is_relative_to(outer) for outer in found if outer != self._root):
                found.append(folder)
        return tuple(Watched(folder, folder != self._root) for folder in found if folder.is_dir())

    def concerned(self, paths: Iterable[Path]) -> set[Key]:
        """Datasets that one of the changed paths may concern; a folder that came or went concerns all below it."""
        keys: set[Key] = set()
        for path in paths:
            if any(path.is_relative_to(folder) for folder in self._forbidden):
                continue
            for folder, patterns in self._patterns.items():
                if folder.is_relative_to(path):
                    keys.update(key for _, key in patterns)
                elif path.is_relative_to(folder):
                    relative = path.relative_to(self._root).as_posix()
                    exact = path.suffix != ""
                    keys.update(key for pattern, key in patterns if not exact or pattern.fullmatch(relative))
        return keys

    def _folder(self, glob: str) -> Path:
        """The deepest existing folder that holds everything the glob can match."""
        parts: list[str] = []
        for part in glob.split("/")[:-1]:
            if _WILD & set(part):
                break
            parts.append(part)
        folder = self._root.joinpath(*parts)
        while folder != self._root and not folder.is_dir():
            folder = folder.parent
        return folder


def _expression(glob: str) -> str:
    """A regular expression no stricter than the glob: `*` may cross folders, which at worst looks once too often."""
    return translate(glob.replace("**/", "*"))
