"""`lakectl try FILE`: data in, answer out, and a repository to go on with."""

import argparse
import shlex
import shutil
from pathlib import Path
from typing import Any

from reconciler.lakectl.commands.apply import apply_alone, show
from reconciler.lakectl.errors import InTheWay, UsageInvalid
from reconciler.lakectl.first_spec import dataset_name, dataset_text, first_query, in_shell, spec_path
from reconciler.lakectl.here import Here
from reconciler.lakectl.new_repository import (
    BUCKET,
    SCHEMA,
    SETTINGS,
    commit_all,
    ensure_git,
    ignore,
    install_hooks,
    schema_text,
    write_files,
)
from reconciler.lakectl.options import Parser, add_output, duration
from reconciler.lakectl.output import emit
from reconciler.lakectl.reading_here import query_document, search_document
from reconciler.lakectl.result_table import hits_table, result_table
from reconciler.lakectl.session import Session
from reconciler.lakectl.specs_here import place_of
from reconciler.lakectl.survey import Survey, survey
from reconciler.lakectl.terminal import Terminal, one_line
from reconciler.lakectl.words import short

USAGE = "FILE [--into DIR] [--name NAME] [-o FORMAT]"
DESCRIPTION = """
Make a new repository of one data file (CSV, JSON, Parquet, a workbook, a document): the types are
inferred, specs are written and committed, the file is ingested (and indexed for search, if it has
a column of long texts), and a first query is answered. The file is copied; nothing else is touched.
"""
EXAMPLES = """
lakectl try candidates.csv
lakectl try ~/Downloads/reviews.ndjson --into reviews-lake
"""
_TIMEOUT = 3600.0
_WORDS = 12


def options(parser: Parser) -> None:
    """Which file, where to."""
    parser.add_argument("file", metavar="FILE", type=Path, help="the data file")
    parser.add_argument("--into", metavar="DIR", type=Path, help="the new repository's folder (default: ./NAME)")
    parser.add_argument("--name", metavar="NAME", help="the dataset's name (default: from the file's)")
    parser.add_argument("--timeout", metavar="DURATION", type=duration, default=_TIMEOUT, help="give up after so long (default: 1h)")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0 with an answer; 1 if the file could not be ingested. Raises InTheWay, UsageInvalid, FileRefused."""
    if not args.file.is_file():
        raise UsageInvalid(f"lakectl try: {args.file} is no file.", remedy="Name a data file.")
    name = dataset_name(args.name or args.file.name.split(".")[0] or args.file.name)
    root = (args.into or Path(name)).resolve()
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InTheWay(f"{root} exists already; nothing was written.", remedy="Choose another folder with --into.")
    table = args.output == "table"
    found = survey(args.file)
    commit = _make(root, name, args.file, found)
    if table:
        _tell_made(root, name, found, commit, session.terminal)
    here = Here(root, root)
    ended = apply_alone(place_of(here), args.timeout, session)
    if not ended.converged:
        return show(ended, args.output, session, None)
    inside = Session(session.terminal, repo=root, clock=session.clock)
    sql = first_query(name, found)
    answer = query_document(inside, {"sql": sql, "params": {}})
    if not table:
        emit(session.terminal, {"path": str(root), "commit": commit, "query": sql, "answer": answer}, args.output)
        return 0
    _answer(inside, name, sql, answer, found)
    _tell_next(root, name, session.terminal)
    return 0


def _make(root: Path, name: str, file: Path, found: Survey) -> str:
    root.mkdir(parents=True, exist_ok=True)
    ensure_git(root)
    specs = {"specs/lakehouse.yaml": BUCKET, spec_path(name): dataset_text(name, file.name, found)}
    files = {"lakehouse.yaml": SETTINGS, **specs, SCHEMA: schema_text()}
    write_files(root, files)
    ignore(root, root, root / "data")
    install_hooks(root)
    target = root / "data" / name
    target.mkdir(parents=True)
    shutil.copyfile(file, target / file.name)
    return commit_all(root, [*files, ".gitignore"], f"Begin with {file.name}")


def _tell_made(root: Path, name: str, found: Survey, commit: str, terminal: Terminal) -> None:
    terminal.line(f"A lakehouse in {terminal.style(str(root), 'bold')}, committed as {short(commit)}")
    terminal.line()
    width = min(max(len(column.name) for column in found.columns), 28) if found.columns else 0
    for column in found.columns:
        head = f"  {terminal.cut(column.name, 28):<{width}}  {column.type:<10}"
        terminal.line(head + terminal.style(terminal.cut(column.reason, terminal.width - len(head)), "dim"))
    for note in found.notes:
        terminal.note(f"note: {one_line(note)}")
    if found.text:
        terminal.line(f"  {terminal.style(one_line(found.text), 'bold')} holds sentences: Index/{name} makes them searchable by meaning.")
    terminal.line()
    terminal.out.flush()


def _answer(inside: Session, name: str, sql: str, answer: dict[str, Any], found: Survey) -> None:
    terminal = inside.terminal
    terminal.line(terminal.style(f"lakectl query {one_line(in_shell(sql))}", "cyan"))
    terminal.line()
    result_table(answer, terminal)
    if found.text is None or found.example is None:
        return
    text = " ".join(found.example.split()[:_WORDS])
    hits = search_document(inside, {"index": name, "text": text, "k": 2, "filter": None, "model": None})
    terminal.line()
    terminal.line(terminal.style(f"lakectl search {name} {one_line(in_shell(text))} -k 2", "cyan"))
    terminal.line()
    hits_table(hits, terminal)


def _tell_next(root: Path, name: str, terminal: Terminal) -> None:
    terminal.line()
    terminal.line("Next")
    shown = root.relative_to(Path.cwd()) if root.is_relative_to(Path.cwd()) else root
    steps = (
        (f"cd {shlex.quote(str(shown))}", ""),
        ("lakectl daemon", "follow commits and files, answer over HTTP"),
        (f"$EDITOR {spec_path(name)}", "then `lakectl plan`, and commit"),
        (f"cp MORE data/{name}/", "further files are followed without a commit"),
    )
    for step, about in steps:
        terminal.line(f"  {terminal.style(f'{step:<34}', 'cyan')}{terminal.style(about, 'dim')}".rstrip())
