"""`lakectl resume`: the end of a suspension."""

import argparse

from reconciler.lakectl.names import find_object
from reconciler.lakectl.options import Parser
from reconciler.lakectl.request_command import add_request_options, carry_out
from reconciler.lakectl.session import Session

USAGE = "KIND/NAME [--reason TEXT] [-o FORMAT]"
DESCRIPTION = "Look after a suspended object again; it catches up with its spec and its files at once."
EXAMPLES = "lakectl resume Dataset/candidates"


def options(parser: Parser) -> None:
    """What."""
    parser.add_argument("object", metavar="KIND/NAME", help="the object")
    add_request_options(parser, reason="resumed")


def run(args: argparse.Namespace, session: Session) -> int:
    """0 done, 1 refused or failed."""
    return carry_out(session, args, "resume", find_object(args.object, session))
