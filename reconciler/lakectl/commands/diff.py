"""`lakectl diff`: rows that differ between two versions of a dataset."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reconciler.lakectl.options import Parser, add_output, count
from reconciler.lakectl.output import emit
from reconciler.lakectl.session import Session
from reconciler.lakectl.tables_here import TablesHere, dataset_of, moment_of, tables_here, whole_table
from reconciler.lakectl.terminal import Terminal
from reconciler.lakectl.words import number

if TYPE_CHECKING:
    from engines.sql.diff import Difference
    from state.catalog.tables import Table

USAGE = "DATASET FROM [TO] [-n ROWS] [-o FORMAT]"
DESCRIPTION = """
Show the rows that two kept versions of a dataset differ in: added, removed, and changed with each
field's old and new value, as system.journal writes values. All are counted; the first ones by key
are shown. Rows are told apart by the primary key, without one by the content that they came with
and their place in it, so that a changed file is rows removed and added. Only files that one of the
versions has, and those that may hold rows of the same keys, are read.
"""
EXAMPLES = """
lakectl diff candidates 11 12
lakectl diff candidates 2026-01-31
lakectl diff candidates 2026-01-31 2026-02-28T12:00 -n 100000 -o csv
"""
_SIGNS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}


def options(parser: Parser) -> None:
    """Which versions, how much of it."""
    parser.add_argument("dataset", metavar="DATASET", help="its name, or Dataset/NAME")
    parser.add_argument("former", metavar="FROM", help="a version: its number, or the one of an instant (ISO 8601, UTC)")
    parser.add_argument("later", metavar="TO", nargs="?", help="another one (default: the present one)")
    parser.add_argument("-n", "--max-rows", metavar="ROWS", type=count, default=100, help="how many rows to show (default: 100)")
    add_output(parser, "csv")


def run(args: argparse.Namespace, session: Session) -> int:
    """0 for none, 1 for rows that differ. Raises UsageInvalid, TableUnknown, VersionUnknown, QueryInvalid, EngineError."""
    from engines.sql.diff import difference

    with tables_here(session, "lakectl diff") as here, here.audited("diff") as access:
        dataset = dataset_of(args.dataset)
        former, later = (here.table(dataset, moment_of(given)) for given in (args.former, args.later))
        whole_table(access, later)
        found = difference(pair_of(here, former, later), here.scratch, args.max_rows)
        access.rows = len(found.rows)
    document = _document(former, later, found)
    match args.output:
        case "table":
            _show(document, session.terminal)
        case "csv":
            _csv(document, session.terminal)
        case _:
            emit(session.terminal, document, args.output)
    return 1 if found.total else 0


def pair_of(here: TablesHere, former: "Table", later: "Table") -> Any:
    """What of two versions has to be read. Raises QueryInvalid."""
    from engines.sql.version_pair import Pair, scopes

    ours, theirs = scopes(former, later)
    return Pair(here.view(ours), here.view(theirs), later.primary_key, distinct=later.write == "upsert" or not later.primary_key)


def _document(former: "Table", later: "Table", found: "Difference") -> dict[str, Any]:
    return {
        "dataset": later.name,
        "from": {"version": former.version, "at": former.at},
        "to": {"version": later.version, "at": later.at},
        "counts": {"added": found.added, "removed": found.removed, "changed": found.changed},
        "rows": found.rows,
        "truncated": found.total > len(found.rows),
    }


def _csv(document: Mapping[str, Any], terminal: Terminal) -> None:
    """One line a field."""
    from api.csv_text import csv_text

    names = ("op", "key", "field", "old", "new")
    rows = [
        {"op": row["op"], "key": row["key"], "field": name, **values}
        for row in document["rows"]
        for name, values in (row["fields"] or {None: {"old": None, "new": None}}).items()
    ]
    terminal.out.write(csv_text(names, rows))
    if document["truncated"]:
        terminal.note("note: not all rows that differ are shown; raise -n.")


def _show(document: Mapping[str, Any], terminal: Terminal) -> None:
    for row in document["rows"]:
        sign, color = _SIGNS[row["op"]]
        terminal.line(terminal.style(f"{sign}  {terminal.cut(row['key'], terminal.width - 3)}", color))
        arrow = terminal.mark("→", "->")
        for name, values in row["fields"].items():
            old, new = (_value(values[side]) for side in ("old", "new"))
            told = {"added": new, "removed": old, "changed": f"{old} {arrow} {new}"}[row["op"]]
            terminal.line(f"     {terminal.cut(f'{name}: {told}', terminal.width - 5)}")
    counts, (former, later) = document["counts"], (document[side]["version"] for side in ("from", "to"))
    told = ", ".join(f"{counts[op]:,} {op}" for op in _SIGNS)
    shown = f"; the first {number(len(document['rows']), 'row')} shown" if document["truncated"] else ""
    terminal.line(terminal.style(f"{document['dataset']} from version {former} to {later}: {told}{shown}", "dim"))


def _value(text: str | None) -> str:
    return "null" if text is None else text
