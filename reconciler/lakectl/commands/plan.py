"""`lakectl plan`: the steps that the loop would take, without taking them; the pre-commit hook's check as well."""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from reconciler.lakectl.options import Parser, add_output
from reconciler.lakectl.output import emit
from reconciler.lakectl.session import Session
from reconciler.lakectl.specs_here import place_of, settings_of
from reconciler.lakectl.terminal import Terminal
from reconciler.lakectl.words import HELD, LOOKS, Standing, cost, number, short, sign
from reconciler.lakectl.work_tree import not_ignored, pattern
from reconciler.place import Place
from reconciler.plan import Plan, PlannedObject, PlannedPrune
from reconciler.settings import Settings
from reconciler.sources.directory import DirectorySource
from reconciler.sources.staged import StagedSource
from state import reasons

USAGE = "[PATH | REVISION | --staged] [--offline] [-o FORMAT]"
DESCRIPTION = """
What would change, why, and how long it takes as far as past jobs tell; by default for the specs
as they are in the working tree. It changes nothing, and a daemon may run beside it. With --offline
only the specs are looked at: whether they parse and their references resolve.

Exit code 0: nothing to do. 1: something would change. 2: errors.
"""
EXAMPLES = """
lakectl plan
lakectl plan --staged --offline
lakectl plan HEAD~1 -o json
"""
_STANDINGS: dict[str, Standing] = {"ready": "ready", "waiting": "waiting", "stalled": "stalled", "failed": "failed"}
NOTHING, CHANGES, ERRORS = 0, 1, 2


