"""Where `lakectl` is: which repository, where its state was last, and which daemon looks after it; all without parsing a spec.

`reconciler.place` answers the same with the sources of specs opened, which costs a quarter of a second. Here only small
files are read: `.git`, `.lakehouse/state.json`, `.lakehouse/daemon.json`.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from reconciler.footprint import CACHE_FOLDER, DaemonAddress, read_daemon, read_pointer
from reconciler.lakectl.errors import NoLakehouse

_SPECS = "specs"


@dataclass(frozen=True, slots=True)
class Here:
    """A repository (or a folder of specs), and what relative paths of data count from."""

    root: Path
    data_root: Path

    @property
    def cache(self) -> Path:
        """The folder of what may be lost."""
        return self.data_root / CACHE_FOLDER


def find_here(repo: Path | None, data_root: Path | None, start: Path | None = None) -> Here:
    """The repository named, or the one around the current folder. Raises NoLakehouse."""
    if repo is not None and not repo.is_dir():
        raise NoLakehouse(f"{repo} is no folder.", remedy="Name a git repository, or a folder that holds `specs/`.")
    begin = (repo or start or Path.cwd()).resolve()
    root = next((folder for folder in (begin, *begin.parents) if _marked(folder)), None)
    if root is None and (begin / _SPECS).is_dir():
        root = begin
    if root is None:
        raise NoLakehouse(f"{begin} is in no git repository.", remedy="Make one with `lakectl init`, or name one: `lakectl --repo PATH …`.")
    return Here(root, (data_root or root).resolve())


def _marked(folder: Path) -> bool:
    return in_git(folder) or (folder / CACHE_FOLDER).is_dir()


def _bare(folder: Path) -> bool:
    return (folder / "HEAD").is_file() and (folder / "objects").is_dir() and (folder / "refs").is_dir()


def read_address(here: Here) -> DaemonAddress | None:
    """The daemon of this repository; None where there is none, it is dead, or it is another state's."""
    address = read_daemon(here.cache)
    if address is None or not _alive(address.pid):
        return None
    pointer = read_pointer(here.cache)
    return address if pointer is None or pointer.id == address.state else None


def in_git(root: Path) -> bool:
    """Whether the root is a git repository's: a clone's, a linked worktree's, or a bare one."""
    return (root / ".git").exists() or _bare(root)


def read_head(root: Path) -> str | None:
    """The commit that HEAD names, from git's own files; None where it takes more than that to know."""
    try:
        own = _git_folder(root)
        head = (own / "HEAD").read_text(encoding="ascii").strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        shared = own / "commondir"
        common = own / shared.read_text(encoding="utf-8").strip() if shared.is_file() else own
        loose = common / name
        if loose.is_file():
            return loose.read_text(encoding="ascii").strip()
        packed = (common / "packed-refs").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    return next((line.split(" ", 1)[0] for line in packed if line.endswith(f" {name}")), None)


def _git_folder(root: Path) -> Path:
    """A linked worktree's `.git` is a file that says where its folder is. Raises OSError."""
    link = root / ".git"
    if link.is_file():
        return root / link.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
    return root if _bare(root) else link


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
