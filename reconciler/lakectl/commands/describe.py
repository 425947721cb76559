"""`lakectl describe`: everything about one object on one page."""

import argparse
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from reconciler.lakectl.dataset_page import dataset_lines
from reconciler.lakectl.errors import ObjectUnknown, UsageInvalid
from reconciler.lakectl.event_lines import event_lines
from reconciler.lakectl.names import find_object, unknown_object
from reconciler.lakectl.observation import Event, Observation, observer
from reconciler.lakectl.options import Parser, add_output
from reconciler.lakectl.output import emit, render
from reconciler.lakectl.reading_here import dataset_document
from reconciler.lakectl.session import Session
from reconciler.lakectl.status_table import banner
from reconciler.lakectl.terminal import Terminal
from reconciler.lakectl.words import LOOKS, age, reason_words, short, sign, standing, state_words
from specs.errors import LakehouseError
from state.status import Status

USAGE = "KIND/NAME [-o FORMAT]"
DESCRIPTION = """
All that is known of one object: where its spec stands, state, conditions, figures, and the
last events; of a Dataset also what it holds, column by column, and what it was made of. With
--as only that, as the profile sees it.
"""
EXAMPLES = """
lakectl describe Dataset/candidates
lakectl describe index/resumes -o yaml
"""
_EVENTS = 8
_FIELD = 11


def options(parser: Parser) -> None:
    """Which object."""
    parser.add_argument("object", metavar="KIND/NAME", help="the object")
    parser.add_argument("--events", metavar="N", type=int, default=_EVENTS, help=f"how many events to show (default: {_EVENTS})")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """Raises ObjectUnknown."""
    if session.profile is not None:
        return _seen_by_profile(args, session)
    name = find_object(args.object, session)
    kind, _, rest = name.partition("/")
    knows = observer(session)
    found = knows.described(kind, rest)
    source, references = declared(session, name)
    if not found:
        if source is None:
            raise unknown_object(name, [status.object for status in knows.look().statuses])
        found = (Status(name, "Unknown", "NotObserved", f"declared at {source}, and nobody has looked at it yet"),)
    seen = knows.look("-")
    shown = Observation(seen.revision, found, seen.writer, seen.gone, seen.note)
    events = knows.events({"object": name}, None, args.events) if args.events > 0 else ()
    dataset = dataset_document(session, rest) if kind == "Dataset" else None
    if args.output != "table":
        document = shown.current()[0].describe() | {"source": source, "references": references, "events": [dict(e) for e in events]}
        emit(session.terminal, document | ({"dataset": dataset} if dataset is not None else {}), args.output)
        return 0
    for line in page(shown, source, references, events, session, dataset):
        session.terminal.line(line)
    return 0


def _seen_by_profile(args: argparse.Namespace, session: Session) -> int:
    """What a Dataset holds for the profile, and nothing of what only operators know."""
    kind, _, name = args.object.rpartition("/")
    if kind.lower() not in ("", "dataset"):
        raise UsageInvalid("lakectl describe --as describes Datasets.", remedy="`lakectl describe` without --as tells of everything else.")
    dataset = dataset_document(session, name)
    if dataset is None:
        raise ObjectUnknown(f"nothing is known of Dataset/{name}")
    if args.output != "table":
        emit(session.terminal, dataset, args.output)
        return 0
    session.terminal.line(session.terminal.style(f"Dataset/{name}", "bold"))
    for line in dataset_lines(dataset, session.terminal):
        session.terminal.line(line)
    return 0


def declared(session: Session, name: str) -> tuple[str | None, list[str]]:
    """`file:line` of the spec at HEAD and what it refers to; nothing where specs cannot be read from here."""
    if session.url is not None and session.repo is None:
        return None, []
    from reconciler.lakectl.specs_here import read_specs

    try:
        desired = read_specs(session.here()).desired(name)
    except LakehouseError:
        return None, []
    if desired is None:
        return None, []
    if desired.resource is None:
        first = desired.errors[0]
        return f"{first.path}:{first.line}", []
    return str(desired.resource.origin), [str(key) for key in desired.resource.references]


def page(
    shown: Observation,
    source: str | None,
    references: list[str],
    events: tuple[Event, ...],
    session: Session,
    dataset: Mapping[str, Any] | None,
) -> Iterator[str]:
    """The lines of the page. dataset: what it says about itself, of a Dataset that holds anything."""
    terminal, now, status = session.terminal, session.clock(), shown.statuses[0]
    if shown.gone is not None:
        yield from banner(shown, terminal, now)
    state = standing(status)
    yield f"{sign(terminal, state)}  {terminal.style(status.object, 'bold')}"
    yield ""
    words = state_words(status) if shown.gone is None else f"{state_words(status)} (when it was seen last)"
    yield from _field(terminal, "state", words, LOOKS[state].color)
    yield from _field(terminal, "message", status.message)
    yield from _field(terminal, "spec", source or "-")
    yield from _field(terminal, "refers to", ", ".join(references))
    yield from _field(terminal, "commit", f"{short(status.revision)}, applied {short(status.applied_revision)}")
    yield from _field(terminal, "digest", status.digest or "-")
    yield from _field(terminal, "seen", f"{age(now, status.observed_at)} ago" if status.observed_at else "never")
    yield from _conditions(status, terminal, now)
    yield from _details(status.detail, terminal)
    if dataset is not None:
        yield from dataset_lines(dataset, terminal)
    if events:
        yield ""
        yield terminal.style("events", "bold")
        for event in events:
            yield from event_lines(event, terminal, indent=2, with_object=False)


def _field(terminal: Terminal, name: str, text: str, *styles: str) -> Iterator[str]:
    if not text:
        return
    first, *rest = (terminal.style(line, *styles) for line in terminal.wrap(text, _FIELD))
    # the indent is inside of what is styled, where it does not show
    yield f"{name:<{_FIELD}}{first.replace(' ' * _FIELD, '', 1)}"
    yield from rest


def _conditions(status: Status, terminal: Terminal, now: datetime) -> Iterator[str]:
    if not status.conditions:
        return
    yield ""
    width = max(13, *(len(condition.type) + 2 for condition in status.conditions))
    yield terminal.style(f"{'conditions':<{width + 2}}STATUS   SINCE  REASON", "bold")
    for condition in status.conditions:
        since = age(now, condition.last_transition)
        yield f"  {condition.type:<{width}}{condition.status:<9}{since:>5}  {reason_words(condition.reason)}"
        if condition.message and condition.message != status.message:
            yield from terminal.wrap(condition.message, 4)


def _details(detail: Mapping[str, Any], terminal: Terminal) -> Iterator[str]:
    if not detail:
        return
    yield ""
    yield terminal.style("detail", "bold")
    for line in render(dict(detail), "yaml").splitlines():
        yield f"  {line}"
