"""`lakectl quarantine`: the rows that contracts set aside, and texts without a vector of use."""

import argparse
from collections.abc import Sequence
from typing import Any

from reconciler.lakectl.errors import ObjectUnknown
from reconciler.lakectl.options import Parser, add_output, count
from reconciler.lakectl.output import emit
from reconciler.lakectl.reading_here import query_document
from reconciler.lakectl.session import Session
from reconciler.lakectl.terminal import Terminal, one_line
from reconciler.lakectl.words import number

USAGE = "[DATASET] [--rule RULE] [--source PATH] [-n N] [-o FORMAT]"
DESCRIPTION = """
Rows that break a dataset's contract and are not in its table: file and line (of a database or a
query, the row's number), the first rule that each breaks, every reason, and the original text.
Correct the source, or the contract: then they are read again. Texts that an index has no vector
for are among them (rule `vector`), with the index as their source. All of them are in SQL as
system.quarantine.
"""
EXAMPLES = """
lakectl quarantine
lakectl quarantine timesheets --rule range
lakectl quarantine timesheets --rule "range: hours" --source data/2024.csv
lakectl quarantine timesheets -n 1000 -o json
"""
_MOST = 50
_INDENT = 4
_SHOWN_LINES = 4
_COLUMNS = "dataset, source, line, key, rule, reason, text, at"


def options(parser: Parser) -> None:
    """Which rows."""
    parser.add_argument("dataset", metavar="DATASET", nargs="?", help="only rows of this dataset")
    parser.add_argument("--rule", metavar="RULE", help='only those whose first rule is this, as in range or "range: hours"')
    parser.add_argument("--source", metavar="PATH", help="only those of this file, or of postgres:TABLE")
    parser.add_argument("-n", "--limit", metavar="N", type=count, default=_MOST, help=f"at most so many (default: {_MOST})")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0, whatever there is. Raises ObjectUnknown, and what a query raises."""
    dataset = None if args.dataset is None else args.dataset.rpartition("/")[2].replace("_", "-")
    conditions = {
        "dataset = $dataset": ("dataset", dataset),
        "(rule = $rule OR starts_with(rule, $rule || ': '))": ("rule", args.rule),
        "source = $source": ("source", args.source),
    }
    given = {text: pair for text, pair in conditions.items() if pair[1] is not None}
    where = f" WHERE {' AND '.join(given)}" if given else ""
    params = dict(given.values())
    sql = f"SELECT {_COLUMNS} FROM system.quarantine{where} ORDER BY dataset, source, line, key, at LIMIT {args.limit}"
    rows = query_document(session, {"sql": sql, "params": params, "maxRows": args.limit})["rows"]
    total = len(rows)
    if total == args.limit:
        counted = {"sql": f"SELECT count(*) AS total FROM system.quarantine{where}", "params": params, "maxRows": 1}
        total = query_document(session, counted)["rows"][0]["total"]
    if not rows and dataset is not None:
        _check_known(dataset, session)
    if args.output != "table":
        emit(session.terminal, {"quarantine": rows, "total": total}, args.output)
        return 0
    _listed(rows, session.terminal)
    session.terminal.line(session.terminal.style(f"{number(total, 'row')} in quarantine", "dim"))
    if total > len(rows):
        session.terminal.note(f"note: these are the first {len(rows):,}; raise -n, or narrow them.")
    return 0


def _listed(rows: Sequence[dict[str, Any]], terminal: Terminal) -> None:
    for row in rows:
        place = next((f"{row['source']}:{row[column]}" for column in ("line", "key") if row[column] is not None), row["source"])
        terminal.line(f"{row['dataset']}  {one_line(place)}  {terminal.style(one_line(row['rule']), 'bold')}")
        for line in terminal.wrap(one_line(row["reason"]), _INDENT):
            terminal.line(line)
        for line in terminal.wrap(one_line(row["text"]), _INDENT)[:_SHOWN_LINES]:
            terminal.line(terminal.style(line, "dim"))


def _check_known(dataset: str, session: Session) -> None:
    known = {"sql": "SELECT object FROM system.status WHERE object = $object", "params": {"object": f"Dataset/{dataset}"}, "maxRows": 1}
    if not query_document(session, known)["rows"]:
        raise ObjectUnknown(f"there is no Dataset/{dataset}", remedy="`lakectl get datasets` lists them.")
