"""`lakectl wait`: for scripts: until something is so, or time is up."""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

from reconciler.errors import RevisionUnknown, SourceUnavailable
from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.here import in_git, read_head
from reconciler.lakectl.names import find_object
from reconciler.lakectl.observation import Observation, Observer, observer
from reconciler.lakectl.options import Parser, add_output, duration
from reconciler.lakectl.output import emit
from reconciler.lakectl.session import Session
from reconciler.lakectl.specs_here import place_of, visited, wanted_digests
from reconciler.lakectl.status_table import rows
from reconciler.lakectl.words import short, standing, took
from state import reasons
from state.status import Status

USAGE = "[--for CONDITION] (KIND/NAME … | --all) [--timeout DURATION]"
DESCRIPTION = """
Wait until objects are ready (the default), have a condition, or are gone. Ends with 0 when it
is so, with 1 when time is up, telling what is not so; waiting for ready ends with 1 as soon as one
is Stalled, which it stays until its spec or data change, or its removal is held for an approval. Waiting for all takes the commit at HEAD
into account: if the daemon has not read it, that is waited for first.
"""
EXAMPLES = """
lakectl wait --all
lakectl wait Dataset/candidates Index/resumes --timeout 10m
lakectl wait --for condition=Stalled Dataset/broken
lakectl wait --for deleted Index/old
lakectl wait --all --revision $(git rev-parse HEAD)
"""
_TIMEOUT = 300.0
_EVERY = 0.2
_SETTLES_WITHIN = 3.0
"""Seconds in which a daemon that follows HEAD has read it; one that follows another ref never does."""
_STANDS = 1.0
"""Seconds for which an object has to be Stalled: a file that was just put right is noticed within them."""

Test = Callable[[Status | None], bool]


def options(parser: Parser) -> None:
    """For what, of which objects, how long."""
    parser.add_argument("objects", nargs="*", metavar="KIND/NAME", help="the objects")
    parser.add_argument("--all", action="store_true", help="every object")
    parser.add_argument("--for", dest="state", metavar="CONDITION", default="ready", help="ready, deleted, or condition=TYPE[=STATUS]")
    parser.add_argument("--revision", metavar="COMMIT", help="only once this commit has been read")
    parser.add_argument("--timeout", metavar="DURATION", type=duration, default=_TIMEOUT, help="give up after so long (default: 5m)")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0 or 1. Raises UsageInvalid."""
    if args.all == bool(args.objects):
        raise UsageInvalid("lakectl wait: name objects, or say --all.", remedy="See `lakectl wait --help`.")
    return wait_for(args, [find_object(word, session) for word in args.objects], session)


def wait_for(args: argparse.Namespace, names: list[str], session: Session, since: str = "") -> int:
    """0 or 1. args: as `options` makes them; names: none for all. since: an instant after which they must have been looked at."""
    holds = test_of(args.state)
    began = time.monotonic()
    revision, patience = _revision(args.revision, session)
    wanted = _wanted(revision, session)
    look = _conditions if args.state.lower().startswith("condition=") else _readiness
    counts = {name: digest for name, digest in wanted.items() if not names or name in names}
    ready = args.state.lower() in ("ready", "condition=ready", "condition=ready=true")
    warned, moved = False, began
    while True:
        knows = observer(session)
        seen = look(knows)
        waited = time.monotonic() - began
        read = waited > patience if seen.revision != revision else visited(seen.statuses, counts)
        unmet = _unmet(seen, names, lambda status: _seen_since(status, since) and holds(status), args.state)
        if read and not unmet:
            return _ended(True, seen, (), waited, "", args.output, session)
        if seen.gone is not None and not warned:
            session.terminal.note(f"{seen.gone.words(session.clock())} Waiting for one to start.")
            warned = True
        stuck = _stalled(tuple(status for status in unmet if _seen_since(status, since)), knows) if ready and read else ()
        if not stuck:
            moved = time.monotonic()
        elif time.monotonic() - moved > _STANDS:
            return _ended(False, seen, stuck, waited, _why_stuck(stuck), args.output, session)
        if waited > args.timeout:
            return _ended(False, seen, unmet, waited, "" if read else _unread(seen, revision), args.output, session)
        time.sleep(_EVERY)


def _seen_since(status: Status | None, since: str) -> bool:
    return not since or (status is not None and (status.observed_at or "") > since)


def _readiness(knows: Observer) -> Observation:
    return knows.look()


def _conditions(knows: Observer) -> Observation:
    """A look tells no conditions where a daemon is asked."""
    return replace(knows.look("-"), statuses=knows.described())


def test_of(text: str) -> Test:
    """What has to hold of a status; None stands for an object without one. Raises UsageInvalid."""
    folded = text.lower()
    if folded == "ready":
        return lambda status: status is not None and status.ready == "True"
    if folded in ("deleted", "delete"):
        return lambda status: status is None
    kind, _, wanted = text.partition("=")[2].partition("=")
    truth = wanted.capitalize() or "True"
    known = kind.capitalize() in ("Ready", "Reconciling", "Stalled") and truth in ("True", "False", "Unknown")
    if not folded.startswith("condition=") or not known:
        raise UsageInvalid(
            f"lakectl wait: `{text}` cannot be waited for.", remedy="Say ready, deleted, or condition=Ready, condition=Stalled, …"
        )
    if kind.capitalize() == "Ready":
        return lambda status: status is not None and status.ready == truth
    return lambda status: status is not None and any(c.type == kind.capitalize() and c.status == truth for c in status.conditions)


def _revision(given: str | None, session: Session) -> tuple[str | None, float]:
    """The commit that must have been read, and for how long that is insisted on."""
    if given is not None:
        return _full_id(given, session), float("inf")
    head = read_head(session.here().root) if session.url is None else None
    return (head, _SETTLES_WITHIN) if head is not None else (None, -1.0)


def _full_id(given: str, session: Session) -> str:
    """The commit that a short id or a branch names; as given for a daemon elsewhere, and where there is no git. Raises RevisionUnknown."""
    if session.url is not None:
        return given
    here = session.here()
    return place_of(here, given).source.revision() if in_git(here.root) else given


def _wanted(revision: str | None, session: Session) -> dict[str, str]:
    """What the objects' statuses must be about at that commit; nothing where it cannot be read from here."""
    if revision is None or session.url is not None:
        return {}
    try:
        return wanted_digests(place_of(session.here(), revision))
    except (RevisionUnknown, SourceUnavailable):
        return {}


