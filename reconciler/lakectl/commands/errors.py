"""`lakectl errors`: what failed in which bucket."""

import argparse
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from reconciler.lakectl.options import Parser, add_output, count, duration
from reconciler.lakectl.output import emit
from reconciler.lakectl.reading_here import errors_document
from reconciler.lakectl.result_table import result_table
from reconciler.lakectl.session import Session
from reconciler.lakectl.terminal import Terminal, one_line, text_width
from state.timestamps import iso

USAGE = "[--bucket B] [--op OP] [--class CLASS] [--key PREFIX] [--since DURATION] [--group COLUMNS] [-n N] [-o FORMAT]"
DESCRIPTION = """
Every operation of a bucket that failed, newest first: what was tried, which key, why, and whether
the rescue bucket answered. With --group they are counted. All of them are in SQL as system.errors.
"""
EXAMPLES = """
lakectl errors --since 1h
lakectl errors --bucket archive --class bucket-unavailable
lakectl errors --since 1d --group bucket,class
lakectl errors --key datasets/candidates/ -o json
"""
_MOST = 50
_INDENT = 3
_SHORTEST = 10
_COLUMNS = ("bucket", "op", "class", "count", "rescued", "first", "last")
_TYPES = {"count": "int64", "rescued": "int64"}


def options(parser: Parser) -> None:
    """Filters, and what to count by."""
    parser.add_argument("--bucket", metavar="B", help="only failures of this bucket")
    parser.add_argument("--op", metavar="OP", help="only of this operation: put, get, head, list, delete, stage")
    parser.add_argument("--class", metavar="CLASS", dest="kind", help="only of this class, as in bucket-unavailable")
    parser.add_argument("--key", metavar="PREFIX", help="only of keys that begin with this")
    parser.add_argument("--since", metavar="DURATION", type=duration, help="only of the last 30s, 10m, 2h, 7d")
    parser.add_argument("--group", metavar="COLUMNS", help="count by some of bucket, op and class, as in bucket,class")
    parser.add_argument("-n", "--limit", metavar="N", type=count, default=_MOST, help=f"at most so many (default: {_MOST})")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0, whatever there is."""
    since = iso(session.clock() - timedelta(seconds=args.since)) if args.since is not None else None
    parameters = {
        "bucket": args.bucket,
        "op": args.op,
        "class": args.kind,
        "key": args.key,
        "since": since,
        "group": args.group,
        "limit": args.limit,
    }
    document = errors_document(session, parameters)
    if args.output != "table":
        emit(session.terminal, document, args.output)
        return 0
    if "groups" in document:
        _counted(document["groups"], session.terminal)
    else:
        _listed(document, session.terminal)
    if document["incomplete"]:
        session.terminal.note(f"note: older ones cannot be read now: {document['incomplete']}")
    return 0


def _listed(document: Mapping[str, Any], terminal: Terminal) -> None:
    for row in document["errors"]:
        at, what = _instant(row["at"]), f"{row['op']}  {row['class']}"
        bucket = terminal.cut(row["bucket"], max(_SHORTEST, terminal.width - len(f"{at}    {what}")))
        terminal.line(f"{terminal.style(at, 'dim')}  {bucket}  {one_line(what)}")
        for line in _folded(row["key"], terminal.width - _INDENT):
            terminal.line(" " * _INDENT + line)
        for line in terminal.wrap(_message(row), _INDENT):
            terminal.line(terminal.style(line, "dim"))
    if not document["errors"]:
        terminal.note("no failed operations")
    if document["next"]:
        terminal.note("note: there are older ones; raise -n, or narrow them.")


def _message(row: Mapping[str, Any]) -> str:
    """What was wrong, without the key, which stands above it."""
    told = str(row["message"]).removeprefix(f"{row['bucket']}/{row['key']} ")
    asked = "" if row["attempt"] else ", without asking it again"
    return told + (f" {row['rescueBucket']} answered in its place{asked}." if row["rescued"] else "")


def _folded(key: str, width: int) -> list[str]:
    """A key on as many lines as it needs, broken after slashes."""
    lines = [""] if key else []
    for part in re.findall(r"[^/]*/|[^/]+", one_line(key)):
        if text_width(lines[-1] + part) > width and lines[-1]:
            lines.append("")
        lines[-1] += part
    return lines


def _counted(groups: Sequence[Mapping[str, Any]], terminal: Terminal) -> None:
    if not groups:
        terminal.note("no failed operations")
        return
    columns = [{"name": name, "type": _TYPES.get(name, "string")} for name in _COLUMNS if name in groups[0]]
    rows = [{**group, "first": _instant(group["first"])[:-3], "last": _instant(group["last"])[:-3]} for group in groups]  # to the minute
    result_table({"columns": columns, "rows": rows, "truncated": False, "versions": {}}, terminal)


def _instant(at: str) -> str:
    """Without the year, to the second."""
    return at[5:19].replace("T", " ")
