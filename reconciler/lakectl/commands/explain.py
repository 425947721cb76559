"""`lakectl explain`: what may stand in a spec, what a reason means, which settings there are, which engine to take, what a role sees. All
from the code that decides, and the figures it goes by."""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from reconciler.lakectl.access_page import explain_access
from reconciler.lakectl.engine_advice import explain_engine
from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.options import Parser, add_output, count, memory_size
from reconciler.lakectl.output import emit
from reconciler.lakectl.session import Session
from reconciler.lakectl.terminal import Terminal
from specs.registry import KINDS
from specs.schema import FieldHelp, explain
from specs.suggestions import did_you_mean

USAGE = (
    "[KIND[.FIELD…] | reasons | REASON | settings | engine [INDEX] [--rows N --dimensions D] | access TABLE --as ROLE|PROFILE] [-o FORMAT]"
)
DESCRIPTION = """
The fields of a kind, or of one field; what the reasons in status and events mean; the settings
in lakehouse.yaml. Without anything: the kinds there are.

`explain engine` tells which engine to take for so many vectors, or for those of an index that is
built: build time, query time, memory and disk of each recipe, measured at about this size or
extrapolated from the nearest one. --memory is what a graph may take; left out, what this machine
has now.

`explain access` tells what a role or a profile sees of a dataset: the condition of its rows, the
masks of its columns, which policies say so, and why it is closed where it is.
"""
EXAMPLES = """
lakectl explain
lakectl explain Dataset
lakectl explain dataset.source
lakectl explain FileRefused
lakectl explain settings
lakectl explain engine --rows 5000000 --dimensions 768 --memory 24GiB
lakectl explain engine resumes
lakectl explain access candidates --as recruiter
"""


def options(parser: Parser) -> None:
    """What to explain."""
    parser.add_argument("what", nargs="?", metavar="WHAT", help="a kind, its field, `reasons`, a reason, `settings`, `engine`, `access`")
    parser.add_argument("name", nargs="?", metavar="NAME", help="with `engine`: an index that is built; with `access`: a dataset")
    parser.add_argument("--as", dest="who", metavar="ROLE|PROFILE", help="with `access`: who looks")
    parser.add_argument("--rows", type=count, metavar="N", help="with `engine`: how many vectors (default: 100000)")
    parser.add_argument("--dimensions", type=count, metavar="D", help="with `engine`: numbers in each (default: 256)")
    parser.add_argument("--memory", type=memory_size, metavar="SIZE", help="with `engine`: what a graph may take, as in 4GiB")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """Raises KindUnknown, FieldUnknown, UsageInvalid; of an index IndexUnknown, and what asking for its size raises."""
    what = None if args.what is None else args.what.lower()
    if any(given is not None for given in (args.rows, args.dimensions, args.memory)) and what != "engine":
        raise UsageInvalid("--rows, --dimensions and --memory go with `lakectl explain engine`")
    if args.who is not None and what != "access":
        raise UsageInvalid("--as goes with `lakectl explain access`")
    if what == "engine":
        return explain_engine(args, session)
    if what == "access":
        return explain_access(args, session)
    if args.name is not None:
        raise UsageInvalid(f"`{args.name}` is one argument too many", remedy="A name goes with `lakectl explain engine` and `access`.")
    document, lines = _found(args.what, session.terminal)
    if args.output != "table":
        emit(session.terminal, document, args.output)
        return 0
    for line in lines:
        session.terminal.line(line)
    return 0


def _found(what: str | None, terminal: Terminal) -> tuple[Any, Iterator[str]]:
    if what is None:
        kinds = {kind: info.summary for kind, info in KINDS.items()}
        return kinds, _glossary(kinds, terminal, "kinds; `lakectl explain KIND` shows the fields of one")
    folded = what.lower()
    if folded == "settings":
        from reconciler.lakectl.settings_help import settings_rows

        rows = settings_rows()
        return [asdict(row) for row in rows], _fields(rows, terminal, 0)
    if folded in ("reasons", "reason"):
        known = reasons()
        return known, _glossary(known, terminal, "reasons, as status and events give them")
    known = reasons()
    reason = next((name for name in known if name.lower() == folded), None)
    if reason is not None:
        return {reason: known[reason]}, _glossary({reason: known[reason]}, terminal, "")
    kind, _, path = what.partition(".")
    if not any(kind.lower() in (name.lower(), info.plural) for name, info in KINDS.items()):
        hint = did_you_mean(kind, [*KINDS, *known, "settings", "reasons", "engine", "access"])
        raise UsageInvalid(f"there is nothing to explain about `{what}`{f'; {hint}' if hint else ''}", remedy=f"Kinds: {', '.join(KINDS)}.")
    field = explain(kind, path or None)
    return asdict(field), _page(field, kind, terminal)


def reasons() -> dict[str, str]:
    """Every reason with the sentence that stands under it in `state.reasons`."""
    import ast
    from inspect import getsource
    from itertools import pairwise

    from state import reasons as module

    body = ast.parse(getsource(module)).body
    found = {}
    for statement, following in pairwise(body):
        if isinstance(statement, ast.Assign) and isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            found[str(ast.literal_eval(statement.value))] = " ".join(str(following.value.value).split())
    return found


def _glossary(words: dict[str, str], terminal: Terminal, title: str) -> Iterator[str]:
    if title:
        yield from [terminal.style(title, "dim"), ""]
    width = max(map(len, words)) + 2
    for word, text in words.items():
        first, *rest = terminal.wrap(text, width)
        yield f"{terminal.style(word, 'bold')}{' ' * (width - len(word))}{first[width:]}"
        yield from rest


def _page(field: FieldHelp, kind: str, terminal: Terminal) -> Iterator[str]:
    if field.path:
        yield terminal.style(f"{kind[:1].upper()}{kind[1:]}.{field.path}" if kind not in KINDS else f"{kind}.{field.path}", "bold")
        yield from _about(field, terminal, 0)
    else:
        yield terminal.style(field.name, "bold")
    yield from terminal.wrap(field.description, 0)
    if field.fields:
        yield ""
        yield from _fields(field.fields, terminal, 0)


def _fields(fields: tuple[FieldHelp, ...], terminal: Terminal, depth: int) -> Iterator[str]:
    for field in fields:
        lead = "  " * depth
        facts = (
            [field.type] + (["required"] if field.required else []) + ([f"default {field.default}"] if field.default is not None else [])
        )
        first, *rest = terminal.wrap(", ".join(facts), len(lead) + len(field.name) + 2)
        yield f"{lead}{terminal.style(field.name, 'bold')}  {terminal.style(first.strip(), 'cyan')}"
        yield from (terminal.style(line, "cyan") for line in rest)
        if field.description:
            yield from terminal.wrap(field.description, len(lead) + 4)
        yield from _fields(field.fields, terminal, depth + 1)


def _about(field: FieldHelp, terminal: Terminal, indent: int) -> Iterator[str]:
    facts = [field.type] + (["required"] if field.required else []) + ([f"default {field.default}"] if field.default is not None else [])
    yield from (terminal.style(line, "cyan") for line in terminal.wrap(", ".join(facts), indent))
