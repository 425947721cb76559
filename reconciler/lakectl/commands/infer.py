"""`lakectl infer FILE…`: a Dataset spec, with why each column is what it is."""

import argparse
from pathlib import Path

from engines.files.formats import FORMATS, format_of, named_format
from engines.files.ingest import infer
from engines.files.source import ReadOptions, SourceFile
from reconciler.lakectl.errors import NoLakehouse, UsageInvalid
from reconciler.lakectl.first_spec import dataset_name
from reconciler.lakectl.inferred_spec import Found, document, text
from reconciler.lakectl.options import Parser, add_output
from reconciler.lakectl.output import emit
from reconciler.lakectl.session import Session

USAGE = "FILE… [--name NAME] [-o FORMAT]"
DESCRIPTION = """
Look at data files, all as one table, and print the Dataset that reads them: how they are read,
and what each column is, with the reason beside it. Nothing is written: redirect it into specs/.
Types are decided over samples of all files, not of their heads only; what is doubtful is text.
"""
EXAMPLES = """
lakectl infer data/candidates/*.csv > specs/candidates.yaml
lakectl infer handbook.pdf -o json
"""


def options(parser: Parser) -> None:
    """Which files."""
    parser.add_argument("files", nargs="+", metavar="FILE", type=Path, help="data files of one table")
    parser.add_argument("--name", metavar="NAME", help="the dataset's name (default: from the file's, or their folder's)")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0. Raises UsageInvalid, FileRefused, FileUnreadable."""
    root = _root(session)
    files = [found for given in args.files for found in _files(given)]
    sources = [_source(file, root) for file in files]
    first = files[0].resolve()
    name = dataset_name(args.name or (first.parent.name if len(sources) > 1 else first.name.split(".")[0] or first.name))
    found = Found(name, tuple(source.shown for source in sources), infer(sources))
    if args.output == "json":
        emit(session.terminal, document(found), "json")
    else:
        session.terminal.line(text(found).rstrip("\n"))
    return 0


def _files(given: Path) -> list[Path]:
    """The files that a quoted pattern means, as the shell would have it; else what was given. Raises UsageInvalid."""
    if given.exists() or not any(mark in given.name for mark in "*?["):
        return [given]
    found = sorted(given.parent.glob(given.name))
    if not found:
        raise UsageInvalid(f"lakectl infer: no file matches {given}.", remedy="Name files that are there.")
    return found


def _root(session: Session) -> Path:
    """What paths in a spec count from."""
    try:
        return session.here().data_root
    except NoLakehouse:
        return Path.cwd()


def _source(file: Path, root: Path) -> SourceFile:
    form, named = format_of(file.name), named_format(file.name)
    if form is None:
        raise UsageInvalid(f"lakectl infer: {file.name} has no format that is read.", remedy=f"Files end in {', '.join(FORMATS)}.")
    path = file.resolve()
    shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else file.as_posix()
    return SourceFile(path, shown, form, ReadOptions(delimiter="\t" if named == "tsv" else None))
