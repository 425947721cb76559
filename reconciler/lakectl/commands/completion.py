"""`lakectl completion`: a script for the shell, made from the parsers themselves."""

import argparse

from reconciler.lakectl.main import load, parser_of, top_parser
from reconciler.lakectl.options import Parser, one_of
from reconciler.lakectl.session import Session
from reconciler.lakectl.table import COMMANDS

USAGE = "SHELL"
DESCRIPTION = "Print a script that completes commands and options in bash, zsh or tcsh."
EXAMPLES = """
lakectl completion bash > ~/.local/share/bash-completion/completions/lakectl
lakectl completion zsh > "${fpath[1]}/_lakectl"
"""
_SHELLS = ("bash", "zsh", "tcsh")


def options(parser: Parser) -> None:
    """For which shell."""
    parser.add_argument("shell", metavar="SHELL", type=one_of(*_SHELLS), help=f"one of {', '.join(_SHELLS)}")


def run(args: argparse.Namespace, session: Session) -> int:
    """Imports every command once."""
    import shtab

    top = top_parser()
    commands = top.add_subparsers(dest="command")
    for command in COMMANDS:
        own = parser_of(command, load(command))
        commands.choices[command.name] = own
        commands._choices_actions.append(commands._ChoicesPseudoAction(command.name, (), command.summary))
    session.terminal.line(shtab.complete(top, shell=args.shell))
    return 0
