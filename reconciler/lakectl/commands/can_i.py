"""`lakectl can-i`: whether a role or a profile may do something, by the policies in force."""

import argparse

from reconciler.lakectl.access_here import access_document
from reconciler.lakectl.access_page import who_of
from reconciler.lakectl.options import Parser, add_output, one_of
from reconciler.lakectl.output import emit
from reconciler.lakectl.session import Session

USAGE = "query|search|describe NAME --as ROLE|PROFILE [-o FORMAT]"
DESCRIPTION = """
Whether a profile, or a role that is bound to nothing by name, may query or describe a dataset, or
search an index. Exit code 0: yes, 1: no. `yes` says in the same line that rows or values are
hidden; `lakectl explain access` tells which, and by what policy. --as names a profile where there
is one of that name, else a role.
"""
EXAMPLES = """
lakectl can-i query candidates --as recruiter
lakectl can-i search resumes --as docs-assistant
"""


def options(parser: Parser) -> None:
    """What, of what, who."""
    parser.add_argument("verb", metavar="query|search|describe", type=one_of("query", "search", "describe"), help="what would be done")
    parser.add_argument("name", metavar="NAME", help="a dataset; of `search` an index")
    parser.add_argument("--as", dest="who", metavar="ROLE|PROFILE", required=True, help="who would do it")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0 yes, 1 no. Raises as `access_document`."""
    kind = "Index/" if args.verb == "search" else "Dataset/"
    found = access_document(session, args.verb, args.name.removeprefix(kind), args.who)
    if args.output != "table":
        emit(session.terminal, found, args.output)
        return 0 if found["allowed"] else 1
    for sentence in (f"{found['answer']} ({who_of(found)})", *found["why"]):
        for line in session.terminal.wrap(sentence, 0):
            session.terminal.line(line)
    return 0 if found["allowed"] else 1
