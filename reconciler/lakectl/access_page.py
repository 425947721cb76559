"""`lakectl explain access`: what a role or profile sees of a dataset, and by which policies."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reconciler.lakectl.access_here import access_document
from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.output import emit
from reconciler.lakectl.session import Session
from reconciler.lakectl.terminal import Terminal, fit, text_width


def explain_access(args: argparse.Namespace, session: Session) -> int:
    """0. Raises UsageInvalid, and as `access_document`."""
    if args.name is None or args.who is None:
        raise UsageInvalid("say of which dataset and for whom", remedy="Write it as in lakectl explain access candidates --as recruiter.")
    found = access_document(session, "query", args.name.removeprefix("Dataset/"), args.who)
    if args.output != "table":
        emit(session.terminal, found, args.output)
        return 0
    for line in page(found, session.terminal):
        session.terminal.line(line)
    return 0


def who_of(found: Mapping[str, Any]) -> str:
    """Whom an answer speaks of."""
    role = f"role {found['role']}" if found["role"] is not None else "no role"
    return f"profile {found['profile']}, {role}" if found["profile"] is not None else role


def page(found: Mapping[str, Any], terminal: Terminal) -> Iterator[str]:
    """The whole answer."""
    first, *more = terminal.wrap(f"{found['name']} for {who_of(found)}: {found['answer']}", 0)
    yield first.replace(found["name"], terminal.style(found["name"], "bold"), 1)
    yield from more
    if found["whole"] and not found["policies"]:
        yield "No policy governs it."
    if found["policies"]:
        yield ""
        rows = [("rows", found["rows"] if found["rows"] is not None else "all", ", ".join(found["rowPolicies"]))]
        rows += [(each["column"], _mask(each), ", ".join(_said(each))) for each in found["columns"]]
        yield from _table(rows, terminal)
    if found["values"]:
        yield ""
        yield from (f"  ${name} = {value}" for name, value in sorted(found["values"].items()))
    if found["why"]:
        yield ""
        for sentence in found["why"]:
            yield from terminal.wrap(sentence, 0)


def _table(rows: Sequence[tuple[str, str, str]], terminal: Terminal) -> Iterator[str]:
    """Names, what is shown, and who says so; that on lines of its own where it does not fit beside it."""
    names, shown, policies = (max(text_width(cell) for cell in cells) for cells in zip(*rows, strict=True))
    fits, beside = names + shown + policies + 6 <= terminal.width, names + 4
    for name, what, who in rows:
        if fits:
            yield f"  {fit(name, names)}  {fit(what, shown)}  {terminal.style(who, 'dim')}".rstrip()
        else:
            first, *more = terminal.wrap(what, beside)
            yield f"  {fit(name, names)}  {first.strip()}"
            yield from more
            yield from (terminal.style(line, "dim") for line in terminal.wrap(who, beside) if line.strip())


def _mask(column: Mapping[str, Any]) -> str:
    value = column.get("value")
    return column["mask"] if value is None else f"{column['mask']} {value}"


def _said(column: Mapping[str, Any]) -> Iterator[str]:
    """Each policy, with what it says where that is not what is shown."""
    for policy, mask in column["policies"].items():
        yield policy if mask == column["mask"] else f"{policy} ({mask})"
