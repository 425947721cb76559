"""Results of queries and searches as tables that fit the terminal."""

import json
from collections.abc import Mapping
from typing import Any

from reconciler.lakectl.terminal import Terminal
from reconciler.lakectl.words import number

_NUMBERS = ("int", "uint", "float", "decimal")


def result_table(answer: Mapping[str, Any], terminal: Terminal) -> None:
    """The rows of a query's document, numbers to the right, and what answered."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns = answer["columns"]
    table = Table(box=box.SIMPLE_HEAD if terminal.unicode else box.ASCII, show_edge=False, pad_edge=False, header_style="bold")
    for column in columns:
        right = str(column["type"]).startswith(_NUMBERS)
        table.add_column(Text(column["name"]), justify="right" if right else "left", overflow="ellipsis", no_wrap=len(columns) > 1)
    for row in answer["rows"]:
        table.add_row(*[_cell(row[column["name"]]) for column in columns])
    console = Console(file=terminal.out, width=terminal.width, no_color=not terminal.color, highlight=False, force_terminal=terminal.color)
    if columns:
        console.print(table)
    terminal.line(terminal.style(_caption(answer), "dim"))


def hits_table(answer: Mapping[str, Any], terminal: Terminal) -> None:
    """The hits of a search: score and row, the text below."""
    for hit in answer["hits"]:
        score = terminal.style(f"{hit['score']:.3f}", "cyan")
        chunk = f", chunk {hit['chunk']}" if hit["chunk"] else ""
        terminal.line(f"{score}  {terminal.style(terminal.cut(str(hit['key']), terminal.width - 20), 'bold')}{chunk}")
        for line in terminal.wrap(hit["text"], 7, 3):
            terminal.line(line)
    versions = ", ".join(f"{name} version {version}" for name, version in answer["versions"].items())
    by = f" by {answer['generation']}" if answer["generation"] else ""
    terminal.line(terminal.style(f"{number(len(answer['hits']), 'hit')} of {answer['index']}{by}; {versions}", "dim"))


def _cell(value: Any) -> Any:
    from rich.text import Text

    match value:
        case None:
            return Text("null", style="dim")
        case str():
            return Text(value)
        case bool():
            return Text("true" if value else "false")
        case dict() | list():
            return Text(json.dumps(value, ensure_ascii=False))
        case _:
            return Text(str(value))


def _caption(answer: Mapping[str, Any]) -> str:
    rows = number(len(answer["rows"]), "row")
    more = ", and more that were cut off" if answer["truncated"] else ""
    versions = ", ".join(f"{name} version {version}" for name, version in answer["versions"].items())
    return f"{rows}{more}" + (f"; {versions}" if versions else "")
