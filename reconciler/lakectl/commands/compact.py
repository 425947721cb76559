"""`lakectl compact`: the segments of a stream as few Parquet objects."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.following import running_daemon
from reconciler.lakectl.here import Here
from reconciler.lakectl.lake import require_lake
from reconciler.lakectl.options import Parser, add_output, duration
from reconciler.lakectl.output import emit
from reconciler.lakectl.requests import Answer, ask
from reconciler.lakectl.session import Session
from reconciler.lakectl.words import number, size
from state.objects import ObjectStore
from state.streams.schemas import STREAMS, schema_of
from state.streams.segments import all_listed

USAGE = "STREAM | --all [--timeout DURATION] [-o FORMAT]"
DESCRIPTION = """
Fold the many small objects of a stream into few Parquet objects, and show how many there were and
are. A daemon does so by itself: with months that are over, and with the current one when it has
many. Nothing is lost or changed for readers. Without a daemon it is done here, under the lease.
"""
EXAMPLES = """
lakectl compact events
lakectl compact --all -o json
"""
_TIMEOUT = 3600.0


@dataclass(frozen=True, slots=True)
class Extent:
    """What a stream has in the bucket."""

    objects: int
    bytes: int
    events: int


def options(parser: Parser) -> None:
    """Which streams, and how long to wait for a daemon."""
    parser.add_argument("stream", nargs="?", metavar="STREAM", help=f"one of {', '.join(STREAMS)}")
    parser.add_argument("--all", action="store_true", help="every stream")
    parser.add_argument("--timeout", metavar="DURATION", type=duration, default=_TIMEOUT, help="wait so long for a daemon (default: 1h)")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0 done, 1 refused, failed or not answered in time. Raises UsageInvalid, StreamInvalid, LeaseHeld."""
    if (args.stream is None) != args.all:
        raise UsageInvalid("lakectl compact: name one stream, or say --all.", remedy=f"There are {', '.join(STREAMS)}.")
    if session.url is not None:
        raise UsageInvalid(
            "lakectl compact works in the state bucket, not through --url or LAKEHOUSE_URL.", remedy="Leave the address out."
        )
    streams = tuple(STREAMS) if args.all else (schema_of(args.stream).name,)
    here = session.here()
    store = require_lake(here, session.clock).store
    before = {stream: extent(store, stream) for stream in streams}
    if running_daemon(here, session) is not None:
        answer = ask(here, session, "compact", "", reason="asked for", payload={"streams": list(streams)}, wait=args.timeout)
    else:
        answer = compact_here(here, streams)
    after = {stream: extent(store, stream) for stream in streams}
    show(answer, before, after, args.output, session)
    return 0 if answer.outcome == "done" else 1


def extent(store: ObjectStore, stream: str) -> Extent:
    """From names alone."""
    found = all_listed(store, stream)
    return Extent(len(found), sum(segment.size for segment in found), sum(segment.count for segment in found))


def compact_here(here: Here, streams: Sequence[str]) -> Answer:
    """In this process, under the lease. Raises LeaseHeld, and what opening the state raises."""
    from reconciler.lakectl.specs_here import place_of, settings_of
    from reconciler.opening import Housekeeping, open_state
    from reconciler.settings import armed_failpoints
    from state.failpoints import arm
    from state.streams.compaction import Compaction

    arm(armed_failpoints())
    place = place_of(here)
    state = open_state(place, settings_of(place), address="")
    housekeeping = Housekeeping(state)
    try:
        assert state.lease is not None
        compaction = Compaction(state.streams, state.lease.check)
        for stream in streams:
            compaction.run(stream)
    finally:
        housekeeping.close()
    return Answer("", "done", "")


def show(answer: Answer, before: dict[str, Extent], after: dict[str, Extent], form: str, session: Session) -> None:
    """What was, and what is."""
    terminal = session.terminal
    if form != "table":
        rows = [{"stream": name, "before": asdict(was), "after": asdict(after[name])} for name, was in before.items()]
        document = {"outcome": answer.outcome, "message": answer.message, "request": answer.id or None, "streams": rows}
        emit(terminal, document, form)
        return
    if answer.outcome != "done":
        terminal.line(f"{terminal.style(terminal.mark('✘', 'x'), 'red')}  {answer.outcome}: {answer.message}")
        return
    for name, was in before.items():
        now = after[name]
        if was.objects:
            told = f"{number(was.objects, 'object')} of {size(was.bytes)} became {now.objects} of {size(now.bytes)}"
            same = was == now
            terminal.line(f"{name}: nothing to fold ({number(was.objects, 'object')}, {size(was.bytes)})" if same else f"{name}: {told}")
    if not any(was.objects for was in before.values()):
        terminal.line("there was nothing to fold")
