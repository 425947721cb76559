"""`lakectl search`: texts of an index nearest in meaning."""

import argparse

from reconciler.lakectl.given_text import given_text
from reconciler.lakectl.options import Parser, add_output, count
from reconciler.lakectl.output import emit
from reconciler.lakectl.reading_here import search_document
from reconciler.lakectl.result_table import caveats, hits_table
from reconciler.lakectl.session import Session

USAGE = "INDEX TEXT [-k N] [--filter SQL] [--at VERSION|TIME] [-o FORMAT]"
DESCRIPTION = """
Find the texts of an index that are nearest in meaning to TEXT (`-` reads it from standard input).
The score is the cosine similarity: higher is better, 1 is equal. --filter takes an SQL condition
over the columns of the index's dataset. With --at hits are rows and texts of a former version of it,
searched in the kept build that is nearest; rows of that version that this build lacks are counted.
"""
EXAMPLES = """
lakectl search resumes "java developer who knows kubernetes"
lakectl search resumes "warehouse work" -k 3 --filter "city = 'Chicago'"
lakectl search resumes "warehouse work" --at 2026-01-31
"""


def options(parser: Parser) -> None:
    """What to find, where, and how much of it."""
    parser.add_argument("index", metavar="INDEX", help="the Index's name")
    parser.add_argument("text", metavar="TEXT", help="what to look for")
    parser.add_argument("-k", type=count, metavar="N", default=10, help="how many hits (default: 10)")
    parser.add_argument("--filter", metavar="SQL", help="only rows for which this holds")
    parser.add_argument("--at", metavar="VERSION|TIME", help="a former version: its number, or the one of an instant (ISO 8601, UTC)")
    parser.add_argument("--model", metavar="NAME", help="refuse to answer if the index was embedded by another model")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """Raises DaemonProblem, EngineError."""
    text = given_text(args.text, "lakectl search: the text")
    name = args.index.partition("/")[2] if args.index.lower().startswith("index/") else args.index
    asked = {"index": name, "text": text, "k": args.k, "filter": args.filter, "model": args.model, "at": args.at}
    answer = search_document(session, asked)
    if args.output != "table":
        emit(session.terminal, answer, args.output)
    elif answer["hits"]:
        hits_table(answer, session.terminal)
    else:
        session.terminal.line("nothing was found")
        caveats(answer, session.terminal)
    return 0
