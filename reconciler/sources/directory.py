"""Specs from a plain directory: for trying things out, and for repositories that git does not keep.

The revision is a digest of all spec files, so that an unchanged folder is an unchanged revision. Contents are hashed
only when size or mtime moved.
"""

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from reconciler.errors import RevisionUnknown, SourceUnavailable
from reconciler.sources.source import SETTINGS_FILE, SPECS_FOLDER, FileChange, Watched, is_spec

_Signature = tuple[int, int]
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
            files = {path: self._blob(path) for path in self._paths()}
            settings = self._read(SETTINGS_FILE) or b""
        whole = hashlib.sha256(settings)
        for path, blob in files.items():
            whole.update(f"\0{path}\0{blob}".encode())
        revision = f"dir-{whole.hexdigest()[:40]}"
        with self._lock:
            # the one in force is among the newest, however often a reading of one that followed failed
            former = [known for known in self._revisions if known != revision][1 - _REMEMBERED :]
            self._revisions = {known: self._revisions[known] for known in former} | {revision: files}
        return revision

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
        return self._read(SETTINGS_FILE)

    def earlier(self, path: str, revision: str) -> Iterator[str]:
        """Nothing: a directory has no past."""
        return iter(())

    def watched(self) -> tuple[Watched, ...]:
        """The specs' folder, and the root for `lakehouse.yaml`."""
        return (Watched(self._root, False), Watched(self._root / SPECS_FOLDER, True))

    def _paths(self) -> list[str]:
        found = []
        for folder, _, names in os.walk(self._root / SPECS_FOLDER, onerror=self._refuse):
            found += [(Path(folder) / name).relative_to(self._root).as_posix() for name in names]
        return sorted(path for path in found if is_spec(path))

    def _refuse(self, error: OSError) -> None:
        """A folder that cannot be listed is not an empty one: nothing may be removed for it."""
        raise SourceUnavailable(
            f"cannot read {error.filename}: {error.strerror}", remedy="Check that it exists and is readable."
        ) from error

    def _blob(self, path: str) -> str:
        try:
            facts = (self._root / path).stat()
            signature = (facts.st_size, facts.st_mtime_ns)
            known = self._known.get(path)
            if known is not None and known[0] == signature:
                return known[1]
            text = (self._root / path).read_bytes()
        except OSError as error:
            raise SourceUnavailable(f"cannot read {self._root / path}: {error.strerror}") from error
        blob = hashlib.sha256(text).hexdigest()
        self._known[path] = (signature, blob)
        self._texts[blob] = text
        return blob

    def _read(self, path: str) -> bytes | None:
        try:
            return (self._root / path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SourceUnavailable(f"cannot read {self._root / path}: {error.strerror}") from error
