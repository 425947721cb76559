"""`lakectl migrate preview`: a migration, drafted from a file or read from the spec, on real rows before anybody commits it."""

import argparse
from pathlib import Path
from typing import Any

from reconciler.lakectl.names import find_object
from reconciler.lakectl.options import Parser, add_output, count, one_of
from reconciler.lakectl.output import emit
from reconciler.lakectl.result_table import rows_table
from reconciler.lakectl.session import Session
from reconciler.lakectl.terminal import Terminal

USAGE = "preview DATASET [FILE] [-n ROWS] [-o FORMAT]"
DESCRIPTION = """
Show what a migration does to the rows of a dataset before anybody commits it: some rows before and
after, and rows that it does not fit. Without FILE it is the first one of the spec, as it is in the
working tree, that the table does not have behind it. With FILE it says in words how the columns of
that file differ from the table's, and drafts the migration that it would need. It changes nothing,
and a daemon may run beside it.

Exit code 0: it fits, or none is needed. 1: it does not fit. 2: errors.
"""
EXAMPLES = """
lakectl migrate preview people data/people/2025.csv
lakectl migrate preview people
"""
_ROWS = 3
FITS, UNFIT = 0, 1


def options(parser: Parser) -> None:
    """Which dataset, which file."""
    parser.add_argument("what", metavar="preview", type=one_of("preview"), help="what to do: show it")
    parser.add_argument("dataset", metavar="DATASET", help="its name, or Dataset/NAME")
    parser.add_argument("file", nargs="?", metavar="FILE", type=Path, help="a data file in another shape than the table's")
    parser.add_argument("-n", "--rows", metavar="ROWS", type=count, default=_ROWS, help=f"how many rows are shown (default: {_ROWS})")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0 or 1. Raises UsageInvalid, FileRefused, and what opening the state raises: all of them end as 2."""
    from reconciler.lakectl.migration_preview import preview_document

    name = find_object(args.dataset if "/" in args.dataset else f"Dataset/{args.dataset}", session).partition("/")[2]
    document = preview_document(session.here(), name, args.file, args.rows)
    if args.output != "table":
        emit(session.terminal, document, args.output)
    else:
        _page(document, session.terminal)
    return UNFIT if document["unfit"] else FITS


def _page(document: dict[str, Any], terminal: Terminal) -> None:
    for one in document["differences"]:
        _item(f"{one['words']}; {one['remark']}", terminal.mark("•", "-"), terminal)
    for line in terminal.wrap(document["message"], 0):
        terminal.line(line)
    for line in terminal.wrap(document["note"], 0) if "note" in document else ():
        terminal.line(terminal.style(line, "dim"))
    if not document["migration"]:
        return
    terminal.line()
    for line in document["yaml"]:
        terminal.line(f"  {terminal.style(line, 'cyan')}")
    for title in ("before", "after"):
        if document[title]["rows"]:
            terminal.line()
            terminal.line(terminal.style(title, "bold"))
            rows_table(document[title], terminal)
    terminal.line()
    for fault in document["unfit"]:
        _item(fault, terminal.style(terminal.mark("✘", "x"), "red"), terminal)
    if document["next"]:
        _item(document["next"], " " if document["unfit"] else terminal.style(terminal.mark("✔", "+"), "green"), terminal)


def _item(text: str, mark: str, terminal: Terminal) -> None:
    first, *rest = terminal.wrap(text, 3)
    terminal.line(f"{mark}  {first.lstrip()}")
    for line in rest:
        terminal.line(line)
