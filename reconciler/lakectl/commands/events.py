"""`lakectl events`: what happened, oldest first, and what happens as it does."""

import argparse
import time
from datetime import timedelta

from reconciler.lakectl.event_lines import event_lines
from reconciler.lakectl.names import find_object
from reconciler.lakectl.observation import Event, Observer, observer
from reconciler.lakectl.options import Parser, add_output, count, duration, one_of
from reconciler.lakectl.output import emit, render
from reconciler.lakectl.session import Session
from state.timestamps import iso

USAGE = "[KIND/NAME] [-f] [--since DURATION] [--type TYPE] [--reason REASON] [-o FORMAT]"
DESCRIPTION = """
What happened and why, oldest first: what was ingested, built, refused, removed, asked for.
Times are UTC. With -f it goes on as events happen, and -o json writes one event a line then.
All events ever are in SQL as system.events.
"""
EXAMPLES = """
lakectl events
lakectl events Dataset/candidates --since 1h
lakectl events --type Warning -f
lakectl events --reason FileRefused -o json
"""
_EVERY = 0.5
_MOST = 50


def options(parser: Parser) -> None:
    """Filters, and whether to follow."""
    parser.add_argument("object", nargs="?", metavar="KIND/NAME", help="only events of this object")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until interrupted")
    parser.add_argument("--since", metavar="DURATION", type=duration, help="only events of the last 30s, 10m, 2h, 7d")
    parser.add_argument("--type", metavar="TYPE", type=one_of("Normal", "Warning"), help="Normal or Warning")
    parser.add_argument("--reason", metavar="REASON", help="only events of this reason, as in FileRefused")
    parser.add_argument(
        "-n", "--limit", metavar="N", type=count, default=None, help=f"at most so many (default: {_MOST}, with --since all)"
    )
    add_output(parser, "wide")


def run(args: argparse.Namespace, session: Session) -> int:
    """0, whatever there is."""
    filters = {name: value for name, value in (("type", args.type), ("reason", args.reason)) if value is not None}
    if args.object is not None:
        filters["object"] = find_object(args.object, session)
    since = iso(session.clock() - timedelta(seconds=args.since)) if args.since is not None else None
    limit = args.limit or (None if args.since is not None else _MOST)
    knows = observer(session)
    found = knows.events(filters, since, limit)
    if args.follow:
        _follow(knows, filters, found, args, session)
    elif args.output in ("json", "yaml"):
        emit(session.terminal, {"events": [dict(event) for event in found]}, args.output)
    else:
        _show(found, args, session)
        if not found:
            session.terminal.note("no events")
    return 0


def _show(events: tuple[Event, ...], args: argparse.Namespace, session: Session) -> None:
    for event in events:
        if args.output == "json":
            session.terminal.line(
                " ".join(line.strip() for line in render(dict(event), "json", unicode=session.terminal.unicode).splitlines())
            )
        elif args.output == "yaml":
            session.terminal.line("---\n" + render(dict(event), "yaml", unicode=session.terminal.unicode))
        else:
            for line in event_lines(event, session.terminal, with_object=args.object is None, wide=args.output == "wide"):
                session.terminal.line(line)
    session.terminal.out.flush()


def _follow(knows: Observer, filters: dict[str, str], found: tuple[Event, ...], args: argparse.Namespace, session: Session) -> None:
    """Asks again from the last event on; whoever answers may change in between."""
    last = str(found[-1]["id"]) if found else None
    since = last or iso(session.clock())
    _show(found, args, session)
    while True:
        time.sleep(_EVERY)
        more = tuple(event for event in observer(session).events(filters, since, None) if event["id"] != last)
        if more:
            _show(more, args, session)
            since = last = str(more[-1]["id"])
