"""`lakectl models`: the models that the lake knows of, which are in memory, and who names them; of one all that is known."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reconciler.lakectl.errors import ObjectUnknown
from reconciler.lakectl.observation import by_object, observer
from reconciler.lakectl.options import Parser, add_output
from reconciler.lakectl.output import emit
from reconciler.lakectl.reading_here import audit_document, models_document
from reconciler.lakectl.session import Session
from reconciler.lakectl.terminal import Terminal
from reconciler.lakectl.words import reason_words
from specs.suggestions import did_you_mean
from state.status import Status

USAGE = "[NAME] [-o FORMAT]"
DESCRIPTION = """
The built-in embedder, MiniLM, and the models of an Ollama server: their kind, how they stand, and
which objects name them. One that is ready is loaded when it is asked; one that is absent says why.
Of one model besides: its digest, what each object that names it says of it, and the last calls of
it that failed.
"""
EXAMPLES = """
lakectl models
lakectl models nomic-embed-text
lakectl models -o json
"""
_COLORS = {"loaded": "green", "ready": "green", "loading": "yellow", "waiting": "yellow", "absent": "dim"}
_PROVIDERS = {"builtin": "built in", "ollama": "of the Ollama server"}
_INDENT = 3
_FIELD = 12
_GB = 1e9
_FAILED = 5
"""Failed calls that are shown of one model."""


def options(parser: Parser) -> None:
    """Which one, and the form of the answer."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="one model; its tag `latest` may be left out")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0, whether or not there is a server. Raises ObjectUnknown, and as `models_document`."""
    document = models_document(session)
    if args.name is not None:
        return _one(args, session, document["models"])
    if args.output != "table":
        emit(session.terminal, document, args.output)
        return 0
    rows: list[dict[str, Any]] = document["models"]
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        state = session.terminal.style(row["state"].ljust(len("loading")), _COLORS[row["state"]])
        session.terminal.line(
            f"{row['name'].ljust(width)}  {(row['kind'] or '?').ljust(len('embedding'))}  {state}  {_facts(row)}".rstrip()
        )
        for said in (row["error"], ", ".join(row["bound"])):
            for line in session.terminal.wrap(said, _INDENT) if said else ():
                session.terminal.line(session.terminal.style(line, "dim"))
    return 0


def _facts(row: Mapping[str, Any]) -> str:
    parts = (
        f"{row['dimension']} dimensions" if row["dimension"] else "",
        f"reads {row['context']:,} tokens" if row["context"] else "",
        f"{row['size_vram'] / _GB:.1f} GB" if row["size_vram"] else "",
    )
    return ", ".join(part for part in parts if part)


def _one(args: argparse.Namespace, session: Session, models: Sequence[Mapping[str, Any]]) -> int:
    """Everything about one model."""
    row = next((row for row in models if row["name"] in (args.name, f"{args.name}:latest")), None)
    if row is None:
        hint = did_you_mean(args.name, [each["name"] for each in models])
        raise ObjectUnknown(f"there is no model `{args.name}`{f'; {hint}' if hint else ''}", remedy="`lakectl models` lists them.")
    known = by_object(observer(session).described())
    named = [known[name] for name in row["bound"] if name in known]
    failed = audit_document(session, {"model": row["name"], "action": "model", "outcome": "failed", "limit": _FAILED})["rows"]
    if args.output != "table":
        emit(session.terminal, {**row, "objects": [_said(status) for status in named], "failedCalls": failed}, args.output)
        return 0
    for line in page(row, named, failed, session.terminal):
        session.terminal.line(line)
    return 0


def _said(status: Status) -> dict[str, str]:
    """What an object says of its model: a profile by its condition, any other by how it stands."""
    told = status.condition("ModelReady")
    ready, reason, message = (told.status, told.reason, told.message) if told is not None else (status.ready, status.reason, status.message)
    condition = "ModelReady" if told is not None else "Ready"
    return {"object": status.object, "condition": condition, "status": ready, "reason": reason, "message": message}


def page(row: Mapping[str, Any], named: Sequence[Status], failed: Sequence[Mapping[str, Any]], terminal: Terminal) -> Iterator[str]:
    """One model: what it is, what the objects that name it say, and the last calls that failed."""
    yield f"{terminal.style(row['name'], 'bold')}  {terminal.style(row['state'], _COLORS[row['state']])}"
    fields = (
        ("kind", f"{row['kind'] or '?'}, {_PROVIDERS[row['provider']]}"),
        ("facts", _facts(row)),
        ("digest", row["digest"]),
        ("named by", ", ".join(row["bound"]) or "nobody"),
        ("error", row["error"]),
    )
    for name, text in fields:
        if text:
            first, *rest = terminal.wrap(text, _FIELD)
            yield f"{name:<{_FIELD}}{first.lstrip()}"
            yield from rest
    for each in map(_said, named):
        yield ""
        yield f"{each['object']}  {each['condition']} {each['status']}  {reason_words(each['reason'])}"
        yield from (terminal.style(line, "dim") for line in terminal.wrap(each["message"], _INDENT))
    if failed:
        yield ""
        yield terminal.style("last calls that failed", "bold")
    for call in failed:
        who = call.get("profile") or call["reader"]
        yield f"  {call['at'][5:19].replace('T', ' ')}  {who}  {call.get('reason') or '?'}"
