"""`lakectl audit`: who read what; `lakectl audit verify`: is that what was written?"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.lake import require_lake
from reconciler.lakectl.options import Parser, add_output, count, duration, one_of
from reconciler.lakectl.output import emit
from reconciler.lakectl.reading_here import audit_document
from reconciler.lakectl.result_table import result_table
from reconciler.lakectl.session import Session
from reconciler.lakectl.terminal import Terminal, one_line, text_width
from reconciler.lakectl.words import number
from state.streams.chains import Head, head_document, parse_head
from state.streams.verification import Verdict, verify
from state.timestamps import iso

USAGE = "[verify [--head FILE]] [--profile P] [--table T] [--column C] [--group COLUMNS] … [-o FORMAT]"
DESCRIPTION = """
Every query, search, read of an object, export and call of a model, newest first: who, what, how it
ended. With --group they are counted. All of them are in SQL as system.audit.

`verify` recomputes the chained checksums of the audit, row by row, and names every row that was
edited, removed, inserted or cut off at the end. What was cut off shows against the last number and
hash of each writer, which are kept on this machine and in the bucket. Whoever can write there can
change them, too: keep what `verify -o json` prints somewhere else, and give it back with --head.
It ends with 0 if the audit is intact, 1 if not, 2 if that could not be found out.
"""
EXAMPLES = """
lakectl audit --since 1h
lakectl audit --table candidates --column phone
lakectl audit --since 7d --group profile,table,column
lakectl audit --outcome refused --group reader,reason
lakectl audit verify
lakectl audit verify -o json > /mnt/elsewhere/audit.json
lakectl audit verify --head /mnt/elsewhere/audit.json
"""
STREAM = "audit"
_MOST = 50
_INDENT = 3
_WHEN = len("12-31 23:59:59  ")
_FILTERS = ("reader", "profile", "role", "action", "table", "column", "outcome", "model")
_FIGURES = (("count", "int64"), ("rows", "int64"), ("bytes", "int64"), ("p50Ms", "float64"), ("p95Ms", "float64"), ("last", "string"))
_FEWER = ("count", "rows", "last")
"""Those that stay where all of them are too wide for the terminal; -o json has the others."""


def options(parser: Parser) -> None:
    """Filters and what to count by; or what to compare with."""
    parser.add_argument("what", metavar="verify", nargs="?", type=one_of("verify"), help="recompute its checksums")
    parser.add_argument("--head", metavar="FILE", type=Path, help="of verify: what a former call printed with -o json")
    parser.add_argument("--reader", metavar="TOKEN", help="only with this token, by its name; anonymous for those without")
    parser.add_argument("--profile", metavar="P", help="only of this profile")
    parser.add_argument("--role", metavar="R", help="only in this role")
    kinds = "query, search, object, export, describe, diff, replay, model, request"
    parser.add_argument("--action", metavar="A", help=f"only of this kind: {kinds}")
    parser.add_argument("--table", metavar="T", help="only of this table, as SQL calls it")
    parser.add_argument("--column", metavar="C", help="only of this column, or where nobody knows which")
    parser.add_argument("--outcome", metavar="O", help="only those that ended so: done, refused, failed, cancelled; or have begun")
    parser.add_argument("--model", metavar="M", help="only by this model")
    parser.add_argument("--since", metavar="DURATION", type=duration, help="only of the last 30s, 10m, 2h, 7d")
    parser.add_argument("--group", metavar="COLUMNS", help="count by some of these and reason, index and bucket, as in profile,table")
    parser.add_argument("-n", "--limit", metavar="N", type=count, default=_MOST, help=f"at most so many (default: {_MOST})")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0; of verify 0 intact, 1 findings. Raises UsageInvalid, NoLakehouse, and what reading raises."""
    if args.what is not None:
        return _verify(args, session)
    if args.head is not None:
        raise UsageInvalid("lakectl audit: --head is of `lakectl audit verify`.")
    parameters: dict[str, str | int | None] = {name: getattr(args, name) for name in (*_FILTERS, "group", "limit")}
    parameters["since"] = iso(session.clock() - timedelta(seconds=args.since)) if args.since is not None else None
    document = audit_document(session, parameters)
    if args.output != "table":
        emit(session.terminal, document, args.output)
    elif args.group:
        _counted(document["groups"], [name.strip() for name in args.group.split(",")], session.terminal)
    else:
        _listed(document, session.terminal)
    return 0


