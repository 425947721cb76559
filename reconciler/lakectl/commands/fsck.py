"""`lakectl fsck`: whether catalog and buckets agree."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.options import Parser, add_output, duration
from reconciler.lakectl.output import emit
from reconciler.lakectl.session import Session
from reconciler.lakectl.words import number

if TYPE_CHECKING:
    from reconciler.fsck import Report

USAGE = "[--deep] [--grace DURATION] [-o FORMAT]"
DESCRIPTION = """
Check every reference both ways: each object that the catalog refers to is there with its size, and
each object of tables and indexes is referred to. --deep reads them: their SHA-256, whether Parquet
footers agree with the catalog, every entry of the catalog and every segment of the streams. Ends
with 0 if all is well, 1 if something was found, 2 if something could not be looked at. Each finding
names what mends it. Objects that nothing refers to count once `lakectl gc` would remove them, or
are older than --grace; those of datasets and indexes that this catalog never knew, at once. Takes
no lease, asks no daemon, and may run beside one.
"""
EXAMPLES = """
lakectl fsck
lakectl fsck --deep -o json
lakectl fsck --grace 1h
"""
_INDENT = 3


def options(parser: Parser) -> None:
    """How thoroughly."""
    parser.add_argument("--deep", action="store_true", help="read the objects, too")
    parser.add_argument("--grace", metavar="DURATION", type=duration, help="age of unreferred objects (default: their bucket's retention)")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0 clean, 1 findings, 2 where something could not be looked at."""
    if session.url is not None:
        raise UsageInvalid(
            "lakectl fsck reads the buckets themselves, not through --url or LAKEHOUSE_URL.", remedy="Run it in the repository."
        )
    report = _checked(session, deep=args.deep, grace=args.grace)
    if args.output != "table":
        emit(session.terminal, _document(report, deep=args.deep), args.output)
    else:
        _show(report, session)
    return 2 if report.unchecked else 1 if report.findings else 0


def _checked(session: Session, *, deep: bool, grace: float | None) -> "Report":
    from reconciler.errors import CatalogLost
    from reconciler.fsck import Report, catalog_lost, catalog_unreadable, check, check_log
    from reconciler.lakectl.lake import require_lake
    from reconciler.lakectl.reading_here import open_here
    from reconciler.lakectl.specs_here import read_specs
    from reconciler.retention import retention
    from state.errors import CatalogCorrupt

    here, rescue = session.here(), None
    try:
        store = require_lake(here, session.clock).store
        state, settings = open_here(here)
    except CatalogLost as error:
        return Report(findings=[catalog_lost(error)])
    except CatalogCorrupt as error:
        report = Report(findings=[catalog_unreadable(store, error)])
    else:
        name = state.buckets.rescue(state.bucket)
        rescue = None if name is None else state.buckets.store(name)
        report = check(state, retention(read_specs(here).world, settings), deep=deep, grace=grace)
    check_log(store, report, deep=deep, rescue=rescue)
    return report


def _document(report: "Report", *, deep: bool) -> dict[str, Any]:
    return {
        "clean": not report.findings and not report.unchecked,
        "deep": deep,
        "findings": [finding.to_dict() for finding in report.findings],
        "unchecked": [{"place": place, "reason": reason} for place, reason in report.unchecked],
        "checked": {"objects": report.objects, "bytes": report.size, "entries": report.entries, "segments": report.segments},
        "waiting": {
            "objects": len(report.waiting),
            "bytes": sum(waiting.size for waiting in report.waiting),
            "items": [waiting.to_dict() for waiting in report.waiting],
        },
    }


def _show(report: "Report", session: Session) -> None:
    terminal = session.terminal
    for finding in report.findings:
        terminal.line(f"{terminal.style(finding.problem, 'red', 'bold')}  {finding.place}")
        _wrapped(finding.message, session)
        _wrapped(f"Mend it: {finding.mend}", session)
    for place, reason in report.unchecked:
        terminal.line(f"{terminal.style('not checked', 'yellow', 'bold')}  {place}")
        _wrapped(reason, session)
    if report.findings or report.unchecked:
        terminal.line()
    counts: Sequence[str] = (number(report.entries, "entry", "entries"), number(report.objects, "object"))
    good = not report.findings and not report.unchecked
    sign = terminal.style(terminal.mark("✔", "+"), "green", "bold") if good else terminal.style(terminal.mark("✘", "x"), "red", "bold")
    found = f"{number(len(report.findings), 'finding')}" + (f", {len(report.unchecked)} not checked" if report.unchecked else "")
    terminal.line(f"{sign}  {found}; {', '.join(counts)} ({report.size / 1e6:.1f} MB) looked at.")
    if report.waiting:
        count = f"{number(len(report.waiting), 'object')} ({sum(waiting.size for waiting in report.waiting) / 1e6:.1f} MB)"
        terminal.note(f"note: nothing refers to {count} too young for gc; -o json lists them.")


def _wrapped(text: str, session: Session) -> None:
    for line in session.terminal.wrap(text, _INDENT):
        session.terminal.line(line)