def options(parser: Parser) -> None:
    """What to plan."""
    parser.add_argument(
        "what", nargs="?", metavar="PATH|REVISION", help="a folder that holds specs/, or a commit (default: the working tree)"
    )
    parser.add_argument("--staged", action="store_true", help="what is staged for the next commit")
    parser.add_argument("--offline", action="store_true", help="look at the specs only, at no state")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0, 1 or 2. Raises SourceUnavailable, RevisionUnknown, SettingsInvalid, state errors: all of them end as 2."""
    place, of = _place(args, session)
    settings = settings_of(place)
    plan = _check(place) if args.offline else _plan(place, settings)
    plan = replace(plan, warnings=(*plan.warnings, *_in_git(plan, place)))
    if args.output != "table":
        emit(session.terminal, plan.to_document(), args.output)
    else:
        for line in page(plan, of, session.terminal, offline=args.offline):
            session.terminal.line(line)
    if plan.errors:
        return ERRORS
    return CHANGES if plan.changes else NOTHING


def _check(place: Place) -> Plan:
    from reconciler.checking import check_offline

    return check_offline(place)


def _plan(place: Place, settings: Settings) -> Plan:
    from reconciler.planning import make_plan  # every engine comes with it, which a hook should not wait for

    return make_plan(place, settings)


def _in_git(plan: Plan, place: Place) -> Iterator[str]:
    """What the daemon would write where git would add it."""
    if place.source.root is None:
        return
    root = place.source.root.resolve()
    for declared, folder in plan.folders.items():
        for bare in not_ignored(root, [folder]):
            yield f"{declared} lies in the work tree, and git does not ignore it: add {pattern(bare)} to .gitignore"
    for bare in not_ignored(root, [place.cache]):
        yield f"git does not ignore the daemon's cache: add {pattern(bare)} to .gitignore"


def _place(args: argparse.Namespace, session: Session) -> tuple[Place, str]:
    """What to plan, and what it is called."""
    if args.what is not None and Path(args.what).is_dir():
        root = Path(args.what).resolve()
        return Place(DirectorySource(root), (session.data_root or root).resolve()), f"the folder {args.what}"
    here = session.here()
    if args.staged:
        return Place(StagedSource(here.root, session.index), here.data_root), "what is staged"
    if args.what is not None:
        place = place_of(here, args.what)
        return place, f"commit {short(place.source.revision())}"
    if not (here.root / ".git").exists() and not (here.root / "specs").is_dir():
        return place_of(here), "HEAD"  # a bare repository has no working tree
    return Place(DirectorySource(here.root), here.data_root), "the working tree"


def page(plan: Plan, of: str, terminal: Terminal, *, offline: bool) -> Iterator[str]:
    """The plan for people: what changes first, then what cannot, then errors, then one line about it all."""
    changing = [planned for planned in plan.objects if planned.steps]
    # what does not parse is told among the errors, with every fault
    stuck = [p for p in plan.objects if not p.steps and p.state != "ready" and p.reason != reasons.INVALID_SPEC]
    for planned in changing:
        yield from _changing(planned, terminal)
    for item in plan.prune:
        yield from _prune(item, terminal)
    for planned in stuck:
        yield from _stuck(planned, terminal)
    if changing or plan.prune or stuck:
        yield ""
    yield from _listed("errors", plan.errors, "red", terminal)
    yield from _listed("warnings", plan.warnings, "yellow", terminal)
    yield _summary(plan, of, len(changing), len(stuck), terminal, offline=offline)


def _changing(planned: PlannedObject, terminal: Terminal) -> Iterator[str]:
    yield f"{terminal.style('~', 'cyan', 'bold')}  {terminal.style(planned.object, 'bold')}"
    for step in planned.steps:
        yield from terminal.wrap(step.summary, 5)
        takes = f"; takes {cost(step.seconds)}" if step.seconds is not None else ""
        yield from (terminal.style(line, "dim") for line in terminal.wrap(f"because {step.why}{takes}", 7))


def _prune(item: PlannedPrune, terminal: Terminal) -> Iterator[str]:
    mark = terminal.style(terminal.mark("‖", "="), "yellow") if item.held else terminal.style("-", "red", "bold")
    yield f"{mark}  {terminal.style(item.object, 'bold')}"
    yield from terminal.wrap(f"no spec asks for it: {item.words}", 5)
    if item.held:
        yield from (terminal.style(line, "dim") for line in terminal.wrap(f"because {item.held}", 7))


def _stuck(planned: PlannedObject, terminal: Terminal) -> Iterator[str]:
    state = "held" if planned.reason in HELD else _STANDINGS.get(planned.state, "unknown")
    look = LOOKS[state]
    yield f"{sign(terminal, state)}  {terminal.style(planned.object, 'bold')}  {terminal.style(look.word.lower(), look.color)}"
    yield from terminal.wrap(planned.message, 5)


def _listed(title: str, lines: tuple[str, ...], color: str, terminal: Terminal) -> Iterator[str]:
    if not lines:
        return
    yield terminal.style(title, color, "bold")
    for line in lines:
        first, *rest = terminal.wrap(line, 4)
        yield first[2:]
        yield from rest
    yield ""


def _summary(plan: Plan, of: str, changing: int, stuck: int, terminal: Terminal, *, offline: bool) -> str:
    if plan.errors:
        sign_, text = ("✘", "x", "red"), f"{number(len(plan.errors), 'error')} in {of}"
        return f"{terminal.style(terminal.mark(sign_[0], sign_[1]), sign_[2])}  {text}"
    if offline:
        return f"{terminal.style(terminal.mark('✔', '+'), 'green')}  The specs of {of} are valid."
    if not plan.changes:
        rest = f"; {number(stuck, 'object')} cannot be ready yet" if stuck else ""
        return f"{terminal.style(terminal.mark('✔', '+'), 'green')}  Nothing to do for {of}{rest}."
    parts = [f"{number(changing, 'object')} to change"] if changing else []
    held = sum(1 for item in plan.prune if item.held)
    parts += [f"{len(plan.prune) - held} to remove"] if len(plan.prune) > held else []
    parts += [f"{held} held back"] if held else []
    known = [step.seconds for planned in plan.objects for step in planned.steps if step.seconds is not None]
    takes = f" It takes {cost(sum(known))}, by past jobs." if known else ""
    return f"For {of}: {', '.join(parts)}.{takes}"
