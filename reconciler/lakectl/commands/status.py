"""`lakectl status`: what the loop last saw of every object, and whether anybody still looks."""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import NoReturn

from reconciler.lakectl.observation import Observation, observer
from reconciler.lakectl.options import Parser, add_output, duration
from reconciler.lakectl.output import emit
from reconciler.lakectl.session import Session
from reconciler.lakectl.status_table import table
from state.status import Status

USAGE = "[KIND | KIND/NAME …] [--watch] [-o FORMAT]"
DESCRIPTION = """
One row an object: its state, the commit of its spec (SPEC), the last commit that was applied
(APPLIED), and how long ago it was looked at (SEEN). What is not ready tells why below its row.
 Without a daemon it shows what was seen last, and that nobody looks any more.
"""
EXAMPLES = """
lakectl status
lakectl status --watch
lakectl status Dataset/candidates -o wide
lakectl status Dataset/candidates Index/resumes
lakectl status -o json | jq '.objects[] | select(.ready != "True")'
"""
_EVERY = 1.0


def options(parser: Parser) -> None:
    """Which objects, and how often."""
    parser.add_argument("objects", nargs="*", metavar="KIND/NAME", help="only these objects, or the objects of these kinds")
    parser.add_argument("-w", "--watch", action="store_true", help="go on showing it until interrupted")
    parser.add_argument("--every", metavar="DURATION", type=duration, default=_EVERY, help="with --watch: how often to look (default: 1s)")
    add_output(parser, "wide")


def run(args: argparse.Namespace, session: Session) -> int:
    """0 whatever the objects' state: see `lakectl wait` for a verdict. Raises UsageInvalid, ObjectUnknown."""
    wanted = _wanted(args.objects)

    def look() -> Observation:
        knows = observer(session)
        if len(wanted) <= 1:
            return knows.look(*wanted[0]) if wanted else knows.look()
        seen = knows.look()
        found = tuple(status for status in seen.statuses if any(_is_of(status, kind, name) for kind, name in wanted))
        return replace(seen, statuses=found)

    if args.watch:
        _watch(look, args, session)
    seen = look()
    for kind, name in wanted:
        if name is not None and not any(_is_of(status, kind, name) for status in seen.statuses):
            from reconciler.lakectl.names import unknown_object

            raise unknown_object(f"{kind}/{name}", [status.object for status in observer(session).look().statuses])
    _show(seen, args.output, session)
    return 0


def _wanted(words: list[str]) -> list[tuple[str, str | None]]:
    """Kinds, and names where one object is meant. Raises UsageInvalid."""
    if not words:
        return []
    from reconciler.lakectl.names import find_kind

    parts = [word.partition("/") for word in words]
    return [(find_kind(kind), name or None) for kind, _, name in parts]


def _is_of(status: Status, kind: str, name: str | None) -> bool:
    return status.kind == kind and name in (None, status.name)


def _show(observation: Observation, form: str, session: Session) -> None:
    if form in ("json", "yaml"):
        emit(session.terminal, observation.to_document(), form)
        return
    for line in table(observation, session.terminal, session.clock(), wide=form == "wide"):
        session.terminal.line(line)


def _watch(look: Callable[[], Observation], args: argparse.Namespace, session: Session) -> NoReturn:
    """Until interrupted, also while there is nothing to show.

    On a terminal the picture is repainted; into a pipe goes a new one whenever something changed.
    """
    terminal = session.terminal
    if not terminal.interactive or args.output in ("json", "yaml"):
        last = None
        while True:
            seen = look()
            told = [(s.object, s.ready, s.reason, s.message, s.applied_revision) for s in seen.statuses]
            facts = (seen.revision, seen.gone is None, told)
            if facts != last:
                _show(seen, args.output, session)
                terminal.out.flush()
                last = facts
            time.sleep(args.every)
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    def picture(now: datetime) -> Text:
        lines = table(look(), terminal, now, wide=args.output == "wide")
        return Text.from_ansi("\n".join(lines), no_wrap=True)

    console = Console(file=terminal.out, no_color=not terminal.color, highlight=False)
    with Live(picture(session.clock()), console=console, auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(args.every)
            live.update(picture(session.clock()), refresh=True)
