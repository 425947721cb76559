"""Specs from a commit: reads the tree of the watched ref through libgit2, never the working copy.

Works on ordinary clones, linked worktrees and bare repositories. Two trees are compared by walking them side by side
and skipping equal ids, which costs what changed and not what exists.
"""

import threading
from collections.abc import Iterator
from pathlib import Path

import pygit2
from pygit2.enums import FileMode

from reconciler.errors import RevisionUnknown, SourceUnavailable
from reconciler.sources.source import SETTINGS_FILE, SPECS_FOLDER, FileChange, Watched, is_spec, linked, shown_path

_HISTORY_LIMIT = 200
FILES = (FileMode.BLOB, FileMode.BLOB_EXECUTABLE, FileMode.TREE)
"""Modes of tree entries that count."""


class GitSource:
    """A repository and a ref, HEAD unless told otherwise. See `sources.source.Source` for the contract."""

    def __init__(self, path: Path, ref: str = "HEAD") -> None:
        self._ref = ref
        # libgit2 handles are not safe to share between threads at once
        self._lock = threading.Lock()
        try:
            found = pygit2.discover_repository(str(path))
            if found is None:
                raise SourceUnavailable(
                    f"{path} is in no git repository", remedy="Create one with `lakectl init`, or name one with --repo."
                )
            self._repo = pygit2.Repository(found)
        except (pygit2.GitError, OSError) as error:
            raise SourceUnavailable(f"cannot open the git repository at {path}: {error}", remedy=_remedy(error, path)) from error

    @property
    def root(self) -> Path | None:
        """The work tree's folder; None for a bare repository."""
        workdir = self._repo.workdir
        return Path(workdir) if workdir else None

    @property
    def folder(self) -> Path:
        """The repository's own folder (`.git`, or a worktree's below it)."""
        return Path(self._repo.path)

    def revision(self) -> str:
        """The commit that the watched ref points at."""
        return self.resolve(self._ref)

    def head(self) -> str | None:
        """See `Source.head`."""
        return self.revision()

    def resolve(self, name: str) -> str:
        """The full id of the commit that a ref, a short id or an expression like `HEAD~1` names.

        Raises:
            RevisionUnknown: where nothing of that name is a commit.
            SourceUnavailable: where the repository cannot be read.
        """
        with self._lock:
            try:
                return str(self._repo.revparse_single(name).peel(pygit2.Commit).id)
            except (KeyError, ValueError, pygit2.InvalidSpecError) as error:
                unborn = name == "HEAD" and self._repo.head_is_unborn
                remedy = "Make the first: git add --all && git commit." if unborn else "Check the branch or revision with `git log --all`."
                raise RevisionUnknown(f"{name} names no commit in {self._repo.path}", remedy=remedy) from error
            except (pygit2.GitError, OSError) as error:
                raise SourceUnavailable(f"cannot read {self._repo.path}: {error}", remedy=_remedy(error, self.folder)) from error

    def changes(self, old: str | None, new: str) -> tuple[FileChange, ...]:
        """See `Source.changes`."""
        with self._lock, _translated(self.folder):
            before = self._specs(self._former(old)) if old is not None else None
            found = list(_compare(before, self._specs(self._tree(new)), SPECS_FOLDER))
        return tuple(sorted((change for change in found if is_spec(change.path)), key=lambda change: change.path))

    def read(self, blob: str) -> bytes:
        """See `Source.read`."""
        with self._lock, _translated(self.folder):
            return read_blob(self._repo, blob)

    def settings(self, revision: str) -> bytes | None:
        """See `Source.settings`."""
        with self._lock, _translated(self.folder):
            tree = self._tree(revision)
            if SETTINGS_FILE not in tree:
                return None
            if tree[SETTINGS_FILE].filemode == FileMode.LINK:
                raise linked(f"{SETTINGS_FILE} in {revision}")
            return read_blob(self._repo, str(tree[SETTINGS_FILE].id))

    def earlier(self, path: str, revision: str) -> Iterator[str]:
        """The file's former blobs along first parents, at most 200 commits back."""
        found: list[str] = []
        with self._lock, _translated(self.folder):
            commit = self._repo[revision].peel(pygit2.Commit)
            for _ in range(_HISTORY_LIMIT):
                if not commit.parents or path not in commit.parents[0].tree:
                    break
                commit = commit.parents[0]
                blob = str(commit.tree[path].id)
                if found[-1:] != [blob]:
                    found.append(blob)
        return iter(found)

    def watched(self) -> tuple[Watched, ...]:
        """The folders of HEAD and of the refs: a commit moves one of them."""
        own = common = Path(self._repo.path)
        pointer = own / "commondir"
        if pointer.is_file():
            common = (own / pointer.read_text(encoding="utf-8").strip()).resolve()
        return (*(Watched(path, False) for path in dict.fromkeys((own, common))), Watched(common / "refs", True))

    def _tree(self, revision: str) -> pygit2.Tree:
        return self._repo[revision].peel(pygit2.Tree)

    def _former(self, revision: str) -> pygit2.Tree:
        try:
            return self._tree(revision)
        except KeyError as error:
            raise RevisionUnknown(f"{revision} is in {self._repo.path} no more") from error

    def _specs(self, tree: pygit2.Tree) -> pygit2.Tree | None:
        return _subtree(tree[SPECS_FOLDER]) if SPECS_FOLDER in tree else None


def _compare(old: pygit2.Tree | None, new: pygit2.Tree | None, folder: str) -> Iterator[FileChange]:
    """What differs between two trees; a subtree or file with an equal id is skipped unread. No recursion: a tree may be of any depth."""
    waiting = [(old, new, folder)]
    while waiting:
        old, new, folder = waiting.pop()
        if old is not None and new is not None and old.id == new.id:
            continue
        before, after = _entries(old), _entries(new)
        for name in before.keys() | after.keys():
            was, now = before.get(name), after.get(name)
            if was is not None and now is not None and was.id == now.id and was.type_str == now.type_str:
                continue
            path = f"{folder}/{name}"
            if "tree" in (getattr(was, "type_str", None), getattr(now, "type_str", None)):
                waiting.append((_subtree(was), _subtree(now), path))
            if now is not None and now.type_str == "blob":
                yield FileChange(path, str(now.id))
            elif was is not None and was.type_str == "blob":
                yield FileChange(path, None)


def _entries(tree: pygit2.Tree | None) -> dict[str, pygit2.Object]:
    return {shown_path(entry.name or ""): entry for entry in tree if entry.filemode in FILES} if tree is not None else {}


def _subtree(entry: pygit2.Object | None) -> pygit2.Tree | None:
    return entry if isinstance(entry, pygit2.Tree) else None


def read_blob(repository: pygit2.Repository, blob: str) -> bytes:
    """The content of a blob. Raises KeyError if there is none of this id."""
    found = repository[blob]
    if not isinstance(found, pygit2.Blob):
        raise KeyError(blob)
    return bytes(found.data)


class _translated:
    """Turns libgit2's failures while reading into SourceUnavailable."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (KeyError, ValueError, OSError, pygit2.GitError)):
            raise SourceUnavailable(f"cannot read {self._folder}: {error}", remedy=_remedy(error, self._folder)) from error


def _remedy(error: BaseException, path: Path) -> str:
    if "owned by" in str(error):
        return f"Trust it with `git config --global --add safe.directory {path}`, or run as its owner."
    return "Check that the folder exists and is readable; `git fsck` tells whether it is whole."