def _listed(document: Mapping[str, Any], terminal: Terminal) -> None:
    for row in document["rows"]:
        who = " ".join(str(row[name]) for name in ("reader", "profile", "role") if row.get(name))
        ended = f"{row['outcome']}: {row['reason']}" if row.get("reason") else row["outcome"]
        line = one_line(f"{who}  {row['action']}  {ended}{_amount(row)}")
        first, *more = [line] if text_width(line) + _WHEN <= terminal.width else terminal.wrap(line, _WHEN)
        terminal.line(f"{terminal.style(row['at'][5:19].replace('T', ' '), 'dim')}  {first.strip()}")
        for part in more:
            terminal.line(part)
        for text in filter(None, (_touched(row), row.get("statement"))):
            for part in terminal.wrap(one_line(text), _INDENT):
                terminal.line(terminal.style(part, "dim"))
    if not document["rows"]:
        terminal.note("no reads")
    if document["next"]:
        terminal.note("note: there are older ones; raise -n, or narrow them.")


def _amount(row: Mapping[str, Any]) -> str:
    rows = f"  {number(row['rows'], 'row')}" if row.get("rows") is not None else ""
    return rows + (f"  {row['durationMs']:.1f} ms" if row.get("durationMs") is not None else "")


def _touched(row: Mapping[str, Any]) -> str:
    """Tables with their columns, an object, or an index."""
    if row.get("key"):
        return f"{row.get('bucket', '')}/{row['key']}"
    read = row.get("columns") or {}
    tables = [f"{table}({', '.join(read.get(table, ['*']))})" for table in row.get("tables") or ()]
    index = [f"index {row['index']}"] if row.get("index") else []
    return "  ".join([*index, *tables])


def _counted(groups: Sequence[Mapping[str, Any]], by: Sequence[str], terminal: Terminal) -> None:
    if not groups:
        terminal.note("no reads")
        return
    rows = [{**group, "last": group["last"][5:16].replace("T", " ")} for group in groups]
    names = [*by, *(name for name, _ in _FIGURES)]
    width = sum(2 + max(len(str(value)) for value in (name, *(row[name] for row in rows))) for name in names) - 2
    figures = _FIGURES if width <= terminal.width else [figure for figure in _FIGURES if figure[0] in _FEWER]
    columns = [{"name": name, "type": "string"} for name in by] + [{"name": name, "type": type_} for name, type_ in figures]
    result_table({"columns": columns, "rows": rows, "truncated": False, "versions": {}}, terminal)


def _verify(args: argparse.Namespace, session: Session) -> int:
    """0 intact, 1 findings."""
    if session.url is not None:
        raise UsageInvalid("lakectl audit verify reads the state bucket, not --url.", remedy="Run it in the repository.")
    given = read_head(args.head) if args.head is not None else None
    verdict = verify(require_lake(session.here(), session.clock).streams, STREAM, given)
    if args.output == "table":
        show(verdict, session.terminal)
    else:
        document = {"stream": STREAM, "intact": not verdict.findings, "rows": verdict.rows, "unchecked": verdict.unchecked}
        findings = [asdict(finding) for finding in verdict.findings]
        emit(session.terminal, document | {"findings": findings, "head": head_document(verdict.head)}, args.output)
    return 1 if verdict.findings else 0


def read_head(path: Path) -> Head:
    """Raises UsageInvalid."""
    try:
        return parse_head(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageInvalid(
            f"lakectl audit: {path} is no head: {error}.", remedy="It is what `lakectl audit verify -o json` prints."
        ) from error


def show(verdict: Verdict, terminal: Terminal) -> None:
    """A line a finding, with where it is."""
    for finding in verdict.findings:
        row = f"row {finding.number} of {finding.writer}" if finding.writer is not None else finding.id or finding.key or ""
        lines = terminal.wrap(f"{finding.fault}: {row}: {finding.message}", 3)
        terminal.line(f"{terminal.style(terminal.mark('✘', 'x'), 'red')}  {lines[0][3:]}")
        where = ", ".join(part for part in (finding.id and f"id {finding.id}", finding.key) if part and part != row)
        for line in [*lines[1:], *(terminal.wrap(where, 3) if where else ())]:
            terminal.line(line)
    checked = f"{number(verdict.rows, 'row')} by {number(len(verdict.head), 'writer')}"
    earlier = f"; {number(verdict.unchecked, 'row')} from before retention cannot be checked" if verdict.unchecked else ""
    if verdict.findings:
        terminal.line(f"The audit is not what was written: {number(len(verdict.findings), 'finding')} in {checked}{earlier}.")
    else:
        sign = terminal.style(terminal.mark("✔", "+"), "green")
        terminal.line(f"{sign}  The audit is intact: {checked}{earlier}.")
