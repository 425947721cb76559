"""`lakectl`: finds the command, imports its module, runs it, and turns every error of ours into one clear sentence.

Exit codes: 0 yes, 1 no (not converged, not ready, refused, changes found), 2 it could not be done, 130 interrupted.
"""

import sys
from collections.abc import Sequence
from typing import Any, Protocol, cast

from reconciler.lakectl.environment import Environment, read_environment
from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.options import Parser, add_globals, add_profile, command_parser, split, unknown_command
from reconciler.lakectl.table import COMMANDS, Command, find_command
from reconciler.lakectl.terminal import Terminal, one_line, open_terminal
from specs.errors import LakehouseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from reconciler.lakectl.session import Session

FAILED, INTERRUPTED = 2, 130
_ERROR = len("error: ")


class CommandModule(Protocol):
    """What a module in `commands/` has. USAGE: what follows the command's name; EXAMPLES: one call a line."""

    USAGE: str
    DESCRIPTION: str
    EXAMPLES: str

    def options(self, parser: Parser) -> None:
        """Adds the command's own options and arguments."""

    def run(self, args: Any, session: "Session") -> int:
        """Does it; returns the exit code. Raises LakehouseError."""


def main(words: Sequence[str] | None = None) -> int:
    """The entry point of the script."""
    environment = read_environment()
    given = list(sys.argv[1:] if words is None else words)
    terminal = open_terminal(environment, no_color="--no-color" in given)
    try:
        code = run(given, terminal, environment)
        terminal.out.flush()
    except KeyboardInterrupt:
        terminal.note("")
        return INTERRUPTED
    except BrokenPipeError:
        # whoever read us has enough; the interpreter must not fail on its last flush
        sys.stdout = None
        return 0
    return code


def run(words: Sequence[str], terminal: Terminal, environment: Environment, clock: "Callable[[], datetime] | None" = None) -> int:
    """One call of `lakectl`, on any terminal; clock: the present, the real one if None."""
    try:
        return _run(words, terminal, environment, clock)
    except LakehouseError as error:
        show_error(terminal, str(error), error.remedy)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        show_error(terminal, f"{where}{error.strerror or error}", None)
    return FAILED


def show_error(terminal: Terminal, message: str, remedy: str | None) -> None:
    """What is wrong, and on a line of its own what to do. Lines are broken for a person only: a log keeps them whole."""
    lines = [one_line(line) for text in (message, remedy or "") for line in text.splitlines()]
    if terminal.interactive_beside:
        lines = [part.strip() for line in lines for part in terminal.wrap(line, _ERROR)]
    first, *rest = lines or [""]
    terminal.note(f"{terminal.beside.style('error:', 'red', 'bold')} {first}")
    for line in rest:
        terminal.note(" " * _ERROR + line)


def load(command: Command) -> CommandModule:
    """Imports a command's module."""
    from importlib import import_module

    return cast(CommandModule, import_module(f"reconciler.lakectl.commands.{command.module}"))


def parser_of(command: Command, module: CommandModule) -> Parser:
    """The command's parser, complete."""
    import argparse

    parser = command_parser(command, module.USAGE, module.DESCRIPTION, module.EXAMPLES)
    module.options(parser)
    add_globals(parser, default=argparse.SUPPRESS)
    if command.reads:
        add_profile(parser, default=argparse.SUPPRESS)
    return parser


def top_parser() -> Parser:
    """What stands before the command."""
    parser = Parser("lakectl", usage="lakectl [--repo PATH] [--url URL] COMMAND …")
    add_globals(parser)
    add_profile(parser)
    parser.add_argument("--version", action="store_true", help="the version of this program")
    return parser


def overview(terminal: Terminal) -> str:
    """`lakectl --help`."""
    lines = ["A lakehouse that follows git: commit a spec, and the data follows.", ""]
    lines += ["usage: lakectl [--repo PATH] [--url URL] COMMAND …", ""]
    for group in dict.fromkeys(command.group for command in COMMANDS):
        lines.append(terminal.style(group, "bold"))
        lines += [f"  {command.name:<11} {command.summary}" for command in COMMANDS if command.group == group]
        lines.append("")
    lines += [
        "`lakectl COMMAND --help` says more, with examples. Every command takes",
        "--repo, --url, --data-root, --token-file and --no-color, and with few exceptions",
        "-o json|yaml. `lakectl --as PROFILE query …` asks as a profile.",
    ]
    return "\n".join(lines)


def _run(words: Sequence[str], terminal: Terminal, environment: Environment, clock: "Callable[[], datetime] | None") -> int:
    before, name, after = split(words)
    given = top_parser().read(before)
    if name is None:
        if getattr(given, "version", False):
            name = "version"
        else:
            terminal.line(overview(terminal))
            return 0 if given.help else FAILED
    command = find_command(name)
    if command is None:
        raise unknown_command(name)
    module = load(command)
    parser = parser_of(command, module)
    if given.help:
        after = ["--help"]
    args = parser.read(after)
    if args.help:
        terminal.line(parser.format_help().rstrip())
        return 0
    from reconciler.lakectl.session import Session, utc_now

    found = {**vars(given), **vars(args)}
    url = found["url"] or environment.url
    profile = found.get("as_profile")
    if profile is not None and not command.reads:
        others = ", ".join(each.name for each in COMMANDS if each.reads)
        raise UsageInvalid(f"lakectl {name}: --as PROFILE is for {others}.", remedy="Leave it out: everything else is the operator's.")
    session = Session(
        terminal, found["repo"], url, found["data_root"], environment.index, clock or utc_now,
        profile, found["token_file"], environment.token,
    )  # fmt: skip
    return module.run(args, session)
