"""Commits that lakectl makes itself: what was committed is told, and whoever reconciles is waited for."""

import argparse
from collections.abc import Mapping
from typing import Any

from reconciler.lakectl.here import Here
from reconciler.lakectl.output import emit
from reconciler.lakectl.session import Session


def followed(here: Here, document: Mapping[str, Any], args: argparse.Namespace, session: Session) -> int:
    """Waits until the commit at HEAD is followed, `args.timeout` seconds at most, if somebody follows: what is not ready for other reasons
    is shown, but is no fault of this. document: what to emit where no table is asked for, `followed` aside."""
    from reconciler.lakectl import following
    from reconciler.lakectl.commands.apply import show
    from reconciler.lakectl.specs_here import place_of

    writer = following.running_daemon(here, session)
    if writer is None:
        if args.output != "table":
            emit(session.terminal, {**document, "followed": None}, args.output)
        else:
            session.terminal.line("Nobody is reconciling now: the next `lakectl daemon` or `lakectl apply` follows it.")
        return 0
    ended = following.follow(here, place_of(here), writer, args.timeout, session)
    if args.output != "table":
        emit(session.terminal, {**document, "followed": ended.converged}, args.output)
        return 0
    show(ended, "table", session, writer)
    return 0
