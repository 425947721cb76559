"""What a dataset says about itself, for people: its description, its columns with what they hold, and the files it is made of."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reconciler.lakectl.terminal import Terminal, columns, fit, text_width
from reconciler.lakectl.words import number

_FIELD = 11
_LONGEST_NAME, _SHORTEST_NAME, _LEAST_VALUES = 24, 8, 12
_SOURCES = 8
_DIGEST = 10
"""Characters of a digest or job by which people tell one from another."""

Document = Mapping[str, Any]
"""The answer of GET /catalog/datasets/{name}."""


def dataset_lines(document: Document, terminal: Terminal) -> Iterator[str]:
    """Lines no wider than the terminal."""
    drafted = " (drafted)" if document["drafted"] and document["description"] else ""
    yield ""
    yield terminal.style("about", "bold")
    for name, words in (
        ("holds", document["description"] + drafted),
        ("owner", document["owner"]),
        ("tags", ", ".join(document["tags"])),
        ("classes", ", ".join(document["sensitivity"])),
    ):
        if words:
            yield from _field(terminal, name, words)
    yield ""
    yield from _columns(document["columns"], terminal)
    if document["bindings"]:  # which are told to operators alone
        yield ""
        yield from _sources(document, terminal)


def _field(terminal: Terminal, name: str, text: str) -> Iterator[str]:
    first, *rest = terminal.wrap(text, _FIELD)
    yield f"  {name:<{_FIELD - 2}}{first.strip()}"
    yield from rest


def _columns(found: Sequence[Document], terminal: Terminal) -> Iterator[str]:
    heads = ("TYPE", "NULLS", "DISTINCT", "CLASS")
    cells = [(each["type"], _share(each), _count(each), ", ".join(each["sensitivity"])) for each in found]
    widths = columns([heads, *cells])
    beside = 2 + sum(widths) + 2 * (len(widths) + 1)
    longest = max(min(_LONGEST_NAME, terminal.width - beside - _LEAST_VALUES), _SHORTEST_NAME)
    names = [terminal.cut(each["name"], longest) for each in found]
    widest = max(map(text_width, ("columns", *names)))
    room = max(terminal.width - beside - widest, _SHORTEST_NAME)
    yield terminal.style(f"{fit('columns', widest + 2)}  {_row(heads, widths)}  VALUES", "bold")
    for each, name, row in zip(found, names, cells, strict=True):
        yield f"  {fit(name, widest)}  {_row(row, widths)}  {terminal.cut(_values(each), room)}".rstrip()


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Numbers stand to the right."""
    padded = [
        " " * (width - text_width(cell)) + cell if at in (1, 2) else fit(cell, width)
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded)


def _share(column: Document) -> str:
    share = column["nullShare"]
    if share is None:
        return "-"
    return "<1%" if 0 < share < 0.01 else f"{share:.0%}"


def _count(column: Document) -> str:
    return "-" if column["distinct"] is None else f"{column['distinct']:,}"


def _values(column: Document) -> str:
    """What was found in them, or from where to where they go."""
    if column["entities"]:
        return ", ".join(column["entities"])
    if column["description"]:
        return str(column["description"])
    if column["min"] is None and column["max"] is None:
        return ""
    if column["min"] == column["max"]:
        return str(column["min"])
    return f"{column['min']} to {column['max']}"


def _sources(document: Document, terminal: Terminal) -> Iterator[str]:
    """Each file with its content, and the job that read it."""
    jobs = {edge["fromName"]: edge["toName"] for edge in document["lineage"] if edge["toKind"] == "job"}
    bindings = document["bindings"]
    yield terminal.style("sources", "bold")
    for binding in bindings[:_SOURCES]:
        content, job = binding["digest"], jobs.get(binding["digest"])
        gone = "" if binding["present"] else ", gone"
        read = f", read by job {job[:_DIGEST]}" if job else ""
        yield from (
            "  " + line.removeprefix("    ") if not at else line
            for at, line in enumerate(terminal.wrap(f"{binding['path']}: content {content[:_DIGEST]}{read}{gone}", 4))
        )
    if len(bindings) > _SOURCES:
        yield f"  and {number(len(bindings) - _SOURCES, 'more file')}"
