"""Specs from a plain directory: for trying things out, and for repositories that git does not keep.

The revision is a digest of all spec files, so that an unchanged folder is an unchanged revision. Contents are hashed
only when size, times or inode moved.
"""

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from reconciler.errors import RevisionUnknown, SourceUnavailable
from reconciler.sources.source import SETTINGS_FILE, SPECS_FOLDER, FileChange, Watched, is_spec, linked, shown_path

_Signature = tuple[int, int, int, int]
_REMEMBERED = 4
"""Revisions that `changes` can be asked about."""


class DirectorySource:
    """A folder that holds `specs/` and, perhaps, `lakehouse.yaml`. See `sources.source.Source` for the contract."""

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise SourceUnavailable(f"{path} is not a directory", remedy="Name a folder that holds `specs/`.")
        self._root = path
        self._lock = threading.Lock()
        self._known: dict[str, tuple[_Signature, str]] = {}
        self._texts: dict[str, bytes] = {}
        self._revisions: dict[str, dict[str, str]] = {}

    @property
    def root(self) -> Path | None:
        """The folder itself."""
        return self._root

    def revision(self) -> str:
        """`dir-` and a digest over paths and contents."""
        with self._lock:
            there = sorted(self._paths())
            files = {shown_path(path): self._blob(path) for path in there}
            settings = self._settings() or b""
        whole = hashlib.sha256(settings)
        for path, blob in files.items():
            whole.update(f"\0{path}\0{blob}".encode())
        revision = f"dir-{whole.hexdigest()[:40]}"
        with self._lock:
            # the one in force is among the newest, however often a reading of one that followed failed
            former = [known for known in self._revisions if known != revision][1 - _REMEMBERED :]
            self._revisions = {known: self._revisions[known] for known in former} | {revision: files}
            self._forget(there)
        return revision

    def head(self) -> str | None:
        """Nothing: all files would have to be looked at."""
        return None

    def changes(self, old: str | None, new: str) -> tuple[FileChange, ...]:
        """See `Source.changes`."""
        with self._lock:
            if old is not None and old not in self._revisions:
                raise RevisionUnknown(f"what {self._root} held as {old} is not remembered")
            if new not in self._revisions:
                raise SourceUnavailable(f"{self._root} changed while it was read")
            before = self._revisions[old] if old is not None else {}
            after = self._revisions[new]
        differing = {path: after.get(path) for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
        return tuple(FileChange(path, differing[path]) for path in sorted(differing))

    def read(self, blob: str) -> bytes:
        """See `Source.read`."""
        with self._lock:
            try:
                return self._texts[blob]
            except KeyError:
                raise SourceUnavailable(f"a spec file below {self._root} changed while it was read") from None

    def settings(self, revision: str) -> bytes | None:
        """The file as it is now: a directory has no past."""
        return self._settings()

    def earlier(self, path: str, revision: str) -> Iterator[str]:
        """Nothing: a directory has no past."""
        return iter(())

    def watched(self) -> tuple[Watched, ...]:
        """The specs' folder, and the root for `lakehouse.yaml`."""
        return (Watched(self._root, False), Watched(self._root / SPECS_FOLDER, True))

    def _paths(self) -> Iterator[str]:
        """Spec files as the system names them, relative to the root."""
        folder = self._root / SPECS_FOLDER
        if folder.is_symlink():
            raise linked(str(folder))
        waiting = [SPECS_FOLDER]
        while waiting:
            folder = self._root / waiting[-1]
            try:
                with os.scandir(folder) as entries:
                    inside = [(f"{waiting[-1]}/{entry.name}", entry) for entry in entries]
            except OSError as error:
                # a folder that cannot be listed is not an empty one: nothing may be removed for it
                raise _unreadable(folder, error) from error
            waiting.pop()
            waiting += [path for path, entry in inside if entry.is_dir(follow_symlinks=False)]
            yield from (path for path, entry in inside if entry.is_file(follow_symlinks=False) and is_spec(path))

    def _blob(self, path: str) -> str:
        place = self._root / path
        try:
            facts = place.stat()
            signature = (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)
            known = self._known.get(path)
            if known is not None and known[0] == signature:
                return known[1]
            text = place.read_bytes()
        except OSError as error:
            raise _unreadable(place, error) from error
        blob = hashlib.sha256(text).hexdigest()
        self._known[path] = (signature, blob)
        self._texts[blob] = text
        return blob

    def _forget(self, there: list[str]) -> None:
        """Lets go of files that are gone and of texts that no remembered revision holds."""
        held = {blob for files in self._revisions.values() for blob in files.values()}
        self._known = {path: self._known[path] for path in there}
        self._texts = {blob: self._texts[blob] for blob in held}

    def _settings(self) -> bytes | None:
        place = self._root / SETTINGS_FILE
        if place.is_symlink():
            raise linked(str(place))
        try:
            return place.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(place, error) from error


def _unreadable(place: Path, error: OSError) -> SourceUnavailable:
    missing = isinstance(error, FileNotFoundError) and place.name == SPECS_FOLDER
    remedy = f"Name the folder that holds `{SPECS_FOLDER}/`, or make it with `lakectl init`." if missing else "Check that it is readable."
    return SourceUnavailable(f"cannot read {shown_path(str(place))}: {error.strerror}", remedy=remedy)
