"""`lakectl approve`: a person's yes to a plan that was held."""

import argparse

from reconciler.lakectl.options import Parser
from reconciler.lakectl.request_command import add_request_options, carry_out
from reconciler.lakectl.session import Session

USAGE = "PLAN [--reason TEXT] [-o FORMAT]"
DESCRIPTION = """
Let a plan go ahead that is held because it removes much, or something governed. `lakectl status`
shows the plan's id. The approval holds for exactly that plan: if the specs or the data have
changed since, it is refused.
"""
EXAMPLES = 'lakectl approve 3f9c2a7d10ab --reason "the old exports may go"'


def options(parser: Parser) -> None:
    """Which plan."""
    parser.add_argument("plan", metavar="PLAN", help="the plan's id")
    add_request_options(parser, reason="approved")


def run(args: argparse.Namespace, session: Session) -> int:
    """0 done, 1 refused or failed."""
    return carry_out(session, args, "approve", "", {"plan": args.plan})
