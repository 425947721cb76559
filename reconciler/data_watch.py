"""Which datasets a changed file concerns, and which folders hold their files.

Kept up to date by what changed, so that one more dataset among a hundred thousand costs what one costs.
"""

import os
import re
import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cached_property
from glob import escape, has_magic
from pathlib import Path

from engines.files.formats import FORMATS
from reconciler.sources.source import Watched
from reconciler.watch import Aim, is_folder
from specs.resource import Key


class DataWatch:
    """Thread-safe.

    Args:
        root: the data root, resolved.
        forbidden: folders below which nothing is watched (the lake, the cache): what is written there is ours.
    """

    def __init__(self, root: Path, forbidden: Iterable[Path]) -> None:
        self._root = root
        self._forbidden = tuple(forbidden)
        self._lock = threading.Lock()
        self._globs: dict[Key, tuple[str, ...]] = {}
        self._exact: dict[Path, set[Key]] = defaultdict(set)
        self._wild: dict[Path, dict[str, _Wild]] = defaultdict(dict)
        self._prefixes: Counter[Path] = Counter()
        self._places: list[str] | None = None

    def aim(self, globs: Mapping[Key, tuple[str, ...]]) -> bool:
        """Takes over the globs of these datasets, none for one that reads no files any more.

        Returns whether other folders have to be watched now.
        """
        with self._lock:
            before = len(self._prefixes)
            came = False
            for key, now in globs.items():
                was = self._globs.get(key, ())
                for glob in dict.fromkeys(now):
                    came |= glob not in was and self._add(glob, key)
                for glob in dict.fromkeys(was):
                    if glob not in now:
                        self._drop(glob, key)
                self._globs[key] = now
                if not now:
                    del self._globs[key]
            return came or len(self._prefixes) != before

    def prefixes(self) -> frozenset[Path]:
        """Folders that hold everything the globs can match, existing or not."""
        with self._lock:
            return frozenset(self._prefixes)

    def folders(self) -> Aim:
        """What to watch for the data files. Blocking."""
        prefixes = self.prefixes()
        watched = existing(prefixes, self._root)
        return Aim(watched, prefixes - {folder.path for folder in watched})

    def concerned(self, paths: Iterable[Path]) -> set[Key]:
        """Datasets that one of the changed paths may concern; a folder that came or went concerns all below it."""
        keys: set[Key] = set()
        with self._lock:
            for path in paths:
                if not any(path.is_relative_to(folder) for folder in self._forbidden):
                    keys |= self._concerned(path)
        return keys

    def _concerned(self, path: Path) -> set[Key]:
        keys = set(self._exact.get(path, ()))
        for folder in (path, *path.parents):
            for wild in self._wild.get(folder, {}).values():
                if wild.may_match(path):
                    keys |= wild.keys
        for place in self._below(path):
            keys |= self._exact.get(place, set())
            for wild in self._wild.get(place, {}).values():
                keys |= wild.keys
        return keys

    def _below(self, folder: Path) -> Iterator[Path]:
        """Files that are named, and folders of globs, below a folder."""
        if self._places is None:
            # nearly in order after few changes, which is what the sort is fast at
            self._places = sorted({str(place) for place in (*self._exact, *self._wild)})
        start = f"{folder}{os.sep}"
        for position in range(bisect_left(self._places, start), len(self._places)):
            if not self._places[position].startswith(start):
                return
            yield Path(self._places[position])

    def _add(self, glob: str, key: Key) -> bool:
        """Returns whether its folder is a new one."""
        self._places = None
        if has_magic(glob):
            prefix = _prefix(self._root, glob)
            wild = self._wild[prefix].setdefault(glob, _Wild(self._root, glob))
            wild.keys.add(key)
        else:
            prefix = (self._root / glob).parent
            self._exact[self._root / glob].add(key)
        self._prefixes[prefix] += 1
        return self._prefixes[prefix] == 1

    def _drop(self, glob: str, key: Key) -> None:
        self._places = None
        if has_magic(glob):
            prefix = _prefix(self._root, glob)
            wild = self._wild[prefix][glob]
            wild.keys.discard(key)
            if not wild.keys:
                del self._wild[prefix][glob]
            if not self._wild[prefix]:
                del self._wild[prefix]
        else:
            path = self._root / glob
            prefix = path.parent
            self._exact[path].discard(key)
            if not self._exact[path]:
                del self._exact[path]
        self._prefixes[prefix] -= 1
        if not self._prefixes[prefix]:
            del self._prefixes[prefix]


def existing(prefixes: Iterable[Path], root: Path) -> tuple[Watched, ...]:
    """The folders to watch for what lies below `prefixes`: each one's deepest existing folder, outermost only. Blocking.

    The root itself is watched without depth: it holds everything, the lake among it.
    """
    deepest = set()
    for prefix in prefixes:
        folder = prefix
        while folder != root and not is_folder(folder):
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
    """A glob with wildcards, and whose it is."""

    root: Path
    glob: str
    keys: set[Key] = field(default_factory=set)

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """No stricter than the glob: `*` may cross folders, which at worst looks once too often.

        Compiled when a file below the folder changes first, which for most globs is never.
        """
        return re.compile(translate(f"{escape(str(self.root))}/{self.glob.replace('**/', '*')}"))

    def may_match(self, path: Path) -> bool:
        """Whether the path may match, or be a folder of files that do."""
        may_hold = (
            path.suffix.lower() not in FORMATS if "**" in self.glob else len(path.parts) <= len(self.root.parts) + self.glob.count("/")
        )
        return may_hold or self.pattern.fullmatch(str(path)) is not None


def _prefix(root: Path, glob: str) -> Path:
    parts = glob.split("/")[:-1]
    first = next((position for position, part in enumerate(parts) if has_magic(part)), len(parts))
    return root.joinpath(*parts[:first])