def _unmet(seen: Observation, names: list[str], holds: Test, state: str) -> tuple[Status, ...]:
    """What does not hold yet. Where nobody looks any more nothing is ready."""
    current = {status.object: status for status in seen.current()}
    if not names:
        unmet = tuple(status for status in current.values() if not holds(status))
        return unmet if current or state.lower().startswith("delete") else (Status("-", "Unknown", "NotObserved", "no object is known"),)
    missing = Status("", "Unknown", "NotObserved", "nothing is known of it")
    return tuple(
        current.get(name) or Status(name, missing.ready, missing.reason, missing.message) for name in names if not holds(current.get(name))
    )


def _stalled(unmet: tuple[Status, ...], knows: Observer) -> tuple[Status, ...]:
    """Those that do not go on by themselves. Only conditions are certain of it, and they are asked for only where it seems so."""
    likely = {status.object for status in unmet if _stands_still(status)}
    if not likely:
        return ()
    return tuple(status for status in knows.described() if status.object in likely and _stands_still(status))


def _stands_still(status: Status) -> bool:
    return standing(status) == "stalled" or status.reason == reasons.PRUNE_HELD


def _why_stuck(stuck: tuple[Status, ...]) -> str:
    if all(status.reason == reasons.PRUNE_HELD for status in stuck):
        return "its removal is held until somebody approves it"
    return "it is Stalled, and stays so until its spec or data change"


def _unread(seen: Observation, revision: str | None) -> str:
    """Why what is shown does not count yet."""
    if seen.revision == revision:
        return f"not every object has been looked at for commit {short(revision)}"
    return f"commit {short(revision)} has not been read, but {short(seen.revision)}" if seen.revision else "no commit has been read"


def _ended(met: bool, seen: Observation, unmet: tuple[Status, ...], waited: float, why: str, form: str, session: Session) -> int:
    terminal = session.terminal
    if form != "table":
        document = {"met": met, "seconds": round(waited, 3), "revision": seen.revision, "unmet": [s.to_document() for s in unmet]}
        emit(terminal, document, form)
        return 0 if met else 1
    if met:
        terminal.line(
            f"{terminal.style(terminal.mark('✔', '+'), 'green')}  so it is, at commit {short(seen.revision)}, after {took(waited)}"
        )
        return 0
    if unmet:
        for line in rows(Observation(seen.revision, unmet, writer=seen.writer), terminal, session.clock(), wide=False):
            terminal.line(line)
        terminal.line()
    terminal.line(f"{terminal.style(terminal.mark('✘', 'x'), 'red')}  not so after {took(waited)}{f': {why}' if why else ''}")
    return 1
