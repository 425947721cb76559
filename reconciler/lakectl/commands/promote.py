"""`lakectl promote`: another generation answers for an index."""

import argparse

from reconciler.lakectl import promoting
from reconciler.lakectl.options import Parser
from reconciler.lakectl.session import Session

USAGE = "INDEX (GENERATION [--write-spec] | --model NAME | --auto) [--reason TEXT]"
DESCRIPTION = """
Let a generation that is built answer for an index whose spec says `serve: auto`, until another is
chosen. Searches go on meanwhile; each says which generation answered. What the spec of the Index
says goes first: with --write-spec the choice is written there and committed. With --model another
model of the index serves, until its spec names another one or `lakectl rollback` takes it back.
With --auto nothing is chosen any more: the model of the spec serves, by what is measured best.
"""
EXAMPLES = """
lakectl promote resumes resumes-g2 --reason "found better by hand"
lakectl promote resumes resumes-g2 --write-spec
lakectl promote resumes --model minilm --reason "better by nDCG"
lakectl promote resumes --auto
"""


def options(parser: Parser) -> None:
    """Which index, which generation or model or neither, why."""
    promoting.add_options(parser, generation="the IndexGeneration that is to answer")
    parser.add_argument("--model", metavar="NAME", help="the model that is to serve, of those that the index has")
    parser.add_argument("--auto", action="store_true", help="end what was chosen by hand or by a TrialBudget")


def run(args: argparse.Namespace, session: Session) -> int:
    """0 done or queued, 1 refused or failed. Raises UsageInvalid, GitRefused, ObjectUnknown."""
    return promoting.run(args, session, "promote", args.model, auto=args.auto)
