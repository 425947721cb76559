"""`lakectl models`: the models that the lake knows of, which are in memory, and who names them."""

import argparse
from collections.abc import Mapping
from typing import Any

from reconciler.lakectl.options import Parser, add_output
from reconciler.lakectl.output import emit
from reconciler.lakectl.reading_here import models_document
from reconciler.lakectl.session import Session

USAGE = "[-o FORMAT]"
DESCRIPTION = """
The built-in embedder, MiniLM, and the models of an Ollama server: their kind, how they stand, and
which objects name them. One that is ready is loaded when it is asked; one that is absent says why.
"""
EXAMPLES = """
lakectl models
lakectl models -o json
"""
_COLORS = {"loaded": "green", "ready": "green", "loading": "yellow", "waiting": "yellow", "absent": "dim"}
_INDENT = 3
_GB = 1e9


def options(parser: Parser) -> None:
    """The form of the answer."""
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0, whether or not there is a server."""
    document = models_document(session)
    if args.output != "table":
        emit(session.terminal, document, args.output)
        return 0
    rows: list[dict[str, Any]] = document["models"]
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        state = session.terminal.style(row["state"].ljust(len("loading")), _COLORS[row["state"]])
        session.terminal.line(
            f"{row['name'].ljust(width)}  {(row['kind'] or '?').ljust(len('embedding'))}  {state}  {_facts(row)}".rstrip()
        )
        for said in (row["error"], ", ".join(row["bound"])):
            for line in session.terminal.wrap(said, _INDENT) if said else ():
                session.terminal.line(session.terminal.style(line, "dim"))
    return 0


def _facts(row: Mapping[str, Any]) -> str:
    parts = (
        f"{row['dimension']} dimensions" if row["dimension"] else "",
        f"reads {row['context']:,} tokens" if row["context"] else "",
        f"{row['size_vram'] / _GB:.1f} GB" if row["size_vram"] else "",
    )
    return ", ".join(part for part in parts if part)
