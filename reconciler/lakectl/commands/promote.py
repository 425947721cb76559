"""`lakectl promote`: another generation answers for an index."""

import argparse

from reconciler.lakectl import promoting
from reconciler.lakectl.options import Parser
from reconciler.lakectl.session import Session

USAGE = "INDEX (GENERATION [--write-spec] | --model NAME) [--reason TEXT]"
DESCRIPTION = """
Let a generation that is built answer for an index whose spec says `serve: auto`, until another is
chosen. Searches go on meanwhile; each says which generation answered. What the spec of the Index
says goes first: with --write-spec the choice is written there and committed. With --model another
model of the index serves, until its spec names another one or `lakectl rollback` takes it back.
"""
EXAMPLES = """
lakectl promote resumes resumes-g2 --reason "found better by hand"
lakectl promote resumes resumes-g2 --write-spec
lakectl promote resumes --model minilm --reason "better by nDCG"
"""


def options(parser: Parser) -> None:
    """Which index, which generation or model, why."""
    promoting.add_options(parser, generation="the IndexGeneration that is to answer")
    parser.add_argument("--model", metavar="NAME", help="the model that is to serve, of those that the index has")


def run(args: argparse.Namespace, session: Session) -> int:
    """0 done or stored, 1 refused or failed. Raises UsageInvalid, GitRefused, ObjectUnknown."""
    return promoting.run(args, session, "promote", args.model)
