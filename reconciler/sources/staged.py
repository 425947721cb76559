"""Specs as they are staged for the next commit: what the pre-commit hook plans. Read once; a staged tree has no watch and no past."""

from collections.abc import Iterator
from pathlib import Path

import pygit2
from pygit2.enums import FileMode

from reconciler.errors import SourceUnavailable
from reconciler.sources.git import FILES, read_blob
from reconciler.sources.source import SETTINGS_FILE, FileChange, Watched, is_spec, linked, shown_path


class StagedSource:
    """The index of a git repository. See `sources.source.Source` for the contract.

    index: another index file than the repository's own; git gives its hooks one while it commits some files only.
    """

    def __init__(self, path: Path, index: Path | None = None) -> None:
        try:
            found = pygit2.discover_repository(str(path))
            if found is None:
                raise SourceUnavailable(f"{path} is in no git repository", remedy="Run this inside one.")
            self._repo = pygit2.Repository(found)
            self._index = pygit2.Index(str(index)) if index is not None else self._repo.index
            self._index.read()
        except (pygit2.GitError, OSError) as error:
            raise SourceUnavailable(f"cannot read what is staged at {path}: {error}") from error

    @property
    def root(self) -> Path | None:
        """The work tree's folder; None for a bare repository."""
        workdir = self._repo.workdir
        return Path(workdir) if workdir else None

    def revision(self) -> str:
        """A name that no commit has."""
        return "staged"

    def head(self) -> str | None:
        """Nothing: what is staged moves with no ref."""
        return None

    def changes(self, old: str | None, new: str) -> tuple[FileChange, ...]:
        """Every staged spec file."""
        found = [FileChange(shown_path(entry.path), str(entry.id)) for entry in self._index if is_spec(entry.path) and entry.mode in FILES]
        return tuple(sorted(found, key=lambda change: change.path))

    def read(self, blob: str) -> bytes:
        """See `Source.read`."""
        return read_blob(self._repo, blob)

    def settings(self, revision: str) -> bytes | None:
        """See `Source.settings`."""
        if SETTINGS_FILE not in self._index:
            return None
        staged = self._index[SETTINGS_FILE]
        if staged.mode == FileMode.LINK:
            raise linked(f"the staged {SETTINGS_FILE}")
        return self.read(str(staged.id))

    def earlier(self, path: str, revision: str) -> Iterator[str]:
        """Nothing: what is wrong now is told now."""
        return iter(())

    def watched(self) -> tuple[Watched, ...]:
        """Nothing."""
        return ()
