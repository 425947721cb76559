"""`lakectl try FILE`: data in, answer out, and a repository to go on with."""

import argparse
import re
import shutil
from pathlib import Path
from typing import Any

from reconciler.lakectl.commands.apply import apply_alone, show
from reconciler.lakectl.errors import InTheWay, UsageInvalid
from reconciler.lakectl.here import Here
from reconciler.lakectl.new_repository import (
    BUCKET,
    EDITOR_LINE,
    IGNORED,
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
from reconciler.lakectl.terminal import Terminal
from reconciler.lakectl.words import short

USAGE = "FILE [--into DIR] [--name NAME] [-o FORMAT]"
DESCRIPTION = """
Make a new repository of one data file (CSV, TSV, JSON, NDJSON, Parquet): the columns' types are
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


def dataset_name(text: str) -> str:
    """A DNS label of any text. Raises UsageInvalid where nothing is left of it."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-")
    if not name:
        raise UsageInvalid(f"lakectl try: no dataset can be named after `{text}`.", remedy="Give it a name with --name.")
    return name


def dataset_text(name: str, file: str, found: Survey) -> str:
    """The specs of the file: a Dataset, and an Index if there is a column of long texts."""
    suffix = Path(file).suffix
    encoding = f", encoding: {found.encoding}" if found.encoding else ""
    shown = "\n".join(f"#   {column.name}: {column.type}   ({column.reason})" for column in found.columns)
    text = f"""\
{EDITOR_LINE}
# {name}: every file that matches is followed, without a commit.
# Inferred, and checked value by value while reading; say `columns: {{NAME: TYPE}}` to decide otherwise:
{shown}
# Rows are appended as they are. If a column identifies a row, say `primaryKey: [COLUMN]` and `write: upsert`:
# then a later file's row replaces the earlier one.
apiVersion: lakehouse/v1
kind: Dataset
metadata: {{name: {name}}}
spec:
  bucket: primary
  source: {{files: "data/{name}/*{suffix}"{encoding}}}
  write: append
"""
    if found.text is not None:
        text += f"""\
---
# `{found.text}` holds sentences: searchable by meaning.
apiVersion: lakehouse/v1
kind: Index
metadata: {{name: {name}}}
spec:
  dataset: {name}
  text: [{_yaml(found.text)}]
  embed: {{model: builtin}}
"""
    return text


def first_query(name: str, found: Survey) -> str:
    """A question that shows what is in the table."""
    table = name.replace("-", "_")
    table = table if table[0].isalpha() else f'"{table}"'
    if found.group is None:
        return f"SELECT * FROM {table} LIMIT 5"
    column = _quoted(found.group)
    return f"SELECT {column}, count(*) AS row_count FROM {table} GROUP BY {column} ORDER BY row_count DESC, {column} LIMIT 5"


def _make(root: Path, name: str, file: Path, found: Survey) -> str:
    root.mkdir(parents=True, exist_ok=True)
    ensure_git(root)
    spec = f"specs/{name}.yaml" if name != "lakehouse" else "specs/data.yaml"
    files = {"lakehouse.yaml": SETTINGS, "specs/lakehouse.yaml": BUCKET, spec: dataset_text(name, file.name, found), SCHEMA: schema_text()}
    write_files(root, files)
    ignore(root, (*IGNORED, "/data/"))
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
    if found.encoding:
        terminal.line(f"  The file is not UTF-8; it is read as {found.encoding}.")
    if found.text:
        terminal.line(f"  {terminal.style(found.text, 'bold')} holds sentences: Index/{name} makes them searchable by meaning.")
    terminal.line()
    terminal.out.flush()


def _answer(inside: Session, name: str, sql: str, answer: dict[str, Any], found: Survey) -> None:
    terminal = inside.terminal
    terminal.line(terminal.style(f'lakectl query "{sql}"', "cyan"))
    terminal.line()
    result_table(answer, terminal)
    if found.text is None or found.example is None:
        return
    text = " ".join(found.example.split()[:_WORDS])
    hits = search_document(inside, {"index": name, "text": text, "k": 2, "filter": None, "model": None})
    terminal.line()
    terminal.line(terminal.style(terminal.cut(f'lakectl search {name} "{text}" -k 2', terminal.width), "cyan"))
    terminal.line()
    hits_table(hits, terminal)


def _tell_next(root: Path, name: str, terminal: Terminal) -> None:
    terminal.line()
    terminal.line("Next")
    shown = root.relative_to(Path.cwd()) if root.is_relative_to(Path.cwd()) else root
    steps = (
        (f"cd {shown}", ""),
        ("lakectl daemon", "follow commits and files, answer over HTTP"),
        (f"$EDITOR specs/{name}.yaml", "then `lakectl plan`, and commit"),
        (f"cp MORE data/{name}/", "further files are followed without a commit"),
    )
    for step, about in steps:
        terminal.line(f"  {terminal.style(f'{step:<34}', 'cyan')}{terminal.style(about, 'dim')}".rstrip())


def _quoted(column: str) -> str:
    plain = re.fullmatch(r"[a-z_][a-z0-9_]*", column)
    return column if plain else '"' + column.replace('"', '""') + '"'


def _yaml(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text) else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
