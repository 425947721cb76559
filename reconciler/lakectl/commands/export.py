"""`lakectl export`: all rows of a dataset as one file, for other programs."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.options import Parser, one_of
from reconciler.lakectl.session import Session
from reconciler.lakectl.tables_here import dataset_of, moment_of, tables_here, whole_table
from reconciler.lakectl.words import number

if TYPE_CHECKING:
    from engines.sql.export import ExportFormat

USAGE = "DATASET [--at VERSION|TIME] [--format FORMAT] [-o FILE]"
DESCRIPTION = """
Write all rows of a dataset to one file, merged by key as a query reads them, of any size in constant
memory. The file appears under its name when it is whole; one of that name is replaced. FILE `-` is
standard output, to which nothing is written before all rows were read.

csv writes texts in quotes, null as an empty cell and an empty text as "". csv-safe is for
spreadsheets, which compute a cell that begins with = + - @ or with a tab or line break: a text that
does gets an apostrophe in front, in the header as well. Numbers, dates and booleans stay as they are.
"""
EXAMPLES = """
lakectl export candidates
lakectl export candidates --at 2026-01-31 -o january.parquet
lakectl export timesheets --format csv-safe -o timesheets.csv
lakectl export timesheets --format csv -o - | head
"""
_STDOUT = Path("-")
_FORMATS = ("parquet", "arrow", "csv", "csv-safe")
_SUFFIXES: "dict[str, ExportFormat]" = {".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow", ".csv": "csv"}


def options(parser: Parser) -> None:
    """What to write, of when, as what, where to."""
    parser.add_argument("dataset", metavar="DATASET", help="its name, or Dataset/NAME")
    parser.add_argument("--at", metavar="VERSION|TIME", help="a former version: its number, or the one of an instant (ISO 8601, UTC)")
    parser.add_argument(
        "--format", metavar="FORMAT", type=one_of(*_FORMATS), help=f"{', '.join(_FORMATS)} (default: by FILE's name, else parquet)"
    )
    parser.add_argument("-o", "--to", metavar="FILE", type=Path, help="the file, or - (default: DATASET.FORMAT in the current folder)")


def run(args: argparse.Namespace, session: Session) -> int:
    """Raises UsageInvalid, TableUnknown, VersionUnknown, and what reading the table raises."""
    from engines.sql.export import export

    named = _SUFFIXES.get(args.to.suffix.lower()) if args.to is not None else None
    form: ExportFormat = args.format or named or "parquet"
    dataset = dataset_of(args.dataset)
    target: Path = args.to or Path(f"{dataset}.{form.partition('-')[0]}")
    out = args.to == _STDOUT
    if out and session.terminal.interactive and not form.startswith("csv"):
        raise UsageInvalid(
            f"lakectl export: {form} is nothing to be read on a terminal.", remedy="Say --format csv, or name a file with -o."
        )
    if target.is_dir() or not target.absolute().parent.is_dir():
        raise UsageInvalid(f"lakectl export: {target} cannot be a file.", remedy="Name a file in a folder that is there.")
    with tables_here(session, "lakectl export") as here, here.audited("export", detail={"format": form}) as access:
        table = here.table(dataset, moment_of(args.at), part=True)
        whole_table(access, table)
        access.decisions = here.decisions(table)
        access.begin_blocking()
        if out:
            target = here.scratch / "export"
        shown = here.shown(table)
        done = export(shown, form, target, here.scratch)
        access.rows, access.bytes = done.rows, done.bytes
        if out:
            session.terminal.copy(target)
    if not out:
        session.terminal.line(f"{number(done.rows, 'row')} of {table.name} version {table.version} are in {target} ({done.bytes:,} bytes)")
    if table.lost_rows and shown.shown is None:
        session.terminal.note(f"note: {number(table.lost_rows, 'row')} are in no file any more; see `lakectl why Dataset/{table.name}`.")
    return 0
