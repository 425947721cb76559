"""`lakectl rebuild`: the catalog from the tables' files, where it is lost."""

import argparse
from typing import TYPE_CHECKING

from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.options import Parser, add_output
from reconciler.lakectl.output import emit
from reconciler.lakectl.session import Session
from reconciler.lakectl.words import number

if TYPE_CHECKING:
    from reconciler.rebuilding import Findings

USAGE = "[--yes] [-o FORMAT]"
DESCRIPTION = """
Make the catalog again from nothing but the repository and the buckets, where its log is lost or
damaged: each table from the footers of its Parquet files. Without --yes it says what it would do.
It refuses where a readable catalog exists: then `lakectl daemon` or `lakectl apply` just goes on.
The journal and rows changed by hand come back as well, former
versions do not. What is left of the old catalog is kept below lost/. What operators suspended stays suspended.
Indexes are built again by the next start.
"""
EXAMPLES = """
lakectl rebuild
lakectl rebuild --yes
"""


def options(parser: Parser) -> None:
    """Whether to do it."""
    parser.add_argument("--yes", action="store_true", help="do it, and do not only say what would be done")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0 shown or done. Raises CatalogReadable, LeaseHeld."""
    if session.url is not None:
        raise UsageInvalid("lakectl rebuild works on the buckets themselves, not through --url.", remedy="Leave the address out.")
    from reconciler.lakectl.specs_here import place_of, settings_of
    from reconciler.rebuilding import Rebuild
    from reconciler.settings import armed_failpoints
    from state.failpoints import arm

    arm(armed_failpoints())
    place = place_of(session.here())
    rebuild = Rebuild(place, settings_of(place))
    rebuild.check()
    found = rebuild.look()
    if args.yes:
        rebuild.run(found)
    if args.output != "table":
        emit(session.terminal, _document(found, done=args.yes), args.output)
    else:
        _show(found, session, done=args.yes)
    return 0


def _document(found: "Findings", *, done: bool) -> dict[str, object]:
    return {
        "done": done,
        "tables": [
            {
                "dataset": table.name,
                "bucket": table.bucket,
                "files": len(table.parts),
                "rows": table.rows,
                "journal": sum(found.rows for found in table.ledgers if found.facts.kind == "journal"),
                "retained": table.name not in found.declared,
                "superseded": len(table.superseded),
            }
            for table in found.tables
        ],
        "suspended": [{"object": held.object, "by": held.by, "why": held.why, "until": held.until} for held in found.suspensions],
        "leftOut": [{"name": left.name, "files": left.files, "reason": left.reason} for left in found.left_out],
    }


def _show(found: "Findings", session: Session, *, done: bool) -> None:
    terminal = session.terminal
    for table in found.tables:
        retained = "" if table.name in found.declared else "; no spec asks for it: it is retained"
        facts = f"{number(table.rows, 'row')} in {number(len(table.parts), 'file')} of bucket {table.bucket}"
        journal = sum(found.rows for found in table.ledgers if found.facts.kind == "journal")
        facts += f", {number(journal, 'row')} of journal" if journal else ""
        terminal.line(f"Dataset/{table.name}  {facts}{retained}")
    for held in found.suspensions:
        terminal.line(f"{held.object}  stays suspended{f' until {held.until}' if held.until else ''}, by {held.by}: {held.why}")
    for left in found.left_out:
        terminal.line(f"{left.name}  {terminal.style('left out', 'yellow')}: {number(left.files, 'file')}")
        for line in terminal.wrap(left.reason, 3):
            terminal.line(line)
    if found.tables or found.left_out or found.suspensions:
        terminal.line()
    tables = number(len(found.tables), "table")
    if done:
        sign = terminal.style(terminal.mark("✔", "+"), "green", "bold")
        terminal.line(f"{sign}  The catalog is there again, with {tables}. `lakectl apply` or `lakectl daemon` goes on from it.")
    else:
        terminal.line(f"{tables} would be in the catalog. `lakectl rebuild --yes` writes it.")
