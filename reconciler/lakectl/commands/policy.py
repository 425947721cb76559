"""`lakectl policy test`: runs the cases that are written beside policies, as readers of their roles."""

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.lakectl.access_here import tests_document
from reconciler.lakectl.options import Parser, add_output, one_of
from reconciler.lakectl.output import emit
from reconciler.lakectl.session import Session
from reconciler.lakectl.terminal import Terminal
from reconciler.lakectl.words import number

USAGE = "test [NAME] [-o FORMAT]"
DESCRIPTION = """
Run the cases in `tests` of one Policy, or of all, against the data: each query as a reader of its
role, under all policies in force. A case passes if the rows are the expected ones, in their order.
Exit code 0: all pass, 1: some fail.
"""
EXAMPLES = """
lakectl policy test
lakectl policy test candidates-access
"""


def options(parser: Parser) -> None:
    """Of which policy."""
    parser.add_argument("action", metavar="test", type=one_of("test"), help="run the cases")
    parser.add_argument("name", nargs="?", metavar="NAME", help="one policy (default: all)")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0 all pass, 1 some fail. Raises as `tests_document`."""
    name = None if args.name is None else args.name.removeprefix("Policy/")
    found = tests_document(session, name)
    if args.output != "table":
        emit(session.terminal, found, args.output)
    else:
        for line in _page(found, session.terminal):
            session.terminal.line(line)
    return 1 if found["failed"] else 0


def _page(found: Mapping[str, Any], terminal: Terminal) -> Iterator[str]:
    for policy in found["policies"]:
        failed = [case for case in policy["cases"] if not case["passed"]]
        count = len(policy["cases"])
        said = f"{len(failed)} of {number(count, 'case')} failed" if failed else f"{number(count, 'case')} passed" if count else "no cases"
        yield f"{terminal.style(policy['policy'], 'bold')} of {policy['dataset']}: {said}"
        for case in failed:
            yield from _case(case)
        for warning in policy["warnings"]:
            yield from (terminal.style(line, "yellow") for line in terminal.wrap(f"warning: {warning}", 2))
    if not found["policies"]:
        yield "There is no Policy."


def _case(case: Mapping[str, Any]) -> Iterator[str]:
    given = "".join(f", {name} {value}" for name, value in sorted(case.get("attributes", {}).items()))
    yield f"  case {case['case']} as {case['role']}{given}: {' '.join(case['sql'].split())}"
    yield f"    expected {json.dumps(case['expected'])}"
    yield f"    got      {json.dumps(case['got']) if case['error'] is None else case['error']}"
