"""The files that a Dataset's globs match, with their content digests. Reads; decides nothing.

A file is hashed when size, mtime or inode moved; the rest is remembered. What matches but cannot be a source (a
directory, a link that leads out of the data root, an unknown format) is named with the reason, never skipped in silence.
"""

import os
import stat
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path

from state.digest_file import sha256_file

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "json",
    ".parquet": "parquet",
}
"""Formats by the last suffix of a file's name."""

_Signature = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file: path relative to the data root, SHA-256 of its content, size in bytes, mtime in nanoseconds."""

    path: str
    digest: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Unusable:
    """A path that matches but is no source."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What the globs match now, in lexical order of paths."""

    files: tuple[SourceFile, ...] = ()
    unusable: tuple[Unusable, ...] = ()


class SourceFiles:
    """Lists files below a data root. Blocking and thread-safe; keeps digests of unchanged files in memory."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._lock = threading.Lock()
        self._known: dict[str, tuple[_Signature, str]] = {}

    def list(self, patterns: Sequence[str], *, any_suffix: bool = False) -> Listing:
        """The files that any pattern matches. A file that vanishes meanwhile counts as gone.

        any_suffix: the spec names the format, so that a file's name need not.
        """
        files: list[SourceFile] = []
        unusable: list[Unusable] = []
        folders: dict[Path, bool] = {}
        for path in sorted({path for pattern in patterns for path in self._matches(pattern)}):
            try:
                found = self._look(path, any_suffix, folders)
            except FileNotFoundError:
                if not (self._root / path).is_symlink():
                    continue
                found = Unusable(path, "is a link that leads nowhere")
            except OSError as error:
                found = Unusable(path, f"cannot be read: {error.strerror}")
            except RuntimeError:
                # what pathlib makes of links in a circle
                found = Unusable(path, "is a link that leads back to itself")
            if isinstance(found, SourceFile):
                files.append(found)
            else:
                unusable.append(found)
        return Listing(tuple(files), tuple(unusable))

    def forget(self, patterns: Sequence[str]) -> None:
        """Drops remembered digests, so that the next listing reads the contents again (`lakectl resync`)."""
        with self._lock:
            for path in {path for pattern in patterns for path in self._matches(pattern)}:
                self._known.pop(path, None)

    def resolve(self, path: str) -> Path:
        """The place of a listed file."""
        return self._root / path

    def _matches(self, pattern: str) -> Iterator[str]:
        if pattern.startswith("/") or ".." in pattern.split("/"):
            return
        if not has_magic(pattern):
            # most datasets name one file, and a glob of one would look at every folder on the way
            if os.path.lexists(self._root / pattern):
                yield pattern
            return
        for place in self._root.glob(pattern):
            yield place.relative_to(self._root).as_posix()

    def _look(self, path: str, any_suffix: bool, folders: dict[Path, bool]) -> SourceFile | Unusable:
        place = self._root / path
        if not self._inside(place, folders):
            return Unusable(path, "is a link that leads out of the data root; copy the file below the root, or set --data-root")
        facts = place.stat()
        if stat.S_ISDIR(facts.st_mode):
            return Unusable(path, "is a directory; name the files inside it, as in `folder/*.csv`")
        if not stat.S_ISREG(facts.st_mode):
            return Unusable(path, "is neither a file nor a link to one")
        if not any_suffix and place.suffix.lower() not in FORMATS:
            return Unusable(path, f"has no format that is read; known suffixes are {', '.join(FORMATS)}")
        signature = (facts.st_size, facts.st_mtime_ns, facts.st_ino)
        with self._lock:
            known = self._known.get(path)
        if known is not None and known[0] == signature:
            return SourceFile(path, known[1], facts.st_size, facts.st_mtime_ns)
        digest = sha256_file(place)
        with self._lock:
            self._known[path] = (signature, digest)
        return SourceFile(path, digest, facts.st_size, facts.st_mtime_ns)

    def _inside(self, place: Path, folders: dict[Path, bool]) -> bool:
        """Whether the path, all links followed, stays below the root. `folders` remembers, for one listing."""
        parent = folders.get(place.parent)
        if parent is None:
            parent = folders[place.parent] = place.parent.resolve().is_relative_to(self._root)
        return parent if not place.is_symlink() else place.resolve().is_relative_to(self._root)
