"""`lakectl help [COMMAND]`."""

import argparse

from reconciler.lakectl.main import load, overview, parser_of
from reconciler.lakectl.options import Parser, unknown_command
from reconciler.lakectl.session import Session
from reconciler.lakectl.table import find_command

USAGE = "[COMMAND]"
DESCRIPTION = "About lakectl, or about one command; the same as `lakectl COMMAND --help`."
EXAMPLES = "lakectl help\nlakectl help apply"


def options(parser: Parser) -> None:
    """The command to tell about."""
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="the command (default: all of them)")


def run(args: argparse.Namespace, session: Session) -> int:
    """Raises UsageInvalid for a command that is none."""
    if args.command is None:
        session.terminal.line(overview(session.terminal))
        return 0
    command = find_command(args.command)
    if command is None:
        raise unknown_command(args.command)
    session.terminal.line(parser_of(command, load(command)).format_help().rstrip())
    return 0
