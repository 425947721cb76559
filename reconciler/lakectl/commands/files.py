"""`lakectl files`: the files that a dataset consists of at a version, for other engines."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reconciler.lakectl.options import Parser, add_output
from reconciler.lakectl.output import emit
from reconciler.lakectl.session import Session
from reconciler.lakectl.tables_here import dataset_of, moment_of, tables_here
from reconciler.lakectl.words import number

if TYPE_CHECKING:
    from state.catalog.data_files import DataFile
    from state.catalog.tables import Table
    from state.places import BucketConfig

USAGE = "DATASET [--at VERSION|TIME] [-o FORMAT]"
DESCRIPTION = """
List the Parquet files that a dataset consists of, each with where another engine finds it. Where the
files alone are not the table, a note says what is missing: deltas replace rows of files before them,
and tombstones among them delete rows, until compaction folds them into the base; `lakectl export`
writes the table as it is. Columns that begin with an underscore are hidden ones.
"""
EXAMPLES = """
lakectl files candidates
lakectl files candidates --at 12 -o json
"""


def options(parser: Parser) -> None:
    """Of which dataset, of when."""
    parser.add_argument("dataset", metavar="DATASET", help="its name, or Dataset/NAME")
    parser.add_argument("--at", metavar="VERSION|TIME", help="a former version: its number, or the one of an instant (ISO 8601, UTC)")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """Raises UsageInvalid, TableUnknown, VersionUnknown."""
    with tables_here(session, "lakectl files") as here:
        table = here.table(dataset_of(args.dataset), moment_of(args.at), "describe")
        document = files_document(table, here.state.buckets.configs())
    if args.output != "table":
        emit(session.terminal, document, args.output)
    else:
        _show(document, session)
    return 0


def files_document(table: "Table", buckets: "Mapping[str, BucketConfig]") -> dict[str, Any]:
    """What there is to know of the files, JSON-able. buckets: those that are attached."""
    return {
        "dataset": table.name,
        "version": table.version,
        "at": table.at,
        "primaryKey": list(table.primary_key),
        "columns": [{"name": column.name, "type": column.type, "id": column.id} for column in table.columns],
        "whole": not _notes(table),
        "notes": _notes(table),
        "files": [_file(file, buckets.get(file.ref.bucket)) for file in table.data_files],
    }


def _notes(table: "Table") -> list[str]:
    """Why the rows of the files are not the rows of the table."""
    found = []
    deltas = [file for file in table.readable if file.role == "delta"]
    if deltas:
        key = ", ".join(table.primary_key)
        deletes = sum(file.deletes for file in deltas)
        gone = f", {number(deletes, 'row')} of them only to delete the row of their key (_deleted is true)" if deletes else ""
        held = f"{number(len(deltas), 'delta')} {'is' if len(deltas) == 1 else 'are'} pending, {number(sum(f.rows for f in deltas), 'row')}"
        found.append(
            f"The files alone are not the table: {held}{gone}. Of each {key}, the row with the greatest sequence counts. "
            "`lakectl export` merges them; `compaction` in the Dataset's spec says when they are folded into the base."
        )
    if {file.schema_id for file in table.readable} - {table.schema.id}:
        found.append("Some files were written under a former schema: columns that they lack are null.")
    if table.lost_rows:
        found.append(f"{number(table.lost_rows, 'row')} are in files that nobody has any more; the table is read without them.")
    return found


def _file(file: "DataFile", config: "BucketConfig | None") -> dict[str, Any]:
    return {
        "bucket": file.ref.bucket,
        "key": file.key,
        "place": None if config is None else config.address(file.key),
        "role": file.role,
        "sequence": file.sequence,
        "rows": file.rows,
        "deletes": file.deletes,
        "bytes": file.ref.size,
        "sha256": file.ref.sha256,
        "schema": file.schema_id,
        "lost": file.lost,
    }


def _show(document: Mapping[str, Any], session: Session) -> None:
    terminal = session.terminal
    for file in document["files"]:
        deletes = f", {file['deletes']:,} of them tombstones" if file["deletes"] else ""
        lost = "  lost" if file["lost"] else ""
        terminal.line(f"{file['role']:<5}  {file['sequence']:>6}  {number(file['rows'], 'row')}{deletes}{terminal.style(lost, 'red')}")
        terminal.line(f"       {file['place'] or file['bucket'] + '/' + file['key']}")
    total = number(len(document["files"]), "file")
    terminal.line(terminal.style(f"{total}; {document['dataset']} version {document['version']} of {document['at']}", "dim"))
    for note in document["notes"]:
        for line in terminal.beside.wrap(f"note: {note}", 0):
            terminal.note(line)
