"""Results of queries and searches as tables that fit the terminal."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.lakectl.terminal import Terminal, fit, one_line, text_width
from reconciler.lakectl.words import number

_NUMBERS = ("int", "uint", "float", "decimal")
_READABLE = 10
_GAP = 2
_NULL = "null"
_HIT_INDENT = len("0.000  ")


def result_table(answer: Mapping[str, Any], terminal: Terminal) -> None:
    """The rows of a query's document and what answered: a table, or one field a line where the columns are too many for one."""
    names = [one_line(column["name"]) for column in answer["columns"]]
    rows = [[_text(row[column["name"]]) for column in answer["columns"]] for row in answer["rows"]]
    if names and _too_wide(names, rows, terminal.width):
        _records(names, rows, terminal)
    elif names:
        _table(answer["columns"], rows, terminal)
    terminal.line(terminal.style(_caption(answer), "dim"))
    caveats(answer, terminal)


def caveats(answer: Mapping[str, Any], terminal: Terminal) -> None:
    """What is to be known of the answer of a query or search, beside it."""
    for name, lost in answer.get("lost", {}).items():
        terminal.note(
            f"note: the answer lacks {number(lost, 'row')} of {name} that no file has any more; see `lakectl why Dataset/{name}`."
        )
    for name in answer.get("rescues", []):
        terminal.note(f"note: rescue bucket {name} answered in another's place; see `lakectl errors`.")


def _too_wide(names: list[str], rows: list[list[str]], width: int) -> bool:
    """Whether some column would get less than a few characters."""
    needed = [min(max(map(text_width, cells)), _READABLE) for cells in zip(names, *rows, strict=True)]
    return sum(needed) + _GAP * (len(needed) - 1) > width


def _table(columns: Sequence[Mapping[str, str]], rows: list[list[str]], terminal: Terminal) -> None:
    names = [one_line(column["name"]) for column in columns]
    widths = _widths(names, rows, terminal.width)
    right = [column["type"].startswith(_NUMBERS) for column in columns]
    terminal.line(terminal.style(_line(names, widths, right, terminal).rstrip(), "bold"))
    terminal.line(terminal.style(terminal.mark("─", "-") * (sum(widths) + _GAP * (len(widths) - 1)), "dim"))
    for row in rows:
        terminal.line(_line(row, widths, right, terminal).rstrip())


def _widths(names: list[str], rows: list[list[str]], width: int) -> list[int]:
    """As wide as the contents; where that is too wide, the widest columns give way, evenly."""
    found = [min(max(map(text_width, cells)), width) for cells in zip(names, *rows, strict=True)]
    surplus = sum(found) + _GAP * (len(found) - 1) - width
    for _ in range(surplus):
        widest = max(range(len(found)), key=found.__getitem__)
        found[widest] -= 1
    return found


def _line(cells: list[str], widths: list[int], right: list[bool], terminal: Terminal) -> str:
    fitted = []
    for cell, width, to_right in zip(cells, widths, right, strict=True):
        text = terminal.cut(cell, width)
        padded = " " * (width - text_width(text)) + text if to_right else fit(text, width)
        fitted.append(terminal.style(padded, "dim") if cell == _NULL else padded)
    return (" " * _GAP).join(fitted)


def _records(names: list[str], rows: list[list[str]], terminal: Terminal) -> None:
    left = max(map(text_width, names)) + 2
    for number_, row in enumerate(rows, 1):
        terminal.line(terminal.style(f"row {number_}", "dim"))
        for name, cell in zip(names, row, strict=True):
            told = terminal.cut(cell, max(terminal.width - left, _READABLE))
            terminal.line(f"{terminal.style(fit(name, left), 'bold')}{terminal.style(told, 'dim') if cell == _NULL else told}")
        terminal.line()


def hits_table(answer: Mapping[str, Any], terminal: Terminal) -> None:
    """The hits of a search: score and row, the text below."""
    for hit in answer["hits"]:
        score = terminal.style(f"{hit['score']:.3f}", "cyan")
        chunk = f", chunk {hit['chunk']}" if hit["chunk"] else ""
        key = terminal.cut(str(hit["key"]), terminal.width - _HIT_INDENT - len(chunk))
        terminal.line(f"{score}  {terminal.style(key, 'bold')}{chunk}")
        for line in terminal.wrap(hit["text"], _HIT_INDENT, 3):
            terminal.line(line)
    versions = ", ".join(f"{name} version {version}" for name, version in answer["versions"].items())
    by = f" by {answer['generation']}" if answer["generation"] else ""
    terminal.line(terminal.style(f"{number(len(answer['hits']), 'hit')} of {answer['index']}{by}; {versions}", "dim"))
    caveats(answer, terminal)


def _text(value: Any) -> str:
    """A value on one line."""
    match value:
        case None:
            return _NULL
        case str():
            return one_line(value)
        case bool():
            return "true" if value else "false"
        case dict() | list():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)


def _caption(answer: Mapping[str, Any]) -> str:
    rows = number(len(answer["rows"]), "row")
    more = ", and more that were cut off" if answer["truncated"] else ""
    versions = ", ".join(f"{name} version {version}" for name, version in answer["versions"].items())
    return f"{rows}{more}" + (f"; {versions}" if versions else "")
