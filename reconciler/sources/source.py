"""What a source of specs is: a revision, the files that changed between two revisions, and their text.

Only files count, in every source alike, so that a plan of the working tree sees what its commit will hold: links and
submodules are neither followed nor read.

A source never parses and never remembers: `reconciler.world` holds what was read. A file's content is named by a
blob id, so that whatever was parsed once is recognised again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reconciler.errors import SourceUnavailable

SPECS_FOLDER = "specs"
SETTINGS_FILE = "lakehouse.yaml"


@dataclass(frozen=True, slots=True)
class FileChange:
    """A spec file whose content differs between two revisions; `path` as it is shown, `blob` None where the file is gone."""

    path: str
    blob: str | None


@dataclass(frozen=True, slots=True)
class Watched:
    """A folder to watch, with or without what lies below it."""

    path: Path
    recursive: bool


class Source(Protocol):
    """Where specs come from. Blocking; calls may come from any thread."""

    @property
    def root(self) -> Path | None:
        """The folder that relative paths of data resolve against; None for a bare repository."""
        ...

    def revision(self) -> str:
        """The revision the watched ref points at. Raises SourceUnavailable."""
        ...

    def head(self) -> str | None:
        """What `revision` would say, where one look at the ref tells; None where it takes more. Raises as that does."""
        ...

    def changes(self, old: str | None, new: str) -> tuple[FileChange, ...]:
        """Spec files that differ, in path order; all files of `new` where `old` is None.

        Raises RevisionUnknown where `old` is there no more, SourceUnavailable where `new` cannot be read.
        """
        ...

    def read(self, blob: str) -> bytes:
        """The text of a blob that `changes` named. Raises SourceUnavailable."""
        ...

    def settings(self, revision: str) -> bytes | None:
        """The text of lakehouse.yaml at that revision, None where there is none. Raises SourceUnavailable."""
        ...

    def earlier(self, path: str, revision: str) -> Iterator[str]:
        """Blobs that the file had before `revision`, newest first, as far back as is cheap, and as it was there without a gap."""
        ...

    def watched(self) -> tuple[Watched, ...]:
        """Folders in which a new revision shows first, whether they are there or not. Raises OSError."""
        ...


def shown_path(path: str) -> str:
    """The path as text: bytes of a file's name that are not UTF-8, which Python keeps as half characters, become `\\xe9`."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def linked(what: str) -> SourceUnavailable:
    """The refusal of a link that is not merely one file less: no source follows it, and reading nothing would be a guess."""
    return SourceUnavailable(f"{what} is a link, which is not followed", remedy="Put the file or folder itself in its place.")


def is_spec(path: str) -> bool:
    """Whether a path (relative, with slashes) is a spec file. `.yml` counts, so that it can be refused by name."""
    return path.startswith(f"{SPECS_FOLDER}/") and path.endswith((".yaml", ".yml"))
