"""`lakectl why`: from an object that is not ready down to the one thing that holds it up, and what to do about it."""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from reconciler.lakectl.names import find_object, unknown_object
from reconciler.lakectl.observation import Observation, Observer, observer
from reconciler.lakectl.options import Parser, add_output
from reconciler.lakectl.output import emit
from reconciler.lakectl.session import Session
from reconciler.lakectl.status_table import banner
from reconciler.lakectl.terminal import Terminal, one_line
from reconciler.lakectl.words import LOOKS, sign, standing, state_words
from specs.errors import LakehouseError
from state import reasons
from state.status import Status

USAGE = "KIND/NAME [-o FORMAT]"
DESCRIPTION = """
The chain of causes behind an object's state: what it waits for, what that waits for, down to
the one blocker, with the next step.
"""
EXAMPLES = """
lakectl why Index/resumes
lakectl why dataset/candidates -o json
"""
_DEEPEST = 32

NEXT = {
    reasons.SOURCE_EMPTY: "Put a file or an object where the source looks, or correct `source` and commit.",
    reasons.REFERENCE_MISSING: "Declare it and commit, or refer to another object.",
    reasons.DEPENDENCY_CYCLE: "Remove one reference of the circle and commit.",
    reasons.INVALID_SPEC: "Correct the document and commit; `lakectl plan` checks it before.",
    reasons.DUPLICATE_SPEC: "Remove or rename one of the two documents and commit.",
    reasons.NO_CONTROLLER: "Nothing to do in this version; remove the document if it disturbs.",
    reasons.NOT_SUPPORTED: "Remove what is not built from the spec and commit.",
    reasons.FILE_REFUSED: "Correct or remove the file; it is read again by itself.",
    reasons.SOURCE_REFUSED: "Correct the source or the spec; `lakectl reconcile` asks again at once.",
    reasons.SOURCE_UNAVAILABLE: "Make the database reachable; it is tried again by itself.",
    reasons.SECRET_MISSING: "Put the secret where the message says. The file is read again by itself; variables need a new daemon.",
    reasons.SOURCE_GONE: "Put the files back, or undo the change of the spec: `lakectl undo`.",
    reasons.BUCKET_UNAVAILABLE: "Make the bucket reachable; it is tried again by itself.",
    reasons.CATALOG_LOST: "Stop the daemon; restore the state bucket, or run `lakectl rebuild`; then start it again.",
    reasons.DISK_FULL: "Free some space; it is tried again by itself.",
    reasons.NOT_OBSERVED: "Start `lakectl daemon`, or run `lakectl apply`.",
    reasons.STATE_IMMUTABLE: "Undo the change, `lakectl undo`, or declare an object of another name.",
}
"""What a person does about a reason; for what goes on by itself, nothing."""
_BY_ITSELF = "It goes on by itself; `lakectl wait --for ready {object}` waits for it."


@dataclass(frozen=True, slots=True)
class Link:
    """One object of the chain and where it is declared ("" if nowhere)."""

    status: Status
    source: str


