"""`lakectl gc`: what nothing refers to any more, shown or removed."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reconciler.lakectl import following
from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.here import Here
from reconciler.lakectl.options import Parser, add_output, duration
from reconciler.lakectl.output import emit
from reconciler.lakectl.requests import ask
from reconciler.lakectl.session import Session

if TYPE_CHECKING:
    from reconciler.lakectl.terminal import Terminal
    from state.garbage import Collection
    from state.unreferred import Unreferred

USAGE = "[--yes] [--timeout DURATION] [-o FORMAT]"
DESCRIPTION = """
Remove data files, corpora and builds that nothing refers to any more, once they are older than the
retention (`work.retention`, 24h; the Bucket's `retention` says otherwise). Their age counts from
when they were written or let go of. Without --yes it only shows them: the first 20 by name and
size, all of them with -o json, and how many there are in each bucket. With it a running daemon is
asked; where none runs it is done here, under the lease.
"""
EXAMPLES = """
lakectl gc
lakectl gc --yes
lakectl gc -o json
"""
_TIMEOUT = 600.0
_SHOWN = 20


def options(parser: Parser) -> None:
    """Whether to do it."""
    parser.add_argument("--yes", action="store_true", help="remove it, and do not only show it")
    parser.add_argument("--timeout", metavar="DURATION", type=duration, default=_TIMEOUT, help="wait so long for a daemon (default: 10m)")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0 shown or removed; 1 where a bucket could not be looked at, or the daemon did not do it."""
    if session.url is not None:
        raise UsageInvalid("lakectl gc works on the state in the repository, not through --url.", remedy="Leave the address out.")
    here = session.here()
    found = _look(here)
    outcome, message, left = "shown", "", found
    if args.yes:
        outcome, message = _remove(here, args.timeout, session)
        left = _look(here)
    if args.output != "table":
        emit(session.terminal, _document(found, left, outcome, message), args.output)
    else:
        _show(found, outcome, message, session)
    return 0 if outcome in ("shown", "done") and not left.failed else 1


def _look(here: Here) -> "Collection":
    from reconciler.collecting import look
    from reconciler.lakectl.reading_here import open_here
    from reconciler.lakectl.specs_here import read_specs
    from reconciler.retention import retention

    state, settings = open_here(here)
    return look(state, retention(read_specs(here).world, settings))


def _remove(here: Here, timeout: float, session: Session) -> tuple[str, str]:
    """How it ended, and in words what was done. Raises LeaseHeld where another process is at work that answers nobody."""
    if following.running_daemon(here, session) is not None:
        answer = ask(here, session, "gc", "", reason="lakectl gc", wait=timeout)
        return answer.outcome, answer.message
    from reconciler.collecting import collect_alone, told
    from reconciler.lakectl.specs_here import place_of, read_specs, settings_of
    from reconciler.settings import armed_failpoints
    from state.failpoints import arm

    arm(armed_failpoints())
    place = place_of(here)
    return "done", told(collect_alone(place, settings_of(place), read_specs(here).world))


def _document(found: "Collection", left: "Collection", outcome: str, message: str) -> dict[str, object]:
    from state.garbage import as_rows

    return {
        "outcome": outcome,
        "message": message or None,
        "found": as_rows(found.buckets),
        "items": [_item(item) for item in found.items],
        "left": as_rows(left.buckets),
        "waiting": {"objects": left.waiting.objects, "bytes": left.waiting.size},
        "foreign": {
            "objects": len(left.foreign),
            "bytes": sum(item.size for item in left.foreign),
            "items": [_item(item) for item in left.foreign],
        },
        "unchecked": [{"place": bucket, "reason": reason} for bucket, reason in sorted(left.failed.items())],
    }


def _item(item: "Unreferred") -> dict[str, object]:
    return {"bucket": item.bucket, "key": item.key, "bytes": item.size, "owner": item.owner}


def _show(found: "Collection", outcome: str, message: str, session: Session) -> None:
    from state.garbage import in_words

    terminal = session.terminal
    if outcome == "shown":
        _list(found.items, terminal)
        if found.buckets:
            for name, tally in sorted(found.buckets.items()):
                terminal.line(in_words({name: tally}))
            terminal.line()
            terminal.line(f"Nothing refers to {_total(found)}. `lakectl gc --yes` removes them.")
        else:
            terminal.line("Nothing is to be removed.")
        if found.waiting.objects:
            terminal.note(f"note: {found.waiting.objects:,} more that nothing refers to are younger than the retention.")
        if found.foreign:
            count = f"{len(found.foreign):,}"
            terminal.note(f"note: {count} of datasets or indexes that this catalog never knew stay; `lakectl fsck` names them.")
        for bucket, reason in sorted(found.failed.items()):
            terminal.note(f"note: bucket {bucket} was left out: {reason}")
        return
    good = outcome == "done"
    sign = terminal.style(terminal.mark("✔" if good else "✘", "+" if good else "x"), "green" if good else "red")
    first, *rest = terminal.wrap(message, 3)
    terminal.line(f"{sign}  {first[3:]}")
    for line in rest:
        terminal.line(line)


def _list(items: "Sequence[Unreferred]", terminal: "Terminal") -> None:
    """The first ones, each with its size in bytes."""
    width = max((len(f"{item.size:,}") for item in items[:_SHOWN]), default=0)
    for item in items[:_SHOWN]:
        terminal.line(f"{item.size:>{width},} bytes  {item.bucket}/{item.key}")
    if len(items) > _SHOWN:
        terminal.line(f"and {len(items) - _SHOWN:,} more: `lakectl gc -o json` lists all.")
    if items:
        terminal.line()


def _total(found: "Collection") -> str:
    total = found.total
    return f"{total.objects:,} object{'s' if total.objects != 1 else ''} ({total.size / 1e6:.1f} MB)"
