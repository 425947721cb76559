"""`lakectl daemon`: follows the watched ref until it is told to stop. Its log, which begins with its address, goes to standard error."""

import argparse
import asyncio
import errno
import logging
import socket

from reconciler.daemon import daemon_settings, run_daemon
from reconciler.errors import DaemonRefused
from reconciler.lakectl import logs
from reconciler.lakectl.here import Here, read_address
from reconciler.lakectl.options import Parser, one_of
from reconciler.lakectl.session import Session
from reconciler.lakectl.specs_here import place_of
from reconciler.place import Place
from reconciler.settings import Settings, whole_address
from specs.errors import LakehouseError

USAGE = "[--listen HOST:PORT] [--ref REF] [--data-root PATH]"
DESCRIPTION = """
Follow the repository: read each commit of the watched ref, make the lakehouse match it, and
answer queries, searches and questions of status over HTTP. Runs in the foreground until
SIGTERM or Ctrl-C, and ends in good order. One daemon a state: a second one is refused.
"""
EXAMPLES = """
lakectl daemon
lakectl daemon --listen 127.0.0.1:0
lakectl --repo /srv/lake.git daemon --ref main --data-root /srv/lake
lakectl daemon --log-format json 2>> daemon.log &
"""
_log = logging.getLogger("lakectl.daemon")


def options(parser: Parser) -> None:
    """Where to listen, and what to follow."""
    parser.add_argument("--listen", metavar="HOST:PORT", type=_address, help="address of the HTTP API; port 0 takes a free one")
    parser.add_argument("--ref", metavar="REF", default="HEAD", help="the ref to follow (default: HEAD)")
    parser.add_argument("--log-format", metavar="FORMAT", type=one_of(*logs.FORMATS), default="text", help="text or json (default: text)")
    parser.add_argument(
        "--log-level", metavar="LEVEL", type=one_of("debug", "info", "warning"), default="info", help="debug, info, warning (default: info)"
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """0 after an orderly end. Raises LeaseHeld, LeaseLost, DaemonRefused, SettingsInvalid, SourceUnavailable, …"""
    logs.start_log(args.log_format, args.log_level, session.terminal.beside)
    here = session.here()
    place = place_of(here, args.ref)
    settings = daemon_settings(place, args.listen)
    lost = _run(here, place, settings)
    if lost is not None:
        raise lost
    _log.info("stopped in good order")
    return 0


def _run(here: Here, place: Place, settings: Settings) -> LakehouseError | None:
    """The error of ours that ended it from within, if one did: tasks raise theirs in groups."""
    ours: list[LakehouseError] = []

    def up(url: str) -> None:
        _log.info("lakehouse %s answers at %s", place.data_root, url)

    try:
        asyncio.run(run_daemon(place, settings, up))
    except* LakehouseError as group:
        ours += _leaves(group)
    except* OSError as group:
        error = _first(group)
        if not isinstance(error, socket.gaierror) and error.errno not in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL):
            raise
        ours.append(_cannot_listen(here, settings.listen, error))
    return ours[0] if ours else None


def _leaves(group: BaseExceptionGroup[LakehouseError]) -> list[LakehouseError]:
    found: list[LakehouseError] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def _first(group: BaseExceptionGroup[OSError]) -> OSError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _cannot_listen(here: Here, listen: str, error: OSError) -> DaemonRefused:
    running = read_address(here)
    if error.errno == errno.EADDRINUSE and running is not None:
        remedy = f"Use that one, or stop it: kill {running.pid}."
        return DaemonRefused(f"the daemon of this repository, process {running.pid}, answers at {running.url} already.", remedy=remedy)
    if error.errno == errno.EADDRINUSE:
        remedy = "Another program listens there: choose another port with --listen, or `--listen 127.0.0.1:0` for a free one."
        return DaemonRefused(f"the address {listen} is in use.", remedy=remedy)
    return DaemonRefused(f"cannot listen on {listen}: {error.strerror}.", remedy="Choose another address with --listen.")


def _address(text: str) -> str:
    try:
        return whole_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
