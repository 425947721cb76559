"""What several tests of the reconciler start from: a git repository written through libgit2, specs, a clock that stands still."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import pygit2
from pygit2.enums import FileMode

AUTHOR = pygit2.Signature("Ada", "ada@example.org", 1_700_000_000, 0)

NONE: Mapping[str, str] = MappingProxyType({})

BUCKET = """\
apiVersion: lakehouse/v1
kind: Bucket
metadata: {name: primary}
spec: {local: {path: lake}}
"""


def dataset(name: str, more: str = "", glob: str | None = None) -> str:
    """One document of a Dataset over `data/<name>/*.csv`; `more` continues its spec."""
    source = f'source: {{files: "{glob or f"data/{name}/*.csv"}"}}'
    return f"apiVersion: lakehouse/v1\nkind: Dataset\nmetadata: {{name: {name}}}\nspec: {{{source}{more}}}\n"


def index(name: str, of: str, text: str = "text", more: str = "") -> str:
    """One document of an Index over a text column."""
    return f"apiVersion: lakehouse/v1\nkind: Index\nmetadata: {{name: {name}}}\nspec: {{dataset: {of}, text: [{text}]{more}}}\n"


def generation(name: str, of: str, recipe: str = "flat: {}") -> str:
    """One document of an IndexGeneration."""
    return f"apiVersion: lakehouse/v1\nkind: IndexGeneration\nmetadata: {{name: {name}}}\nspec: {{index: {of}, {recipe}}}\n"


def documents(*texts: str) -> str:
    """Several documents as one file."""
    return "---\n".join(textwrap.dedent(text) for text in texts)


@dataclass
class Clock:
    """Time as the test tells it."""

    now: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Repository:
    """A git repository whose commits are whole pictures: path -> text. The work tree is only written where `write` says so."""

    folder: Path
    bare: bool = False
    git: pygit2.Repository = field(init=False)
    files: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.git = pygit2.init_repository(str(self.folder), bare=self.bare, initial_head="main")

    def commit(self, files: Mapping[str, str | None], *, branch: str = "main", orphan: bool = False) -> str:
        """Commits `files` on top of what there is (None removes one); `orphan` forgets the past, as a force-push may."""
        self.files = {path: text for path, text in {**self.files, **files}.items() if text is not None}
        return self.commit_tree(self.tree(self.files), branch=branch, orphan=orphan)

    def commit_tree(self, tree: pygit2.Oid, *, branch: str = "main", orphan: bool = False) -> str:
        ref = f"refs/heads/{branch}"
        parents = [] if orphan or ref not in self.git.references else [self.git.references[ref].target]
        made = self.git.create_commit(None, AUTHOR, AUTHOR, "change", tree, parents)
        self.git.references.create(ref, made, force=True)
        return str(made)

    def tree(self, files: Mapping[str, str], links: Mapping[str, str] = NONE, modules: Mapping[str, str] = NONE) -> pygit2.Oid:
        """A tree of text files, links (path -> target) and submodules (path -> commit)."""
        written = {text: self.git.create_blob(text.encode()) for text in set(files.values())}
        blobs = {path: (written[text], FileMode.BLOB) for path, text in files.items()}
        blobs |= {path: (self.git.create_blob(target.encode()), FileMode.LINK) for path, target in links.items()}
        blobs |= {path: (pygit2.Oid(hex=commit), FileMode.COMMIT) for path, commit in modules.items()}
        return self._folder({tuple(path.split("/")): entry for path, entry in blobs.items()})

    def _folder(self, entries: Mapping[tuple[str, ...], tuple[pygit2.Oid, FileMode]]) -> pygit2.Oid:
        builder = self.git.TreeBuilder()
        below: dict[str, dict[tuple[str, ...], tuple[pygit2.Oid, FileMode]]] = {}
        for (name, *rest), entry in entries.items():
            if rest:
                below.setdefault(name, {})[tuple(rest)] = entry
            else:
                builder.insert(name, *entry)
        for name, inner in below.items():
            builder.insert(name, self._folder(inner), FileMode.TREE)
        return builder.write()

    def write(self, path: str, text: str) -> Path:
        """A file of the work tree, as data are."""
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        return place
