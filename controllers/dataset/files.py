"""The files that a Dataset's globs match, with their content digests. Reads; decides nothing.

A file is hashed when size, times or inode moved, or moved a moment ago; the rest is remembered. What matches but cannot be a source (a
directory, a link that leads out of the data root, an unknown format) is named with the reason, never skipped in silence.
"""

import os
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from controllers.dataset.globs import Closed, Match, matches
from controllers.dataset.known_digests import KnownDigests, Signature
from engines.files.formats import DOCUMENTS, FORMATS, Format, named_format, reader_of
from engines.files.source import ReadOptions
from specs.kinds.dataset import DatasetSpec
from state.catalog.tables import ObjectVersion
from state.digest_file import sha256_bytes, sha256_file
from state.objects import ObjectInfo, ObjectRef


def format_of(path: str, said: str | None) -> str:
    """The format of a listed file; said: by the spec. Raises KeyError for a name that says nothing."""
    found = said or named_format(path)
    if found is None:
        raise KeyError(path)
    return found


def identity(path: str, form: str, content: str) -> str:
    """What the rows of a file belong to; content: its SHA-256. A document is its path too, which stands in its rows: renamed or copied,
    it is another one."""
    return sha256_bytes(f"{path}\0{content}".encode()) if form in DOCUMENTS else content


def how_read(spec: DatasetSpec, path: str) -> tuple[Format, ReadOptions]:
    """By what the spec says, else by the file's name. Raises KeyError for a name that says nothing."""
    source, named = spec.source, format_of(path, spec.source.format)
    options = ReadOptions(
        encoding=source.encoding,
        delimiter=source.delimiter or ("\t" if named == "tsv" else None),
        header=None if source.header is None else bool(source.header),
        skip=0 if isinstance(source.header, bool) or source.header is None else source.header - 1,
        sheet=source.sheet,
        ocr=source.ocr,
        formats={name: column.format for name, column in spec.columns.items() if column.format is not None},
        nulls=source.nulls,
        column_nulls={name: column.nulls for name, column in spec.columns.items() if column.nulls is not None},
    )
    return reader_of(named), options


_TICK_NS = 50_000_000
"""Nanoseconds that a file must have rested before its digest is remembered: file systems stamp times by the kernel's tick (10 ms at most),
and two writes of one size within a tick leave the same signature."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file: path relative to the data root, digest of what its rows belong to (see `identity`), size in bytes, mtime in ns.

    edit: the object that holds an edit, which is read again like a file where its table is made anew; its digest is its name.
    object: of one in a bucket, whose path is the bucket's name and the key.
    """

    path: str
    digest: str
    size: int
    mtime_ns: int
    edit: ObjectRef | None = None
    object: ObjectVersion | None = None


@dataclass(frozen=True, slots=True)
class Unusable:
    """A path that matches but is no source."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What the globs match now, in lexical order of paths. unread: objects of a bucket that match, and whose content nobody knows yet."""

    files: tuple[SourceFile, ...] = ()
    unusable: tuple[Unusable, ...] = ()
    unread: tuple[ObjectInfo, ...] = ()


class SourceFiles:
    """Lists files below a data root. Blocking and thread-safe; hashes no unchanged file twice."""

    def __init__(
        self,
        root: Path,
        ours: Callable[[], Iterable[Path]] = tuple,
        clock: Callable[[], int] = time.time_ns,
        known: KnownDigests | None = None,
    ) -> None:
        """ours: the folders that hold what Lakehouse wrote itself, none of which is a source. clock: nanoseconds, as files are stamped.
        known: what was hashed before; None for nothing."""
        self._root = root.resolve()
        self._base = str(self._root)
        self._above = {self._base, *map(str, self._root.parents)}
        self._ours = ours
        self._clock = clock
        self._known = known or KnownDigests()

    def list(self, patterns: Sequence[str], form: str | None = None) -> Listing:
        """The files that any pattern matches. A file that vanishes meanwhile counts as gone.

        form: the format that the spec names, so that a file's name need not.
        """
        files: list[SourceFile] = []
        unusable: list[Unusable] = []
        for path, match in sorted(self._matches(patterns).items()):
            found = self._usable(match, form) if isinstance(match, Match) else Unusable(path, match.reason)
            if isinstance(found, SourceFile):
                files.append(found)
            elif found is not None:
                unusable.append(found)
        return Listing(tuple(files), tuple(unusable))

    def forget(self, patterns: Sequence[str]) -> None:
        """Drops remembered digests, so that the next listing reads the contents again (`lakectl resync`)."""
        for path in self._matches(patterns):
            self._known.forget(path)

    def save(self) -> None:
        """Writes down what was hashed, for the next process."""
        self._known.save()

    def resolve(self, path: str) -> Path:
        """The place of a listed file."""
        return self._root / path

    def _matches(self, patterns: Sequence[str]) -> dict[str, Match | Closed]:
        ours = {str(folder) for folder in self._ours()} - self._above
        return {found.path: found for pattern in patterns for found in matches(self._base, pattern, ours)}

    def _usable(self, match: Match, form: str | None) -> SourceFile | Unusable | None:
        """None for a file that is gone by now."""
        path = match.path
        if not path.isprintable():
            shown = path.encode("ascii", "backslashreplace").decode()
            return Unusable(shown, "has a name with bytes that are no text in UTF-8, or with control characters; rename it")
        try:
            return self._look(match, form)
        except FileNotFoundError:
            return Unusable(path, "is a link that leads nowhere") if (self._root / path).is_symlink() else None
        except OSError as error:
            return Unusable(path, f"cannot be read: {error.strerror}")
        except RuntimeError:
            # what pathlib makes of links in a circle
            return Unusable(path, "is a link that leads back to itself")

    def _look(self, match: Match, form: str | None) -> SourceFile | Unusable:
        if match.linked and (outside := self._misplaced(self._root / match.path)):
            return Unusable(match.path, outside)
        looked, place = self._clock(), f"{self._base}/{match.path}"
        facts = os.stat(place)  # noqa: PTH116  (the same call; a Path of each of ten thousand would cost more)
        if stat.S_ISDIR(facts.st_mode):
            return Unusable(match.path, "is a directory; name the files inside it, as in `folder/*.csv`")
        if not stat.S_ISREG(facts.st_mode):
            return Unusable(match.path, "is neither a file nor a link to one")
        form = form or named_format(match.path)
        if form is None:
            return Unusable(match.path, f"has no format that is read; known suffixes are {', '.join(FORMATS)}")
        signature = Signature(facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)
        digest = self._known.get(match.path, signature)
        if digest is None:
            digest = sha256_file(place)
            if looked - facts.st_ctime_ns > _TICK_NS:
                self._known.put(match.path, signature, digest)
        return SourceFile(match.path, identity(match.path, form, digest), facts.st_size, facts.st_mtime_ns)

    def _misplaced(self, place: Path) -> str | None:
        """Why a path on which there are links is no source, all of them followed. Raises RuntimeError for links in a circle."""
        target = place.resolve()
        if not target.is_relative_to(self._root):
            return "is a link that leads out of the data root; copy the file below the root, or set --data-root"
        if any(target.is_relative_to(folder) for folder in self._ours() if folder not in (self._root, *self._root.parents)):
            return "is a link into a folder of Lakehouse's own; keep source files apart from buckets"
        return None
