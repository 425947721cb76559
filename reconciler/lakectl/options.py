"""Parsing of the command line on top of argparse: quick to start, with errors that name what was probably meant.

Global options stand before the command or after it. Everything that is wrong is raised as UsageInvalid, never printed here.
"""

import argparse
import textwrap
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.output import FORMATS
from reconciler.lakectl.table import COMMANDS, NEEDS, Command
from specs.durations import parse_duration
from specs.errors import SpecInvalid
from specs.sizes import parse_size

_WIDTH = 80
_WITH_VALUE = frozenset({"--repo", "--url", "--data-root", "--token-file", "--as"})


class HelpFormat(argparse.RawDescriptionHelpFormatter):
    """80 columns, and options written once: `-o, --output FORMAT`, whatever the version of Python."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=_WIDTH)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return str(action.metavar or action.dest)
        names = action.metavar or action.dest.upper()
        value = "" if action.nargs == 0 else f" {names if isinstance(names, str) else ' '.join(names)}"
        return ", ".join(action.option_strings) + value


class Parser(argparse.ArgumentParser):
    """A parser that raises, and that suggests."""

    def __init__(self, prog: str, *, usage: str | None = None, description: str | None = None, epilog: str | None = None) -> None:
        super().__init__(
            prog=prog,
            usage=usage,
            description=description,
            epilog=epilog,
            formatter_class=HelpFormat,
            allow_abbrev=False,
            add_help=False,
        )
        self.color = False  # Python 3.14 would colour the help by itself
        self.add_argument("-h", "--help", action="store_true", help="show this help")

    def error(self, message: str) -> NoReturn:
        """Raises UsageInvalid."""
        raise UsageInvalid(f"{self.prog}: {message}", remedy=f"See `{self.prog} --help`.")

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """The arguments. `--help` wins over everything that is missing."""
        if _asks_for_help(words):
            return argparse.Namespace(help=True)
        found, extra = self.parse_known_args(list(words))
        if extra:
            self.error(self._unknown(extra[0]))
        return found

    def _unknown(self, word: str) -> str:
        if not word.startswith("-"):
            return f"`{word}` is one argument too many"
        return f"there is no option `{word.partition('=')[0]}`{_hint(word.partition('=')[0], self._option_string_actions)}"


def one_of(*choices: str) -> Callable[[str], str]:
    """An argument's type: one of some words."""

    def check(text: str) -> str:
        if text in choices:
            return text
        raise argparse.ArgumentTypeError(f"`{text}` is none of {', '.join(choices)}{_hint(text, choices)}")

    return check


def duration(text: str) -> float:
    """An argument's type: `30s`, `10m`, or seconds as a plain number; gives seconds."""
    try:
        return float(text) if text.replace(".", "", 1).isdigit() else parse_duration(text).total_seconds()
    except SpecInvalid as error:
        raise argparse.ArgumentTypeError(error.explain()) from error


def count(text: str) -> int:
    """An argument's type: a whole number from 1 on."""
    if text.isdigit() and int(text) >= 1:
        return int(text)
    raise argparse.ArgumentTypeError(f"`{text}` is no whole number from 1 on")


def memory_size(text: str) -> int:
    """An argument's type: a size as in 4GiB; gives bytes."""
    try:
        return parse_size(text)
    except SpecInvalid as error:
        raise argparse.ArgumentTypeError(error.explain()) from error


def share(text: str) -> float:
    """An argument's type: a number above 0, and 1 at most."""
    with suppress(ValueError):
        if 0 < float(text) <= 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"`{text}` is no share: a number above 0 and up to 1, as in 0.9")


def add_output(parser: argparse.ArgumentParser, *more: str) -> None:
    """`-o`, which every command with an answer has."""
    choices = (*FORMATS, *more)
    parser.add_argument(
        "-o", "--output", metavar="FORMAT", type=one_of(*choices), default="table", help=f"{', '.join(choices)} (default: table)"
    )


def add_globals(parser: argparse.ArgumentParser, *, default: Any = None) -> None:
    """The options of every command."""
    group = parser.add_argument_group("options of every command")
    group.add_argument("--repo", metavar="PATH", type=Path, default=default, help="the repository (default: the one around here)")
    group.add_argument("--url", metavar="URL", default=default, help="a daemon's address (default: LAKEHOUSE_URL, or this repository's)")
    group.add_argument(
        "--data-root", metavar="PATH", type=Path, default=default, help="what relative paths of data count from (default: the repository)"
    )
    group.add_argument(
        "--token-file", metavar="PATH", type=Path, default=default, help="a file that holds a token (default: LAKEHOUSE_TOKEN)"
    )
    group.add_argument("--no-color", action="store_true", default=default or False, help="no colours (as does NO_COLOR)")


def add_profile(parser: argparse.ArgumentParser, *, default: Any = None) -> None:
    """`--as`, which every command has that reads for somebody. It is no option `--profile` of a command, which narrows what is shown."""
    parser.add_argument("--as", dest="as_profile", metavar="PROFILE", default=default, help="ask as this Profile, and see what it sees")


def command_parser(command: Command, usage: str, description: str, examples: str) -> Parser:
    """The parser of one command, with its help; its own options are for the caller to add."""
    text = "\n\n".join([*map(_filled, description.strip().split("\n\n")), NEEDS[command.needs]])
    epilog = "examples:\n" + "\n".join(f"  {line}" for line in examples.strip().splitlines())
    call = f"lakectl {command.name} {usage}".rstrip()
    # argparse writes "usage: " before it
    lines = textwrap.wrap(call, _WIDTH - 7, subsequent_indent=" " * (8 + len(f"lakectl {command.name}")), break_on_hyphens=False)
    parser = Parser(f"lakectl {command.name}", usage="\n".join(lines), description=text, epilog=epilog)
    parser._optionals.title = "options"
    return parser


def _filled(paragraph: str) -> str:
    """A paragraph as wide as the help; one whose lines are indented stays as it is."""
    if "\n    " in paragraph:
        return paragraph
    return textwrap.fill(" ".join(paragraph.split()), _WIDTH, break_on_hyphens=False)


def split(words: Sequence[str]) -> tuple[list[str], str | None, list[str]]:
    """The words before the command, the command, and those after it."""
    at = 0
    while at < len(words):
        word = words[at]
        if not word.startswith("-"):
            return list(words[:at]), word, list(words[at + 1 :])
        at += 2 if word in _WITH_VALUE else 1
    return list(words), None, []


def unknown_command(name: str) -> UsageInvalid:
    """The error for a command that is none."""
    hint = _hint(name, [command.name for command in COMMANDS])
    return UsageInvalid(f"lakectl: there is no command `{name}`{hint}", remedy="See `lakectl --help`.")


def _hint(word: str, valid: Iterable[str]) -> str:
    from specs.suggestions import did_you_mean  # here, since only mistakes need it

    near = did_you_mean(word, valid)
    return f"; {near}" if near else ""


def _asks_for_help(words: Sequence[str]) -> bool:
    before = words[: list(words).index("--")] if "--" in words else words
    return "-h" in before or "--help" in before
