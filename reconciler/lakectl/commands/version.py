"""`lakectl version`: one line, and nothing is imported for it."""

import argparse
import platform

from reconciler.lakectl.options import Parser, add_output
from reconciler.lakectl.output import emit
from reconciler.lakectl.session import Session
from specs.version import VERSION

USAGE = "[-o FORMAT]"
DESCRIPTION = "The version of this program."
EXAMPLES = "lakectl version\nlakectl version -o json"


def options(parser: Parser) -> None:
    """Only the format."""
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """Prints it."""
    if args.output == "table":
        session.terminal.line(f"lakectl {VERSION}")
    else:
        emit(session.terminal, {"version": VERSION, "python": platform.python_version()}, args.output)
    return 0
