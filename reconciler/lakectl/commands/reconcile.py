"""`lakectl reconcile`: another look, now."""

import argparse

from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.names import find_object
from reconciler.lakectl.options import Parser
from reconciler.lakectl.request_command import add_request_options, carry_out
from reconciler.lakectl.session import Session

USAGE = "[KIND/NAME] [--files] [--timeout DURATION] [-o FORMAT]"
DESCRIPTION = """
Have an object looked at again now, or without one the watched ref and everything. Nothing
needs this to be correct: changes are followed by themselves. A Dataset whose source tells of
no changes (a database, `refresh: {watch: false}`) has it read, due or not.
"""
EXAMPLES = """
lakectl reconcile
lakectl reconcile Dataset/candidates
lakectl reconcile Dataset/candidates --files
"""


def options(parser: Parser) -> None:
    """What to look at."""
    parser.add_argument("object", nargs="?", metavar="KIND/NAME", help="the object (default: everything)")
    parser.add_argument("--files", action="store_true", help="read a Dataset's files again, whatever their time and size say")
    add_request_options(parser, reason="asked for")


def run(args: argparse.Namespace, session: Session) -> int:
    """0 done, 1 refused or failed. Raises UsageInvalid."""
    name = find_object(args.object) if args.object is not None else ""
    if args.files and not name.startswith("Dataset/"):
        raise UsageInvalid("lakectl reconcile: --files needs a Dataset.", remedy="Name one, as in Dataset/candidates.")
    return carry_out(session, args, "resync" if args.files else "reconcile", name)
