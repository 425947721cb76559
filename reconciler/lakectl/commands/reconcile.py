"""`lakectl reconcile`: another look, now."""

import argparse

from reconciler.lakectl.commands.wait import wait_for
from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.names import find_object
from reconciler.lakectl.options import Parser
from reconciler.lakectl.request_command import add_request_options, leave, tell
from reconciler.lakectl.session import Session
from state.timestamps import iso

USAGE = "[KIND/NAME] [--files] [--wait] [--timeout DURATION]"
DESCRIPTION = """
Have an object looked at again now, or without one the watched ref and everything. Nothing
needs this to be correct: changes are followed by themselves. A Dataset whose source tells of
no changes (a database, `refresh: {watch: false}`) has it read, due or not. It ends when this was
asked for; with --wait, when the object was looked at and is Ready, or with 1 where it is not.
"""
EXAMPLES = """
lakectl reconcile
lakectl reconcile Dataset/candidates
lakectl reconcile Dataset/candidates --files
lakectl reconcile Dataset/team-runs --wait && lakectl export team-runs
"""


def options(parser: Parser) -> None:
    """What to look at."""
    parser.add_argument("object", nargs="?", metavar="KIND/NAME", help="the object (default: everything)")
    parser.add_argument("--files", action="store_true", help="read a Dataset's files again, whatever their time and size say")
    parser.add_argument("--wait", action="store_true", help="until the object is Ready after it; --timeout is for each of both")
    add_request_options(parser, reason="asked for", wait=False)


def run(args: argparse.Namespace, session: Session) -> int:
    """0 done, 1 refused or failed. Raises UsageInvalid."""
    name = find_object(args.object, session) if args.object is not None else ""
    if args.files and not name.startswith("Dataset/"):
        raise UsageInvalid("lakectl reconcile: --files needs a Dataset.", remedy="Name one, as in Dataset/candidates.")
    if args.wait and not name:
        raise UsageInvalid("lakectl reconcile: --wait needs an object.", remedy="Name one, or use `lakectl wait --all`.")
    verb, since = "resync" if args.files else "reconcile", iso(session.clock())
    answer = leave(session, args, verb, name)
    if not args.wait or answer.outcome != "done":
        code = tell(session, args, verb, name, answer)
        return 1 if args.wait else code  # nobody came for what is only queued
    return wait_for(argparse.Namespace(state="ready", revision=None, timeout=args.timeout, output=args.output), [name], session, since)
