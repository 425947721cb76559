"""`lakectl schema`: the kinds as JSON Schema, so that editors complete and check specs as they are written."""

import argparse
import json
from pathlib import Path

from reconciler.lakectl.options import Parser, add_output, one_of
from reconciler.lakectl.output import emit
from reconciler.lakectl.session import Session
from reconciler.lakectl.words import number
from specs.schema import json_schemas

USAGE = "export DIR [-o FORMAT]"
DESCRIPTION = """
Write the JSON Schema of every kind, and lakehouse.json for documents of any
kind. An editor with a YAML language server completes and checks a spec that
begins with
    # yaml-language-server: $schema=../.schemas/lakehouse.json
"""
EXAMPLES = "lakectl schema export .schemas"


def options(parser: Parser) -> None:
    """Where to."""
    parser.add_argument("action", metavar="export", type=one_of("export"), help="write the schemas")
    parser.add_argument("folder", metavar="DIR", type=Path, help="the folder, made if it is missing; schemas in it are replaced")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """Raises OSError where the folder cannot be written."""
    written = export(args.folder)
    if args.output != "table":
        emit(session.terminal, {"folder": str(args.folder), "files": written}, args.output)
    else:
        session.terminal.line(f"{number(len(written), 'schema')} in {args.folder}: {', '.join(written)}")
    return 0


def export(folder: Path) -> list[str]:
    """Writes all schemas; returns the names of the files."""
    folder.mkdir(parents=True, exist_ok=True)
    schemas = json_schemas()
    for name, schema in schemas.items():
        (folder / name).write_text(json.dumps(schema, indent=1) + "\n", encoding="utf-8")
    return sorted(schemas)
