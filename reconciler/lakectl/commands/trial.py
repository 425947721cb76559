"""`lakectl trial run`: one recipe of an index, built and measured by hand."""

import argparse
from typing import Any

from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.names import find_object
from reconciler.lakectl.options import Parser, count, one_of, share
from reconciler.lakectl.request_command import add_request_options, leave, tell
from reconciler.lakectl.session import Session

USAGE = "run INDEX --engine ENGINE [--set NAME=VALUE…] [--ef N,N…] [--eval NAME] [-o FORMAT]"
DESCRIPTION = """
Build a recipe over the present rows of an index and measure it by an EvalSet: recall, time of a
query, memory. One build is searched with each value of --ef. What is built may serve afterwards, by
an IndexGeneration of the same recipe; with --fidelity a share of the rows is built over, and thrown
away. What was measured before is told at once. `lakectl trials INDEX` shows all of it. The answer
comes when all is measured, with exit code 0. Without a daemon, or where nobody waits so long, it is
measured later, and the exit code is 1, as for a trial that is refused; `-o json` has the outcome:
done, queued, waiting, refused or failed.
"""
EXAMPLES = """
lakectl trial run resumes --engine hnsw --set m=16 --ef 40,80,160
lakectl trial run resumes --engine flat --eval resumes-eval
lakectl trial run resumes --engine hnsw --set m=32 --fidelity 0.1
"""
_BREADTH = {"hnsw": "efSearch", "lance": "ef"}
_TIMEOUT = 3600.0


def options(parser: Parser) -> None:
    """Which recipe of which index, by what."""
    parser.add_argument("what", metavar="run", type=one_of("run"), help="what to do")
    parser.add_argument("index", metavar="INDEX", help="its name, or Index/NAME")
    parser.add_argument("--engine", metavar="ENGINE", required=True, help="flat, hnsw or lance")
    parser.add_argument("--set", metavar="NAME=VALUE", nargs="+", default=[], help="parameters, as an IndexGeneration names them")
    parser.add_argument("--ef", metavar="N,N…", default="", help="breadths of the search: a trial of each")
    parser.add_argument("--eval", metavar="NAME", help="the EvalSet; not needed where the index has one")
    parser.add_argument("--fidelity", metavar="SHARE", type=share, default=1.0, help="build over this share of the rows (default: 1)")
    add_request_options(parser, reason="by hand", timeout=_TIMEOUT)


def run(args: argparse.Namespace, session: Session) -> int:
    """0 measured; 1 refused, failed, or queued, of which nobody knows the figures yet. Raises UsageInvalid."""
    name = find_object(args.index if "/" in args.index else f"Index/{args.index}", session)
    payload: dict[str, Any] = {"engine": args.engine, "parameters": dict(map(_parameter, args.set)), "fidelity": args.fidelity}
    if args.eval is not None:
        payload["evalSet"] = args.eval
    if args.ef:
        payload["searches"] = [{_breadth(args.engine): breadth} for breadth in map(_count, args.ef.split(","))]
    answer = leave(session, args, "trial-run", name, payload)
    return tell(session, args, "trial-run", name, answer) or (1 if answer.outcome == "queued" else 0)


def _parameter(text: str) -> tuple[str, int | str]:
    """Raises UsageInvalid."""
    name, equals, value = text.partition("=")
    if not name or not equals or not value:
        raise UsageInvalid(f"lakectl trial run: `{text}` is no parameter.", remedy="Write it as in m=16.")
    return name, int(value) if value.isdecimal() else value


def _breadth(engine: str) -> str:
    if engine not in _BREADTH:
        raise UsageInvalid(f"lakectl trial run: {engine} has no breadth of a search; leave --ef out.")
    return _BREADTH[engine]


def _count(text: str) -> int:
    try:
        return count(text)
    except argparse.ArgumentTypeError as error:
        raise UsageInvalid(f"lakectl trial run: --ef: {error}.", remedy="Write it as in 40,80,160.") from error
