"""Git repositories of many specs, and commits to them that cost their caller next to nothing.

Commits are made by libgit2 in this process, tree by tree, without index or work tree, so that git's own start-up is in no figure. Data
files lie beside the specs and are not committed, as in a repository of `lakectl init`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import pygit2

SIGNATURE = pygit2.Signature("bench", "bench@example.com", 1_700_000_000, 0)
HEAD = "apiVersion: lakehouse/v1\n"
BUCKET = f"{HEAD}kind: Bucket\nmetadata: {{name: primary}}\nspec: {{local: {{path: lake}}}}\n"


class Repository:
    """A repository in an empty or missing folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        _git(folder, "init", "--quiet", "--initial-branch=main")
        _git(folder, "config", "user.name", SIGNATURE.name)
        _git(folder, "config", "user.email", SIGNATURE.email)
        self._repository = pygit2.Repository(str(folder))

    def start(self, files: Iterable[tuple[str, str]]) -> str:
        """The first commit, by `git fast-import`: a pack, as a clone has it. Returns its id."""
        with subprocess.Popen(("git", "-C", str(self.folder), "fast-import", "--quiet"), stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            process.stdin.write(b"commit refs/heads/main\ncommitter bench <bench@example.com> 1700000000 +0000\ndata 5\nstart\n")
            for path, text in files:
                content = text.encode()
                process.stdin.write(f"M 100644 inline {path}\ndata {len(content)}\n".encode() + content + b"\n")
        if process.returncode != 0:
            raise RuntimeError("git fast-import failed")
        return str(self._repository.revparse_single("main").id)

    def commit(self, files: Mapping[str, str]) -> str:
        """Files changed or added on top of HEAD; returns the commit's id."""
        repository = self._repository
        head = repository[repository.head.target]
        tree = head.peel(pygit2.Tree)
        for path, text in files.items():
            tree = repository[_with_blob(repository, tree, path.split("/"), repository.create_blob(text.encode()))]
        return str(repository.create_commit("HEAD", SIGNATURE, SIGNATURE, "change", tree.id, [head.id]))

    def stage(self, path: str, text: str) -> None:
        """Puts one file into work tree and index, for `commit_by_git`."""
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text, encoding="utf-8")
        _git(self.folder, "read-tree", "HEAD")
        _git(self.folder, "add", "--force", path)

    def commit_by_git(self) -> str:
        """Commits what is staged by the command that people use."""
        _git(self.folder, "commit", "--quiet", "--message", "change")
        return str(self._repository.revparse_single("main").id)

    def data(self, path: str, text: str) -> None:
        """A data file, not committed."""
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text, encoding="utf-8")


def dataset(name: str, files: str, description: str, columns: str = "") -> str:
    """One Dataset document."""
    spec = f"description: {description}, bucket: primary, source: {{files: {files}}}"
    return f"{HEAD}kind: Dataset\nmetadata: {{name: {name}}}\nspec: {{{spec}{columns}}}\n"


def tiny_csv(number: int) -> str:
    """Ten rows."""
    return "id,city,amount\n" + "".join(f"{row},city {row % 3},{number}.{row}\n" for row in range(10))


def with_datasets(folder: Path, count: int) -> Repository:
    """A repository of `count` resources: a local bucket and datasets, of one tiny CSV each, in a spec file each."""
    repository = Repository(folder)
    for number in range(count - 1):
        repository.data(f"data/d{number:04d}/rows.csv", tiny_csv(number))
    specs = ((spec_path(number), tiny_dataset(number)) for number in range(count - 1))
    repository.start([("specs/primary.yaml", BUCKET), ("README.md", "# Bench\n"), *specs])
    return repository


def spec_path(number: int) -> str:
    """Where the numbered dataset of `with_datasets` is declared."""
    return f"specs/d{number:04d}.yaml"


def tiny_dataset(number: int, description: str = "As made", columns: str = "") -> str:
    """The numbered dataset of `with_datasets`."""
    return dataset(f"d{number:04d}", f"data/d{number:04d}/*.csv", description, columns)


def _with_blob(repository: pygit2.Repository, tree: pygit2.Tree | None, path: list[str], blob: pygit2.Oid) -> pygit2.Oid:
    """A tree like the given one with another blob at the path."""
    builder = repository.TreeBuilder(tree) if tree is not None else repository.TreeBuilder()
    name, *rest = path
    if not rest:
        builder.insert(name, blob, pygit2.enums.FileMode.BLOB)
    else:
        below = tree[name] if tree is not None and name in tree else None
        builder.insert(name, _with_blob(repository, below, rest, blob), pygit2.enums.FileMode.TREE)
    return builder.write()


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(("git", "-C", str(folder), *arguments), check=True)
