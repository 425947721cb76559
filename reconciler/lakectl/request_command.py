"""What the commands share that leave a request: their options, and how its end is told."""

import argparse
from collections.abc import Mapping
from typing import Any

from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.options import Parser, add_output, duration
from reconciler.lakectl.output import emit
from reconciler.lakectl.requests import Answer, ask
from reconciler.lakectl.session import Session

_TIMEOUT = 30.0
_SIGNS = {"done": ("✔", "+", "green"), "queued": ("◌", "~", "yellow"), "waiting": ("◌", "~", "yellow")}


def add_request_options(parser: Parser, *, reason: str, timeout: float = _TIMEOUT, wait: bool = True) -> None:
    """`reason` is what is noted where none is given, `timeout` how many seconds are waited then. wait: whether `--wait` is among them."""
    parser.add_argument("--reason", metavar="TEXT", default=reason, help="why; kept with the event")
    told = f"{timeout / 3600:.0f}h" if timeout >= 3600 else f"{timeout:.0f}s"
    parser.add_argument(
        "--timeout", metavar="DURATION", type=duration, default=timeout, help=f"wait so long for the answer (default: {told})"
    )
    if wait:
        parser.add_argument(
            "--wait", action="store_true", help="until it is done, though no daemon runs yet; without, what is only queued ends with code 0"
        )
    add_output(parser)


def carry_out(session: Session, args: argparse.Namespace, verb: str, object_: str, payload: Mapping[str, Any] | None = None) -> int:
    """Leaves the request and tells how it ended: 0 done or queued, 1 refused, failed or not answered in time."""
    return tell(session, args, verb, object_, leave(session, args, verb, object_, payload))


def leave(session: Session, args: argparse.Namespace, verb: str, object_: str, payload: Mapping[str, Any] | None = None) -> Answer:
    """Leaves the request. Raises UsageInvalid through an address."""
    if session.url is not None:
        raise UsageInvalid(
            f"lakectl {verb} works through the state bucket, not through --url or LAKEHOUSE_URL.",
            remedy="Leave the address out, and run it in the repository.",
        )
    return ask(session.here(), session, verb, object_, reason=args.reason, payload=payload, wait=args.timeout, insist=args.wait)


def tell(session: Session, args: argparse.Namespace, verb: str, object_: str, answer: Answer) -> int:
    """How it ended, for people or programs; the exit code of `carry_out`."""
    if args.output != "table":
        document = {"request": answer.id, "verb": verb, "object": object_ or None, "outcome": answer.outcome, "message": answer.message}
        emit(session.terminal, document, args.output)
    else:
        terminal = session.terminal
        fancy, plain, color = _SIGNS.get(answer.outcome, ("✘", "x", "red"))
        about = f"{object_}: " if object_ else ""
        said = f"{about}{answer.message}" if answer.outcome != "refused" else f"{about}refused: {answer.message}"
        first, *rest = terminal.wrap(said, 3)
        terminal.line(f"{terminal.style(terminal.mark(fancy, plain), color)}  {first[3:]}")
        for line in rest:
            terminal.line(line)
    return 0 if answer.outcome in ("done", "queued") else 1
