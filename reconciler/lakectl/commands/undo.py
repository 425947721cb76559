"""`lakectl undo`: the last commit of specs, taken back by another commit, and followed."""

import argparse
from pathlib import Path

from reconciler.lakectl.errors import GitRefused, UsageInvalid
from reconciler.lakectl.options import Parser, add_output, duration
from reconciler.lakectl.own_commit import followed
from reconciler.lakectl.session import Session
from reconciler.lakectl.words import short
from reconciler.lakectl.work_tree import SPEC_PATHS, git, identity, succeeds, uncommitted_specs

USAGE = "[--timeout DURATION] [-o FORMAT]"
DESCRIPTION = """
Revert the last commit that touched the specs (or lakehouse.yaml) by a new commit, then wait for
the daemon to follow it, if one runs. Nothing is lost: `lakectl undo` again brings it back. It
refuses while specs are changed and not committed.
"""
EXAMPLES = """
lakectl undo
git log --oneline -- specs && lakectl undo
"""
_TIMEOUT = 60.0


def options(parser: Parser) -> None:
    """How long to follow."""
    parser.add_argument("--timeout", metavar="DURATION", type=duration, default=_TIMEOUT, help="follow the daemon so long (default: 1m)")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0 reverted, and followed if somebody follows: what else is not ready is shown, but is no fault of this. Raises GitRefused."""
    if session.url is not None:
        raise UsageInvalid("lakectl undo works on the repository, not through --url or LAKEHOUSE_URL.", remedy="Leave the address out.")
    here = session.here()
    undone = _last_commit(here.root)
    title = git(here.root, "log", "-1", "--format=%s", undone)
    _revert(here.root, undone)
    made = git(here.root, "rev-parse", "HEAD")
    if args.output == "table":
        session.terminal.line(f"Reverted {short(undone)} “{title}” by {short(made)}; `lakectl undo` again brings it back.")
    return followed(here, {"reverted": undone, "title": title, "commit": made}, args, session)


def _last_commit(root: Path) -> str:
    """The commit to revert. Raises GitRefused where there is none, or reverting it would lose something."""
    if not succeeds(root, "rev-parse", "--is-inside-work-tree") or git(root, "rev-parse", "--is-inside-work-tree") != "true":
        raise GitRefused(f"{root} has no working tree, in which a commit could be reverted.", remedy="Run it in a clone.")
    changed = uncommitted_specs(root)
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise GitRefused(
            f"{changed[0]}{more} is changed and not committed.",
            remedy="Commit it, or put it aside with `git stash`; to drop just that change, `git checkout -- specs`.",
        )
    found = git(root, "log", "-1", "--format=%H", "--", *SPEC_PATHS, check=False)
    if not found:
        raise GitRefused("no commit touches specs/ or lakehouse.yaml: there is nothing to undo.")
    if not succeeds(root, "rev-parse", "--verify", "--quiet", f"{found}^"):
        raise GitRefused(
            f"commit {short(found)} is the repository's first: undoing it would remove everything.",
            remedy="Remove single specs by hand instead.",
        )
    return found


def _revert(root: Path, commit: str) -> None:
    """Raises GitRefused with everything as it was."""
    _nothing_staged(root)
    merge = ["-m", "1"] if succeeds(root, "rev-parse", "--verify", "--quiet", f"{commit}^2") else []
    try:
        git(root, "revert", "--no-edit", *merge, commit, options=identity(root))
    except GitRefused as refused:
        conflicts = git(root, "diff", "--name-only", "--diff-filter=U", check=False).splitlines()
        if not succeeds(root, "diff", "--cached", "--quiet"):
            # the index was that of HEAD: what is in it now is of the revert
            git(root, "reset", "--merge", check=False)
        if not conflicts:
            raise
        raise GitRefused(
            f"later commits changed the same lines of {conflicts[0]} as {short(commit)} did; nothing was changed.",
            remedy=f"Revert by hand: `git revert {short(commit)}`, solve the conflict, commit.",
        ) from refused


def _nothing_staged(root: Path) -> None:
    staged = git(root, "diff", "--cached", "--name-only").splitlines()
    if staged:
        raise GitRefused(
            f"{staged[0]} is staged, and git reverts nothing beside what is staged.",
            remedy="Commit it, or take it out with `git restore --staged`.",
        )
