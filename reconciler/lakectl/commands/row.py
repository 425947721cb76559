"""`lakectl row set`, `lakectl row delete`: one row of a dataset, changed by hand."""

import argparse

from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.names import find_object
from reconciler.lakectl.options import Parser, one_of
from reconciler.lakectl.request_command import add_request_options, carry_out
from reconciler.lakectl.session import Session

USAGE = "set|delete DATASET KEY [COLUMN=VALUE…] --reason TEXT [--create] [-o FORMAT]"
DESCRIPTION = """
Set fields of one row of a dataset whose `write` is upsert, or delete the row. Queries see it at
once; system.journal keeps old and new value, who and why. KEY is the value of the primary key; as a
JSON array, as hits of searches and system.journal show it, it may be written always, and must be where
the key has several columns. A value is text, read by the column's type; COLUMN= without a value sets
null. A later file that brings the same key takes the row over again, as it does with a
row of a former file. What would break the dataset's contract is refused. Where no daemon runs the
request is queued, and the next one or `lakectl apply` carries it out.
"""
EXAMPLES = """
lakectl row set candidates CAND-001 phone=555-0100 --reason "called back"
lakectl row set people 4 name=Grace city= --create --reason "by hand"
lakectl row delete hours '["CAND-001", "2026-01-31"]' --reason "entered twice"
"""


def options(parser: Parser) -> None:
    """Which row, what of it, why."""
    parser.add_argument("what", metavar="set|delete", type=one_of("set", "delete"), help="what to do with the row")
    parser.add_argument("dataset", metavar="DATASET", help="its name, or Dataset/NAME")
    parser.add_argument("key", metavar="KEY", help="the row's primary key")
    parser.add_argument("fields", nargs="*", metavar="COLUMN=VALUE", help="of `set`: what the columns hold from now on")
    parser.add_argument("--create", action="store_true", help="of `set`: add the row where there is none")
    add_request_options(parser, reason="")


def run(args: argparse.Namespace, session: Session) -> int:
    """0 done, 1 refused or failed. Raises UsageInvalid."""
    command = f"lakectl row {args.what}"
    if not args.reason:
        raise UsageInvalid(f"{command}: say why, with --reason.", remedy="It is kept in system.journal.")
    if args.what == "delete" and (args.fields or args.create):
        raise UsageInvalid(f"{command} takes a dataset and a key, and nothing else.")
    name = find_object(args.dataset if "/" in args.dataset else f"Dataset/{args.dataset}", session)
    payload: dict[str, object] = {"key": args.key}
    if args.what == "set":
        payload |= {"set": _fields(args.fields), "create": args.create}
    return carry_out(session, args, f"row-{args.what}", name, payload)


def _fields(given: list[str]) -> dict[str, str | None]:
    """Text by column, None for null. Raises UsageInvalid."""
    found: dict[str, str | None] = {}
    for text in given:
        column, equals, value = text.partition("=")
        if not column or not equals:
            raise UsageInvalid(f"lakectl row set: `{text}` is no field.", remedy="Write it as in phone=555-0100.")
        found[column] = value or None
    if not found:
        raise UsageInvalid("lakectl row set: say what to set.", remedy="Write it as in phone=555-0100.")
    return found
