"""`lakectl buckets`: the buckets, and how each does when it is tried."""

import argparse
from collections.abc import Mapping
from typing import Any

from reconciler.lakectl.options import Parser, add_output
from reconciler.lakectl.output import emit
from reconciler.lakectl.reading_here import buckets_document
from reconciler.lakectl.session import Session

USAGE = "[-o FORMAT]"
DESCRIPTION = """
The buckets that are open, and how each does now: a put, a second one that must lose, a read, a
delete. degraded means that it failed and that its rescue bucket can be read. Ends with 1 where one
is not well.
"""
EXAMPLES = """
lakectl buckets
lakectl buckets -o json
"""
_COLORS = {"ok": "green", "degraded": "yellow", "failed": "red"}
_INDENT = 3


def options(parser: Parser) -> None:
    """The form of the answer."""
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0 if all are well, else 1."""
    document = buckets_document(session)
    rows: list[dict[str, Any]] = document["buckets"]
    if args.output != "table":
        emit(session.terminal, document, args.output)
    else:
        _show(rows, session)
    return 0 if all(row["state"] == "ok" for row in rows) else 1


def _mirror(mirror: Mapping[str, Any]) -> str:
    told = f"mirrored to {mirror['bucket']}"
    if mirror["objectsBehind"]:
        behind = f"{mirror['objectsBehind']} objects, {mirror['bytesBehind'] / 1e6:.1f} MB"
        told += f", which is {mirror['lagSeconds']:.0f} s behind ({behind})"
    return told + (f"; {mirror['damaged']} damaged objects are not copied" if mirror["damaged"] else "")


def _show(rows: list[dict[str, Any]], session: Session) -> None:
    terminal = session.terminal
    width = max([len(row["name"]) for row in rows], default=0)
    for row in rows:
        state = terminal.style(row["state"].ljust(len("degraded")), _COLORS[row["state"]])
        facts = f"put in {row['latencyMs']:.1f} ms" if row["writable"] else "not writable" if row["reachable"] else "not reachable"
        terminal.line(f"{row['name'].ljust(width)}  {state}  {facts}")
        if row["mirror"]:
            terminal.line(terminal.style(" " * _INDENT + _mirror(row["mirror"]), "dim"))
        if row["problem"]:
            for line in terminal.wrap(row["problem"], _INDENT):
                terminal.line(line)
        last = row["lastError"]
        if last is not None:
            told = f"last failed {last['at']}: {last['op']} {last['key']}: {last['message']}"
            for line in terminal.wrap(told, _INDENT):
                terminal.line(terminal.style(line, "dim"))
