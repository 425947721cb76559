"""`lakectl init`: a repository of specs that is ready for the first one."""

import argparse
import shlex
from pathlib import Path

from reconciler.lakectl.new_repository import (
    BUCKET,
    EXAMPLE,
    SCHEMA,
    SETTINGS,
    check_free,
    commit_all,
    ensure_git,
    ignore,
    install_hooks,
    schema_text,
    write_files,
)
from reconciler.lakectl.options import Parser, add_output
from reconciler.lakectl.output import emit
from reconciler.lakectl.session import Session
from reconciler.lakectl.words import short

USAGE = "[PATH] [--commit] [-o FORMAT]"
DESCRIPTION = """
Make a new repository: settings, a local bucket, a commented example, schemas for the editor, and
hooks that check specs before a commit and tell the daemon after one. In a git repository that
exists it adds the same. It never overwrites a file, and names what is in the way.
"""
EXAMPLES = """
lakectl init
lakectl init my-lakehouse --commit
"""
_ABOUT = {
    "lakehouse.yaml": "the few settings",
    "specs/lakehouse.yaml": "a local bucket, where the lake is kept",
    "specs/example.yaml": "a Dataset and an Index, commented out",
    SCHEMA: "what editors check specs against",
    ".gitignore": "keeps the lake out of git",
}


def options(parser: Parser) -> None:
    """Where, and whether to commit."""
    parser.add_argument("path", nargs="?", metavar="PATH", type=Path, default=None, help="the folder (default: this one)")
    parser.add_argument("--commit", action="store_true", help="make the first commit as well")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0. Raises InTheWay, GitRefused, OSError."""
    root = (args.path or session.repo or Path.cwd()).resolve()
    files = {"lakehouse.yaml": SETTINGS, "specs/lakehouse.yaml": BUCKET, "specs/example.yaml": EXAMPLE, SCHEMA: schema_text()}
    check_free(root, files)
    root.mkdir(parents=True, exist_ok=True)
    fresh = ensure_git(root)
    write_files(root, files)
    ignored = ignore(root, (session.data_root or root).resolve())
    written, kept = install_hooks(root)
    paths = [*files, *([".gitignore"] if ignored else [])]
    commit = commit_all(root, paths, "Begin a lakehouse") if args.commit else None
    if args.output != "table":
        document = {
            "path": str(root),
            "git": "made" if fresh else "found",
            "files": paths,
            "hooks": written,
            "keptHooks": kept,
            "commit": commit,
        }
        emit(session.terminal, document, args.output)
        return 0
    _tell(root, paths, written, kept, commit, session)
    return 0


def _tell(root: Path, paths: list[str], written: list[str], kept: list[str], commit: str | None, session: Session) -> None:
    terminal = session.terminal
    terminal.line(f"A lakehouse in {terminal.style(str(root), 'bold')}")
    terminal.line()
    for path in paths:
        terminal.line(f"  {path:<26}{terminal.style(_ABOUT[path], 'dim')}")
    if written:
        terminal.line(f"  {'git hooks':<26}{terminal.style(', '.join(written), 'dim')}")
    if kept:
        terminal.note(
            f"note: git hooks that exist are kept: {', '.join(kept)}; add `lakectl plan --offline --staged` to pre-commit yourself."
        )
    steps = [f"cd {shlex.quote(str(root))}"] if root != Path.cwd() else []
    steps += ["$EDITOR specs/example.yaml"]
    steps += ["git commit -am 'First dataset'"] if commit else ["git add . && git commit -m 'Begin a lakehouse'"]
    steps += ["lakectl apply        # once, or: lakectl daemon"]
    terminal.line()
    terminal.line("Next" if commit is None else f"Committed as {short(commit)}. Next")
    for step in steps:
        terminal.line(f"  {terminal.style(step, 'cyan')}")
