"""`lakectl get`: the objects of a kind, with the figures that matter for it."""

import argparse
from collections.abc import Mapping
from typing import Any

from reconciler.lakectl.names import PLURALS, find_kind, unknown_object
from reconciler.lakectl.observation import Gone, Observation, observer
from reconciler.lakectl.options import Parser, add_output
from reconciler.lakectl.output import emit
from reconciler.lakectl.session import Session
from reconciler.lakectl.status_table import banner
from reconciler.lakectl.terminal import Terminal, columns, fit, one_line, text_width
from reconciler.lakectl.words import LOOKS, age, sign, standing, state_words
from state.status import Status

USAGE = "KIND | KIND/NAME [-o FORMAT]"
DESCRIPTION = """
The objects of a kind with what counts for it: rows, files and version of a Dataset, chunks and
the generation that serves an Index. KIND may be written as in `Dataset`, `dataset`, `datasets`.
"""
EXAMPLES = """
lakectl get datasets
lakectl get index/resumes -o yaml
"""

_DETAILS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "Dataset": (("ROWS", "rows"), ("FILES", "files"), ("VERSION", "version")),
    "Index": (("CHUNKS", "chunks"), ("ROWS", "rows"), ("ENGINE", "engine"), ("GENERATION", "generation")),
    "EvalSet": (("QUERIES", "queries"), ("MEASURED", "measured")),
    "TrialBudget": (("TRIALS", "trials"), ("BEST", "bestRecipe"), ("RECALL", "recallLow")),
    "Profile": (("TABLES", "tables"), ("INDEXES", "indexes"), ("OWN", "own"), ("AT", "at"), ("ACTIVE", "active")),
    "Policy": (("DATASET", "dataset"), ("ROLES", "roles")),
    "IndexGeneration": (("ENGINE", "engine"), ("SECONDS", "seconds"), ("SERVING", "serving")),
}
"""Heads and the names of details that stand below them."""
_SHARES = frozenset({"recallLow"})
"""Details of which the third decimal counts."""
_LONGEST_NAME, _SHORTEST_NAME = 30, 8
_SHORTEST_WORDS = 6
_STATE_WIDTH = 16
_AROUND = 5
"""Of what is before a name and behind it."""


def options(parser: Parser) -> None:
    """What to list."""
    parser.add_argument("what", metavar="KIND|KIND/NAME", help="a kind, its plural, or one object")
    add_output(parser, "wide")


def run(args: argparse.Namespace, session: Session) -> int:
    """Raises UsageInvalid, ObjectUnknown."""
    word, _, name = args.what.partition("/")
    kind = find_kind(word)
    knows = observer(session)
    statuses = knows.described(kind, name or None)
    if name and not statuses:
        raise unknown_object(f"{kind}/{name}", [status.object for status in knows.described(kind)])
    seen = knows.look("-")
    shown = Observation(seen.revision, statuses, seen.writer, seen.gone, seen.note)
    if args.output in ("json", "yaml"):
        documents = [status.describe() for status in shown.current()]
        emit(session.terminal, documents[0] if name else {"revision": seen.revision, "objects": documents}, args.output)
        return 0
    if seen.gone is not None:
        for line in banner(shown, session.terminal, session.clock()):
            session.terminal.line(line)
    if not statuses:
        session.terminal.line(f"There are no {PLURALS.get(kind, kind)}.")
        return 0
    _table(kind, shown, session, wide=args.output == "wide")
    return 0


def _table(kind: str, shown: Observation, session: Session, *, wide: bool) -> None:
    terminal = session.terminal
    details = _DETAILS.get(kind, ())
    heads = ("NAME", *[head for head, _ in details], "SEEN")
    figures = [(*[_detail(s, name, terminal) for _, name in details], age(session.clock(), s.observed_at)) for s in shown.statuses]
    widest = max((text_width(status.name) for status in shown.statuses), default=0)
    said = [text_width(state_words(status)) for status in shown.statuses if status.ready == "True"]
    state = max([_STATE_WIDTH, *(width + _AROUND for width in said)])
    spare = terminal.width - state - min(widest, _LONGEST_NAME)
    figures = figures if wide else _cut(figures, heads[1:], spare, terminal)
    beside = sum(width + 2 for width in columns([heads[1:], *figures])) + state
    longest = max(min(_LONGEST_NAME, terminal.width - beside), _SHORTEST_NAME)
    rows = [(s.name if wide else terminal.cut(s.name, longest), *cells) for s, cells in zip(shown.statuses, figures, strict=True)]
    widths = columns([heads, *rows])
    right = {at for at in range(1, len(heads)) if at == len(heads) - 1 or all(_counts(row[at]) for row in rows)}
    left = 3 + sum(widths) + 2 * len(widths)
    terminal.line(terminal.style("   " + _joined(heads, widths, right) + "  STATE", "bold"))
    for status, row in zip(shown.statuses, rows, strict=True):
        terminal.line(_line(status, _joined(row, widths, right), left, shown.gone, terminal, wide=wide))
    if any(_unmerged(status) for status in shown.statuses):
        sign = terminal.mark("≤", "<=")
        terminal.line(terminal.style(f"   {sign}: before merging by key: a query may count less", "dim"))


def _cut(rows: list[tuple[str, ...]], heads: tuple[str, ...], width: int, terminal: Terminal) -> list[tuple[str, ...]]:
    """Columns of words give way, the longest first, so that names are whole: what they say stands in `-o wide` as well."""
    widths = columns([heads, *rows])
    words = [at for at in range(len(heads)) if not all(_counts(row[at]) for row in rows)]
    for at in sorted(words, key=lambda column: -widths[column]):
        over = max(0, sum(widths) + 2 * len(widths) - width)
        widths[at] = max(widths[at] - over, min(widths[at], _SHORTEST_WORDS), text_width(heads[at]))
    return [tuple([terminal.cut(cell, most) for cell, most in zip(row, widths, strict=True)]) for row in rows]


def _counts(cell: str) -> bool:
    return cell == "-" or cell.lstrip("≤<=")[:1].isdigit()


def _unmerged(status: Status) -> bool:
    return status.detail.get("merged") is False


def _detail(status: Status, name: str, terminal: Terminal) -> str:
    most = terminal.mark("≤", "<=") if name == "rows" and _unmerged(status) else ""
    value = status.detail.get(name)
    return f"{value:.3f}" if name in _SHARES and isinstance(value, float) else most + figure(value)


def _line(status: Status, cells: str, left: int, gone: Gone | None, terminal: Terminal, *, wide: bool) -> str:
    state = standing(status)
    words = state_words(status)
    if state != "ready" and status.message:
        words = f"{words}: {status.message}" if ":" not in words else f"{words}; {status.message}"
    if gone is not None and state != "unknown":
        words = f"was {words[:1].lower()}{words[1:]}"
    words = one_line(words) if wide else terminal.cut(words, terminal.width - left)
    if gone is not None:
        return terminal.style(f"?  {cells}  {words}", "dim")
    return f"{sign(terminal, state)}  {cells}  {terminal.style(words, LOOKS[state].color) if state != 'ready' else words}"


def _joined(cells: tuple[str, ...], widths: list[int], right: set[int]) -> str:
    padded = [
        " " * (width - text_width(cell)) + cell if at in right else fit(cell, width)
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded)


def figure(value: Any) -> str:
    """A detail as a cell."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.1f}"
        case list():
            return ", ".join(map(str, value)) or "-"
        case _:
            return str(value)