def options(parser: Parser) -> None:
    """Which object."""
    parser.add_argument("object", metavar="KIND/NAME", help="the object")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0 if the object is ready, 1 if something holds it up. Raises ObjectUnknown."""
    name = find_object(args.object, session)
    knows = observer(session)
    references, source = _specs(session)
    chain = tuple(causes(name, knows, references, source))
    if not chain:
        raise unknown_object(name, [status.object for status in knows.look().statuses])
    seen = knows.look("-")
    shown = Observation(seen.revision, tuple(link.status for link in chain), seen.writer, seen.gone, seen.note)
    blocker = chain[-1].status
    ready = chain[0].status.ready == "True" and seen.gone is None
    if args.output != "table":
        links = [status.to_document() | {"source": link.source or None} for link, status in zip(chain, shown.current(), strict=True)]
        document = {
            "object": name,
            "ready": ready,
            "chain": links,
            "blocker": None if ready else blocker.object,
            "next": next_step(blocker),
        }
        emit(session.terminal, document, args.output)
    else:
        for line in page(chain, shown, session):
            session.terminal.line(line)
    return 0 if ready else 1


def causes(name: str, knows: Observer, references: Callable[[str], tuple[str, ...]], source: Callable[[str], str]) -> Iterator[Link]:
    """The object, what blocks it, what blocks that; the last one is blocked by nothing else. Empty if nobody knows the object."""
    passed: set[str] = set()
    while name not in passed and len(passed) < _DEEPEST:
        passed.add(name)
        status = _status(name, knows)
        where = source(name)
        if status is None:
            if len(passed) == 1 and not where:
                return
            missing = reasons.NOT_OBSERVED if where else reasons.REFERENCE_MISSING
            said = "nobody has looked at it yet" if where else "no spec declares it"
            yield Link(Status(name, "Unknown", missing, said), where)
            return
        yield Link(status, where)
        following = _blocker(status, knows, references)
        if following is None:
            return
        name = following


def _status(name: str, knows: Observer) -> Status | None:
    kind, _, rest = name.partition("/")
    found = knows.described(kind, rest)
    return found[0] if found else None


def _blocker(status: Status, knows: Observer, references: Callable[[str], tuple[str, ...]]) -> str | None:
    """What the loop said that it waits for; else the first reference that is not ready, where it waits for one at all."""
    if status.ready == "True":
        return None
    said = status.detail.get("blockedBy")
    if isinstance(said, str) and said:
        return said
    if status.reason not in (reasons.DEPENDENCY_NOT_READY, reasons.REFERENCE_MISSING):
        return None
    for name in references(status.object):
        found = _status(name, knows)
        if found is None or found.ready != "True":
            return name
    return None


def _specs(session: Session) -> tuple[Callable[[str], tuple[str, ...]], Callable[[str], str]]:
    """References and places by object, from the specs at HEAD; none where they cannot be read from here."""
    from reconciler.lakectl.specs_here import SpecsHere, read_specs

    specs: SpecsHere | None = None
    if session.url is None or session.repo is not None:
        try:
            specs = read_specs(session.here())
        except LakehouseError:
            specs = None

    def references(name: str) -> tuple[str, ...]:
        desired = specs.desired(name) if specs is not None else None
        return tuple(str(key) for key in desired.resource.references) if desired is not None and desired.resource is not None else ()

    def source(name: str) -> str:
        desired = specs.desired(name) if specs is not None else None
        if desired is None:
            return ""
        return str(desired.resource.origin) if desired.resource is not None else f"{desired.errors[0].path}:{desired.errors[0].line}"

    return references, source


def next_step(blocker: Status) -> str:
    """What to do, in one sentence; "" where there is nothing."""
    if blocker.ready == "True":
        return ""
    if blocker.reason in NEXT:
        return NEXT[blocker.reason]
    state = standing(blocker)
    if state == "held":
        return f"`lakectl resume {blocker.object}` lets it go on." if blocker.reason == reasons.SUSPENDED else ""
    return _BY_ITSELF.format(object=blocker.object) if state in ("waiting", "failed") else ""


def page(chain: tuple[Link, ...], shown: Observation, session: Session) -> Iterator[str]:
    """The chain as a staircase, and the next step."""
    terminal = session.terminal
    if shown.gone is not None:
        yield from banner(shown, terminal, session.clock())
    first = chain[0].status
    if first.ready == "True":
        said = "was ready when it was seen last" if shown.gone is not None else "is ready"
        yield f"{sign(terminal, 'ready')}  {terminal.style(first.object, 'bold')} {said}: {one_line(first.message)}"
        return
    for depth, link in enumerate(chain):
        yield from _stair(link, depth, terminal)
    step = next_step(chain[-1].status)
    if step:
        yield ""
        first_line, *rest = terminal.wrap(step, 6)
        yield f"{terminal.style('next', 'bold')}  {first_line[6:]}"
        yield from rest


def _stair(link: Link, depth: int, terminal: Terminal) -> Iterator[str]:
    status = link.status
    state = standing(status)
    lead = "" if depth == 0 else "   " * (depth - 1) + terminal.mark("└─ ", "`- ")
    words = state_words(status)
    head = f"{lead}{sign(terminal, state)}  {terminal.style(status.object, 'bold')}  {terminal.style(words, LOOKS[state].color)}"
    used = len(lead) + len(status.object) + len(words) + 5
    beside = bool(link.source) and used + 2 + len(link.source) <= terminal.width
    yield f"{head}  {terminal.style(link.source, 'dim')}" if beside else head
    if link.source and not beside:
        yield " " * (3 * depth + 3) + terminal.style(link.source, "dim")
    yield from terminal.wrap(status.message, 3 * depth + 3) if status.message else ()
