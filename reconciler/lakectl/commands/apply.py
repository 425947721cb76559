"""`lakectl apply`: the daemon's work in the foreground, until the world matches; beside a daemon, watching it do that."""

import argparse
import asyncio
import os
from pathlib import Path

from reconciler.foreground import Convergence, apply_here
from reconciler.lakectl import following
from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.here import Here
from reconciler.lakectl.observation import Observation, Writer
from reconciler.lakectl.options import Parser, add_output, duration
from reconciler.lakectl.output import emit
from reconciler.lakectl.progress import progress_shown
from reconciler.lakectl.session import Session
from reconciler.lakectl.specs_here import place_of, settings_of
from reconciler.lakectl.status_table import rows, summary
from reconciler.lakectl.words import number, short, took
from reconciler.lakectl.work_tree import uncommitted_specs
from reconciler.place import Place, locate
from reconciler.settings import armed_failpoints
from state.failpoints import arm

USAGE = "[PATH | REVISION] [--timeout DURATION] [-o FORMAT]"
DESCRIPTION = """
Reconcile a commit, or a folder of specs, until everything is ready, and show how far it is.
Ends with 0 if it converged, else with 1 and the reasons. It does not wait until a TrialBudget has
tried all it may: a daemon does that, and `lakectl wait TrialBudget/NAME` waits. Where a daemon looks after the same
state it is asked to do it, and only for the commit that it follows.
"""
EXAMPLES = """
lakectl apply
lakectl apply --timeout 1h
lakectl apply v1.4
lakectl apply ../other-lakehouse
"""
_TIMEOUT = 600.0


def options(parser: Parser) -> None:
    """What to apply, and how long to try."""
    parser.add_argument("what", nargs="?", metavar="PATH|REVISION", help="a folder, or a commit of this repository (default: HEAD)")
    parser.add_argument("--timeout", metavar="DURATION", type=duration, default=_TIMEOUT, help="give up after so long (default: 10m)")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0 if it converged, 1 if not."""
    here, place = target(args.what, session)
    if session.url is not None:
        raise UsageInvalid(
            "apply works on the state in the repository, not through --url or LAKEHOUSE_URL.", remedy="Leave the address out."
        )
    _tell_uncommitted(here, args.what, session)
    writer = following.running_daemon(here, session)
    if writer is not None:
        ended = following.follow(here, place, writer, args.timeout, session)
    else:
        ended = apply_alone(place, args.timeout, session)
    return show(ended, args.output, session, writer)


def target(what: str | None, session: Session) -> tuple[Here, Place]:
    """The lakehouse and what of it is to be applied. Raises NoLakehouse, RevisionUnknown, SourceUnavailable."""
    if what is not None and Path(what).is_dir():
        root = Path(what).resolve()
        data_root = (session.data_root or root).resolve()
        return Here(root, data_root), locate(root, data_root=data_root)
    here = session.here()
    return here, place_of(here, what or "HEAD")


def apply_alone(place: Place, timeout: float, session: Session) -> Convergence:
    """In this process. Raises LeaseHeld, and what opening the state raises."""
    arm(armed_failpoints())
    settings = settings_of(place)
    with progress_shown(session.terminal) as told:
        return asyncio.run(apply_here(place, settings, seconds=timeout, told=told))


def show(ended: Convergence, form: str, session: Session, writer: Writer | None) -> int:
    """The ending, for people or programs; returns the exit code."""
    terminal = session.terminal
    if form != "table":
        document = {
            "converged": ended.converged,
            "revision": ended.revision,
            "seconds": round(ended.seconds, 3),
            "objects": [status.to_document() for status in ended.objects],
            "searching": [status.object for status in ended.searching],
            "problems": [status.to_document() for status in ended.problems],
        }
        emit(terminal, document, form)
        return 0 if ended.converged else 1
    seen = Observation(ended.revision, ended.objects, writer=writer or Writer("", os.getpid()))
    if ended.converged:
        for line in rows(seen, terminal, session.clock(), wide=False):
            terminal.line(line)
        terminal.line()
        sign = terminal.style(terminal.mark("✔", "+"), "green", "bold")
        terminal.line(f"{sign}  {summary(seen, terminal)}; commit {short(ended.revision)} converged in {took(ended.seconds)}.")
        for status in ended.searching:
            goes_on = "tries recipes when a daemon runs: `lakectl daemon`" if writer is None else "goes on to try recipes"
            terminal.line(f"   {status.object} {goes_on}; `lakectl wait {status.object}` waits for the end.")
        return 0
    for line in rows(Observation(ended.revision, ended.problems, writer=seen.writer), terminal, session.clock(), wide=False):
        terminal.line(line)
    terminal.line()
    done = sum(1 for status in ended.objects if status.ready == "True")
    sign = terminal.style(terminal.mark("✘", "x"), "red", "bold")
    ready = f"{done} of {number(len(ended.objects), 'object')} ready after {took(ended.seconds)}"
    terminal.line(f"{sign}  Commit {short(ended.revision)} did not converge: {ready}.")
    terminal.line(f"   `lakectl why {ended.problems[0].object}` shows what the first one waits for." if ended.problems else "")
    return 1


def _tell_uncommitted(here: Here, what: str | None, session: Session) -> None:
    """Whoever edits a spec and forgets to commit should not wonder."""
    if what in (None, "HEAD", "."):
        changed = uncommitted_specs(here.root)
        if changed:
            session.terminal.note(f"note: {changed[0]} is not committed, so it is not applied as it stands; `git commit` it first.")
