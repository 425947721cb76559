"""`lakectl replay`: rebuilds a version of a dataset from an older one and the journal, and says whether it is that version."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.options import Parser, add_output
from reconciler.lakectl.output import emit
from reconciler.lakectl.session import Session
from reconciler.lakectl.tables_here import dataset_of, moment_of, tables_here, whole_table
from reconciler.lakectl.words import number

if TYPE_CHECKING:
    from engines.sql.replay import Load, Replayed
    from state.catalog.tables import Table

USAGE = "DATASET [--to VERSION|TIME] [--from VERSION|TIME] [-o FORMAT]"
DESCRIPTION = """
Rebuild a version of a dataset from an older kept one and what system.journal says became of each
field since, and prove that it is the version's snapshot: the same number of rows and the same digest
over all of them, in any order. Loads that the journal only counts (first loads, more than 1,000 new
rows of one file, tables made anew) cannot be replayed: it begins at the version that the last one
made, unless --from names a later one, and says so.
"""
EXAMPLES = """
lakectl replay candidates
lakectl replay candidates --to 2026-01-31 -o json
"""


def options(parser: Parser) -> None:
    """From where to where."""
    parser.add_argument("dataset", metavar="DATASET", help="its name, or Dataset/NAME")
    parser.add_argument(
        "--to", metavar="VERSION|TIME", help="the version to prove: its number, or the one of an instant (default: the present)"
    )
    parser.add_argument("--from", dest="start", metavar="VERSION|TIME", help="where to begin (default: the oldest version that will do)")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0 proven, 1 not. Raises UsageInvalid, TableUnknown, VersionUnknown, QueryInvalid, EngineError."""
    from engines.sql.replay import first_start, loads, replay, shaped_since

    with tables_here(session, "lakectl replay") as here, here.audited("replay") as access:
        dataset = dataset_of(args.dataset)
        present, target = here.table(dataset), here.table(dataset, moment_of(args.to))
        whole_table(access, target)
        if not target.primary_key:
            raise UsageInvalid(
                f"{target.name} has no primary key: its journal counts rows, and there is nothing to replay.",
                remedy="A version of it is made of whole files, which `lakectl fsck --deep` verifies; `lakectl diff` compares versions.",
            )
        journal = [here.state.objects.path(ledger.ref) for ledger in present.ledgers if ledger.kind == "journal"]
        counted = loads(journal, target.version)
        wanted = None if args.start is None else here.table(dataset, moment_of(args.start)).version
        kept = [version for version, _ in present.versions]
        begin = first_start(kept, counted, target.version, dataset, wanted, shaped_since(present, target))
        start = present.as_of(begin)
        done = replay(here.view(start), here.view(target), journal, here.scratch)
        access.rows = done.rebuilt.rows
    document = _document(present, start, target, done, counted)
    if args.output != "table":
        emit(session.terminal, document, args.output)
    else:
        _show(document, session)
    return 0 if done.proven else 1


def _document(present: "Table", start: "Table", target: "Table", done: "Replayed", counted: "list[Load]") -> dict[str, Any]:
    between = [version for version, _ in present.versions if start.version < version <= target.version]
    return {
        "dataset": target.name,
        "from": {"version": start.version, "at": start.at},
        "to": {"version": target.version, "at": target.at},
        "proven": done.proven,
        "changes": done.changes,
        "changedRows": done.entities,
        "versions": list(done.versions),
        "untold": [version for version in between if version not in done.versions],
        "rebuilt": {"rows": done.rebuilt.rows, "digest": done.rebuilt.digest},
        "snapshot": {"rows": done.snapshot.rows, "digest": done.snapshot.digest},
        "wrong": done.wrong,
        "differing": list(done.differing),
        "counted": [{"version": load.version, "source": load.source, "rows": load.rows} for load in counted],
    }


def _show(document: Mapping[str, Any], session: Session) -> None:
    terminal = session.terminal
    former, later = document["from"], document["to"]
    rebuilt, snapshot = document["rebuilt"], document["snapshot"]
    proven = document["proven"]
    lines = [
        ("from", f"version {former['version']} of {former['at']}"),
        ("replayed", f"{number(document['changes'], 'change')} of {number(document['changedRows'], 'row')}"),
        ("rebuilt", f"{number(rebuilt['rows'], 'row')}, digest {rebuilt['digest'][:32]}…"),
        ("snapshot", f"{number(snapshot['rows'], 'row')}, digest {snapshot['digest'][:32]}…"),
    ]
    for name, text in lines:
        terminal.line(f"{terminal.style(f'{name:<10}', 'dim')}{terminal.cut(text, terminal.width - 10)}")
    if document["counted"]:
        loads = document["counted"]
        total = number(sum(load["rows"] for load in loads), "row")
        versions = f"up to version {loads[-1]['version']}"
        for line in terminal.wrap(
            f"{total} that were loaded {versions} are counted in the journal, not told: they are taken as they are.", 10
        ):
            terminal.line(line)
    terminal.line()
    version = f"{document['dataset']} version {later['version']}"
    if proven:
        sign = terminal.style(terminal.mark("✔", "+"), "green", "bold")
        terminal.line(f"{sign}  {version} is version {former['version']} and what the journal says since.")
        return
    sign = terminal.style(terminal.mark("✘", "x"), "red", "bold")
    terminal.line(f"{sign}  {version} is not what the journal says: {number(document['wrong'], 'row')} differ.")
    for key in document["differing"]:
        terminal.line(f"     {terminal.cut(key, terminal.width - 5)}")
    if document["untold"]:
        told = ", ".join(map(str, document["untold"]))
        for line in terminal.wrap(
            f"The journal has no rows of version {told}: compaction changes none, but a journal that was dropped misses some.", 3
        ):
            terminal.line(line)
