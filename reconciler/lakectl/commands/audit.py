"""`lakectl audit verify`: is the audit what was written?"""

import argparse
from dataclasses import asdict
from pathlib import Path

from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.lake import require_lake
from reconciler.lakectl.options import Parser, add_output, one_of
from reconciler.lakectl.output import emit
from reconciler.lakectl.session import Session
from reconciler.lakectl.terminal import Terminal
from reconciler.lakectl.words import number
from state.streams.chains import Head, head_document, parse_head
from state.streams.verification import Verdict, verify

USAGE = "verify [--head FILE] [-o FORMAT]"
DESCRIPTION = """
Recompute the chained checksums of the audit, row by row, and name every row that was edited,
removed, inserted or cut off at the end. What was cut off shows against the last number and hash of
each writer, which are kept on this machine and in the bucket. Whoever can write there can change
them, too: keep what `-o json` prints somewhere else, and give it back with --head.

Ends with 0 if it is intact, 1 if not, 2 if that could not be found out.
"""
EXAMPLES = """
lakectl audit verify
lakectl audit verify -o json > /mnt/elsewhere/audit.json
lakectl audit verify --head /mnt/elsewhere/audit.json
"""
STREAM = "audit"


def options(parser: Parser) -> None:
    """What to compare with."""
    parser.add_argument("what", metavar="verify", type=one_of("verify"), help="the one thing to do with it; SQL has it as system.audit")
    parser.add_argument("--head", metavar="FILE", type=Path, help="what a former call printed with -o json")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0 intact, 1 findings. Raises UsageInvalid, NoLakehouse, and what reading raises."""
    if session.url is not None:
        raise UsageInvalid("lakectl audit reads the state bucket, not --url or LAKEHOUSE_URL.", remedy="Run it in the repository.")
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
