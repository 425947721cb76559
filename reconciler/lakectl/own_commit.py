"""Commits that lakectl makes itself: what was committed is told, and whoever reconciles is waited for."""

import argparse
from collections.abc import Mapping
from typing import Any

from reconciler.foreground import Convergence
from reconciler.lakectl.here import Here
from reconciler.lakectl.observation import Observation
from reconciler.lakectl.output import emit
from reconciler.lakectl.session import Session
from reconciler.lakectl.status_table import rows
from reconciler.lakectl.words import short, took


def followed(here: Here, document: Mapping[str, Any], args: argparse.Namespace, session: Session) -> int:
    """Waits until what the commit at HEAD changed is followed, `args.timeout` seconds at most, if somebody follows. What of it is not ready
    is shown, but is no fault of this. document: what to emit where no table is asked for, `followed` aside."""
    from reconciler.lakectl import following
    from reconciler.lakectl.specs_here import place_of

    writer = following.running_daemon(here, session)
    if writer is None:
        if args.output != "table":
            emit(session.terminal, {**document, "followed": None}, args.output)
        else:
            session.terminal.line("Nobody is reconciling now: the next `lakectl daemon` or `lakectl apply` follows it.")
        return 0
    place = place_of(here)
    ended = following.follow(here, place, writer, args.timeout, session, following.changed(place, place_of(here, "HEAD^")))
    if args.output != "table":
        emit(session.terminal, {**document, "followed": ended.converged}, args.output)
        return 0
    _show(ended, session)
    return 0


def _show(ended: Convergence, session: Session) -> None:
    terminal = session.terminal
    for line in rows(Observation(ended.revision, ended.objects), terminal, session.clock(), wide=False):
        terminal.line(line)
    if ended.converged:
        sign, words = terminal.style(terminal.mark("✔", "+"), "green", "bold"), "is followed"
    else:
        sign, words = terminal.style(terminal.mark("✘", "x"), "red", "bold"), "is not followed by all that it changed"
    terminal.line(f"{sign}  Commit {short(ended.revision)} {words}, after {took(ended.seconds)}.")
    if ended.problems:
        terminal.line(f"   `lakectl why {ended.problems[0].object}` shows what the first one waits for.")
