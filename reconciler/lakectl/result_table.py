"""Results of queries and searches as tables that fit the terminal."""

import json
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from reconciler.lakectl.terminal import Terminal, fit, fold, one_line, text_width
from reconciler.lakectl.words import number

_NUMBERS = ("int", "uint", "float", "decimal")
_READABLE = 10
_MOST_LINES, _MOST_LINES_OF_A_RECORD = 4, 16
"""Of one value."""
_GAP = 2
_NULL = "null"
_STAGE_CANDIDATES = 10
_HIT_INDENT = len("0.000  ")


def result_table(answer: Mapping[str, Any], terminal: Terminal) -> None:
    """The rows of a query's document and what answered: a table, or one field a line where a table would be too wide or too tall."""
    whole = rows_table(answer, terminal)
    terminal.line(terminal.style(_caption(answer), "dim"))
    if not whole:
        terminal.note("note: long values are cut off; -o json shows them whole.")
    caveats(answer, terminal)


def rows_table(answer: Mapping[str, Any], terminal: Terminal) -> bool:
    """The rows alone; whether every value could be shown whole."""
    names = [one_line(column["name"]) for column in answer["columns"]]
    rows = [[_text(row[column["name"]]) for column in answer["columns"]] for row in answer["rows"]]
    right = [column["type"].startswith(_NUMBERS) for column in answer["columns"]]
    widths = _widths(names, rows, right, terminal.width)
    folded = [[_folded(cell, width) for cell, width in zip(row, widths, strict=True)] for row in rows] if widths is not None else []
    whole = True
    if widths is None or any(len(lines) > _MOST_LINES for row in folded for lines in row):
        whole = _records(names, rows, terminal)
    elif names:
        _table(names, folded, widths, right, terminal)
    return whole


def caveats(answer: Mapping[str, Any], terminal: Terminal) -> None:
    """What is to be known of the answer of a query or search, beside it."""
    for name, lost in answer.get("lost", {}).items():
        terminal.note(
            f"note: the answer lacks {number(lost, 'row')} of {name} that no file has any more; see `lakectl why Dataset/{name}`."
        )
    coverage = answer.get("coverage")
    if coverage is not None and coverage["missing"]:
        rows, built = number(coverage["missing"], "row"), coverage["version"]
        terminal.note(f"note: {rows} of that version cannot be found: the build that answered has the texts of version {built}.")
    for name in answer.get("rescues", []):
        terminal.note(f"note: rescue bucket {name} answered in another's place; see `lakectl errors`.")


def _widths(names: list[str], rows: list[list[str]], right: list[bool], width: int) -> list[int] | None:
    """As wide as the contents; where that is too wide, the widest columns give way, evenly, and numbers last.

    None where some column would get less than a few characters.
    """
    found = [min(max(map(text_width, cells)), width) for cells in zip(names, *rows, strict=True)]
    surplus = sum(found) + _GAP * (len(found) - 1) - width
    if surplus > sum(max(columns - _READABLE, 0) for columns in found):
        return None
    for _ in range(surplus):
        widest = max(range(len(found)), key=lambda at: (found[at] > _READABLE and not right[at], found[at]))
        found[widest] -= 1
    return found


def _folded(cell: str, width: int) -> list[str]:
    return [cell] if text_width(cell) <= width else fold(cell, width)


def _table(names: list[str], rows: list[list[list[str]]], widths: list[int], right: list[bool], terminal: Terminal) -> None:
    """rows: of each cell its lines."""
    header = [terminal.cut(name, width) for name, width in zip(names, widths, strict=True)]
    terminal.line(terminal.style(_line(header, widths, right, terminal), "bold"))
    terminal.line(terminal.style(terminal.mark("─", "-") * (sum(widths) + _GAP * (len(widths) - 1)), "dim"))
    for row in rows:
        for cells in zip_longest(*row, fillvalue=""):
            terminal.line(_line(cells, widths, right, terminal))


def _line(cells: Sequence[str], widths: list[int], right: list[bool], terminal: Terminal) -> str:
    fitted = []
    for cell, width, to_right in zip(cells, widths, right, strict=True):
        padded = " " * (width - text_width(cell)) + cell if to_right else fit(cell, width)
        fitted.append(terminal.style(padded, "dim") if cell == _NULL else padded)
    return (" " * _GAP).join(fitted).rstrip()


