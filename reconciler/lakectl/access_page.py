"""`lakectl explain access`: what a role or profile sees of a dataset, and by which policies."""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.lakectl.access_here import access_document
from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.output import emit
from reconciler.lakectl.session import Session
from reconciler.lakectl.terminal import Terminal


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
    yield f"{terminal.style(found['name'], 'bold')} for {who_of(found)}: {found['answer']}"
    if found["whole"] and not found["policies"]:
        yield "No policy governs it."
    if found["policies"]:
        yield ""
        rows = [("rows", found["rows"] if found["rows"] is not None else "all", ", ".join(found["rowPolicies"]))]
        rows += [(each["column"], _mask(each), ", ".join(_said(each))) for each in found["columns"]]
        widths = [max(len(row[place]) for row in rows) for place in (0, 1)]
        for name, shown, policies in rows:
            yield f"  {name:<{widths[0]}}  {shown:<{widths[1]}}  {terminal.style(policies, 'dim')}".rstrip()
    if found["values"]:
        yield ""
        yield from (f"  ${name} = {value}" for name, value in sorted(found["values"].items()))
    if found["why"]:
        yield ""
        for sentence in found["why"]:
            yield from terminal.wrap(sentence, 0)


def _mask(column: Mapping[str, Any]) -> str:
    value = column.get("value")
    return column["mask"] if value is None else f"{column['mask']} {value}"


def _said(column: Mapping[str, Any]) -> Iterator[str]:
    """Each policy, with what it says where that is not what is shown."""
    for policy, mask in column["policies"].items():
        yield policy if mask == column["mask"] else f"{policy} ({mask})"
