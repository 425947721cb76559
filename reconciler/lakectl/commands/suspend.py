"""`lakectl suspend`: leave an object as it is."""

import argparse

from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.names import find_object
from reconciler.lakectl.options import Parser, duration
from reconciler.lakectl.request_command import add_request_options, carry_out
from reconciler.lakectl.session import Session
from reconciler.lakectl.words import until
from state.timestamps import from_iso, iso

USAGE = "KIND/NAME --reason TEXT [--for DURATION | --until TIME] [-o FORMAT]"
DESCRIPTION = """
Leave an object alone: nothing is ingested, built or removed for it until it is resumed or the
time is up. What is served stays served. Who, why and until when are shown in its status.
"""
EXAMPLES = """
lakectl suspend Dataset/candidates --reason "export is repaired" --for 2h
lakectl suspend Index/resumes --reason demo --until 2026-12-01T18:00:00Z
"""


def options(parser: Parser) -> None:
    """What, why, how long."""
    parser.add_argument("object", metavar="KIND/NAME", help="the object")
    parser.add_argument("--for", dest="length", metavar="DURATION", type=duration, help="for so long, as in 30m, 2h, 7d")
    parser.add_argument("--until", metavar="TIME", help="until then, as in 2026-12-01T18:00:00Z")
    add_request_options(parser, reason="")


def run(args: argparse.Namespace, session: Session) -> int:
    """0 done, 1 refused or failed. Raises UsageInvalid."""
    if not args.reason:
        raise UsageInvalid("lakectl suspend: say why, with --reason.", remedy="Whoever finds it suspended will want to know.")
    if args.length is not None and args.until is not None:
        raise UsageInvalid("lakectl suspend: --for and --until exclude each other.")
    payload = {}
    if args.length is not None:
        payload["until"] = iso(until(session.clock(), args.length))
    if args.until is not None:
        payload["until"] = _instant(args.until, session)
    return carry_out(session, args, "suspend", find_object(args.object, session), payload)


def _instant(text: str, session: Session) -> str:
    try:
        at = from_iso(text)
    except ValueError:
        raise UsageInvalid(f"lakectl suspend: `{text}` is no time.", remedy="Write it as in 2026-12-01T18:00:00Z.") from None
    if at <= session.clock():
        raise UsageInvalid(f"lakectl suspend: {text} has passed.")
    return iso(at)