def _records(names: list[str], rows: list[list[str]], terminal: Terminal) -> bool:
    """Whether every value could be shown whole."""
    left = max(map(text_width, names)) + 2
    width = max(terminal.width - left, _READABLE)
    whole = True
    for number_, row in enumerate(rows, 1):
        terminal.line(terminal.style(f"row {number_}", "dim"))
        for name, cell in zip(names, row, strict=True):
            lines = _folded(cell, width)
            if len(lines) > _MOST_LINES_OF_A_RECORD:
                whole = False
                lines[_MOST_LINES_OF_A_RECORD - 1 :] = [terminal.cut(" ".join(lines[_MOST_LINES_OF_A_RECORD - 1 :]), width)]
            for line, label in zip_longest(lines, [name], fillvalue=""):
                told = terminal.style(line, "dim") if cell == _NULL else line
                terminal.line(f"{terminal.style(fit(label, left), 'bold')}{told}".rstrip())
        terminal.line()
    return whole


def hits_table(answer: Mapping[str, Any], terminal: Terminal) -> None:
    """The hits of a search: score and row, or where a document is opened, the text below."""
    for hit in answer["hits"]:
        score = terminal.style(f"{hit['score']:.3f}", "cyan")
        within = f", page {hit['page']}" if hit.get("page") else ""
        within += f", chunk {hit['chunk']}" if hit["chunk"] else ""
        name = terminal.cut(one_line(str(hit.get("path") or hit["key"])), terminal.width - _HIT_INDENT - len(within))
        terminal.line(f"{score}  {terminal.style(name, 'bold')}{within}")
        headings, text = hit.get("headings"), hit["text"]
        if headings:
            terminal.line(terminal.cut(" " * _HIT_INDENT + one_line(" > ".join(headings)), terminal.width))
            text = text.partition("\n\n")[2]
        for line in terminal.wrap(text, _HIT_INDENT, 3):
            terminal.line(line)
    versions = ", ".join(f"{name} version {version}" for name, version in answer["versions"].items())
    by = f" by {answer['generation']}" if answer["generation"] else ""
    terminal.line(terminal.style(f"{number(len(answer['hits']), 'hit')} of {answer['index']}{by}; {versions}", "dim"))
    caveats(answer, terminal)


def facets_table(answer: Mapping[str, Any], terminal: Terminal) -> None:
    """The values of each facet, with how many rows have them, and how many other values there are."""
    for column, facet in answer.get("facets", {}).items():
        name, counts = one_line(column), [one["count"] for one in facet["values"]]
        cells = [(_text(one["value"]), str(one["count"])) for one in facet["values"]]
        right = max(text_width(count) for _, count in [("", "rows"), *cells])
        left = min(max(text_width(value) for value, _ in [(name, ""), *cells]), terminal.width - right - _GAP)
        rows = [[[terminal.cut(value, left)], [count]] for value, count in cells]
        terminal.line()
        _table([name, "rows"], rows, [left, right], [False, True], terminal)
        others = facet["distinct"] - len(cells)
        rest = f"; {number(others, 'other value')} in {number(facet['rows'] - sum(counts), 'row')}" if others else ""
        terminal.line(terminal.style(f"{number(facet['rows'], 'row')}{rest}", "dim"))


def stages_table(answer: Mapping[str, Any], terminal: Terminal) -> None:
    """What each stage of a ranking did: its facts, and its best candidates."""
    for stage in answer.get("stages", ()):
        facts = [f"{name} {_text(value)}" for name, value in stage.items() if name not in ("stage", "candidates")]
        if stage["stage"] not in ("filter", "facets"):
            facts.append(number(len(stage["candidates"]), "candidate"))
        terminal.line()
        terminal.line(f"{terminal.style(stage['stage'], 'bold')}: {', '.join(facts)}")
        for candidate in stage["candidates"][:_STAGE_CANDIDATES]:
            chunk = f", chunk {candidate['chunk']}" if candidate["chunk"] else ""
            told = f"{candidate['rank']:>3}  {candidate['score']:.3f}  {one_line(candidate['key'])}{chunk}"
            terminal.line(terminal.cut(told, terminal.width))


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
