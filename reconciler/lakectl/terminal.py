"""Where output goes: its width, whether it takes colours, and how text is fitted to it.

Styles are a few ANSI codes of our own: importing rich costs a fifth of what `lakectl status` may take in all. Tables of
data and live progress use rich, where it is needed.
"""

import shutil
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, replace
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from reconciler.lakectl.environment import Environment

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
_NARROWEST = 40
_DEFAULT_WIDTH = 80


@dataclass(frozen=True, slots=True)
class Terminal:
    """`interactive`: a person looks at `out` as it is written. `unicode`: `out` can show more than ASCII.

    `color_beside` and `interactive_beside` say the same of `err`, which may go elsewhere.
    """

    out: TextIO
    err: TextIO
    width: int = _DEFAULT_WIDTH
    color: bool = False
    interactive: bool = False
    unicode: bool = True
    color_beside: bool = False
    interactive_beside: bool = False

    @property
    def beside(self) -> "Terminal":
        """What `err` is, as a terminal of its own."""
        return replace(self, out=self.err, color=self.color_beside, interactive=self.interactive_beside)

    def line(self, text: str = "") -> None:
        """One line, or several, of the answer."""
        print(text, file=self.out)

    def copy(self, file: Path) -> None:
        """A file's bytes as the answer, and nothing around them."""
        self.out.flush()
        with file.open("rb") as bytes_:
            shutil.copyfileobj(bytes_, self.out.buffer)
        self.out.buffer.flush()

    def note(self, text: str) -> None:
        """Something beside the answer: it never mixes with what a program reads."""
        self.out.flush()
        print(text, file=self.err, flush=True)

    def style(self, text: str, *names: str) -> str:
        """The text in these styles, where there are colours."""
        if not self.color or not names or not text:
            return text
        return f"\x1b[{';'.join(_CODES[name] for name in names)}m{text}\x1b[0m"

    def mark(self, fancy: str, plain: str) -> str:
        """A sign, or its ASCII stand-in."""
        return fancy if self.unicode else plain

    def cut(self, text: str, width: int) -> str:
        """At most `width` columns on one line, with an ellipsis where something is left out."""
        flat = one_line(text)
        if text_width(flat) <= width:
            return flat
        return fit(flat, max(width - 1, 0)).rstrip() + self.mark("…", "~")

    def wrap(self, text: str, indent: int, most: int | None = None) -> list[str]:
        """Lines no wider than the terminal, indented; after `most` lines an ellipsis."""
        width = max(self.width - indent, _NARROWEST // 2)
        lines = [line.strip() for line in fold(" ".join(one_line(text).split()), width)]
        if most is not None and len(lines) > most:
            lines = [*lines[: most - 1], self.cut(f"{lines[most - 1]} {lines[most]}", width)]
        return [" " * indent + line for line in lines]


def one_line(text: str) -> str:
    """The text without line breaks, and without what would make a terminal do something: data is shown, never obeyed."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\ufffd" for character in " ".join(text.split()))


def text_width(text: str) -> int:
    """Columns that a text takes on a terminal."""
    if _narrow(text):
        return len(text)
    from rich.cells import cell_len  # here, since nearly all text does without

    return cell_len(text)


def fit(text: str, width: int) -> str:
    """The text cut or padded to exactly `width` columns."""
    if _narrow(text):
        return text[:width].ljust(width)
    from rich.cells import set_cell_size

    return set_cell_size(text, width)


def fold(text: str, width: int) -> list[str]:
    """The text on lines of at most `width` columns, broken between words where that is possible; nothing of it is left out."""
    if _narrow(text):
        return textwrap.wrap(text, width, break_on_hyphens=False, replace_whitespace=False) or [""]
    from rich.cells import chop_cells

    return chop_cells(text, width) or [text]


def _narrow(text: str) -> bool:
    """Whether each character surely takes one column: Latin letters, dashes, quotes, ellipses."""
    return text.isascii() or all(character < "\u0300" or "\u2010" <= character <= "\u2026" for character in text)


def columns(rows: Iterable[tuple[str, ...]]) -> list[int]:
    """The width of each column of rows of equal length."""
    return [max(map(text_width, cells)) for cells in zip(*rows, strict=True)]


def open_terminal(environment: Environment, *, no_color: bool) -> Terminal:
    """The process's own output. Colours only for a person, and only if nobody said no. What the encoding lacks is written as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    interactive, beside = sys.stdout.isatty(), sys.stderr.isatty()
    colors = not no_color and not environment.no_color
    width = environment.columns or (shutil.get_terminal_size().columns if interactive or beside else _DEFAULT_WIDTH)
    return Terminal(
        out=sys.stdout,
        err=sys.stderr,
        width=max(width, _NARROWEST),
        color=interactive and colors,
        interactive=interactive,
        unicode=(sys.stdout.encoding or "").lower().replace("-", "") in ("utf8", "utf8sig"),
        color_beside=beside and colors,
        interactive_beside=beside,
    )
