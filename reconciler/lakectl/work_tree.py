"""What git says of the work tree, asked of its command line: it honours hooks, identities and settings that libgit2 does not."""

import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from reconciler.lakectl.errors import GitRefused

SPEC_PATHS = ("specs", "lakehouse.yaml")


def git(root: Path, *words: str, options: Sequence[str] = (), check: bool = True) -> str:
    """What a git command printed, without surrounding space. `options` are git's own, such as `identity`.

    Raises GitRefused where it fails and `check` is set, or git is missing.
    """
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *options, *words], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError as error:
        raise GitRefused("the program `git` is not on the path.", remedy="Install git.") from error
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        # what comes last tells that it failed, what comes first why
        why = next((line for line in said if line.startswith(("error:", "fatal:"))), said[-1])
        raise GitRefused(f"`git {' '.join(words[:2])}` failed: {why}")
    return done.stdout.strip("\n")


def identity(root: Path) -> tuple[str, ...]:
    """Options by which lakectl is who commits; none where git knows somebody."""
    known = succeeds(root, "var", "GIT_COMMITTER_IDENT") and bool(git(root, "config", "user.email", check=False))
    return () if known else ("-c", "user.name=lakectl", "-c", "user.email=lakectl@localhost")


def succeeds(root: Path, *words: str) -> bool:
    """Whether a git command ends with 0. Raises GitRefused where git is missing."""
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, check=False, stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise GitRefused("the program `git` is not on the path.", remedy="Install git.") from error
    return done.returncode == 0


def not_ignored(root: Path, folders: Iterable[Path]) -> list[Path]:
    """Folders within the work tree that git would add, relative to its root; they need not exist. None where there is no git."""
    inside = [folder.relative_to(root) for folder in folders if folder != root and folder.is_relative_to(root)]
    if not (root / ".git").exists():
        return []
    # of what is to lie in it: a pattern for folders fits none that is not there yet
    return [folder for folder in inside if not succeeds(root, "check-ignore", "--quiet", "--", str(folder / "datasets/x"))]


def pattern(folder: Path) -> str:
    """The line of .gitignore for a folder, relative to the repository's root."""
    return "/" + re.sub(r"([\\*?\[])", r"\\\1", folder.as_posix()) + "/"


def uncommitted_specs(root: Path, paths: Sequence[str] = SPEC_PATHS) -> list[str]:
    """Paths of specs and settings that differ from HEAD, new ones included; none where there is no work tree."""
    if not succeeds(root, "rev-parse", "--is-inside-work-tree"):
        return []
    lines = git(root, "status", "--porcelain", "--untracked-files=all", "--", *paths, check=False).splitlines()
    return [line[3:] for line in lines]
