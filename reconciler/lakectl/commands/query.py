"""`lakectl query`: one SQL statement, answered by the daemon, or without one by a query worker of its own."""

import argparse
import json
import math
from typing import Any

from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.given_text import given_text
from reconciler.lakectl.options import Parser, add_output, count
from reconciler.lakectl.output import emit
from reconciler.lakectl.reading_here import query_document
from reconciler.lakectl.result_table import caveats, result_table
from reconciler.lakectl.session import Session

USAGE = "SQL [-p NAME=VALUE] [--at VERSION|TIME] [--schema ID] [-n ROWS]"
DESCRIPTION = """
Run one read-only SQL statement over the datasets (a hyphen in a name is an underscore in SQL) and
over system.status, system.events, system.files and the other system tables. `-` reads the
statement from standard input. Values go in as parameters, never into the text: write $name and
give -p name=value; a value that is JSON (5, true, "05", ["a", "b"]) is taken as such, all else as
text. Where a table would be too wide or too tall, rows are shown one field a line.
"""
EXAMPLES = """
lakectl query "SELECT count(*) FROM candidates"
lakectl query 'SELECT * FROM candidates WHERE city = $city' -p city=Chicago
lakectl query 'SELECT name FROM people WHERE id = ANY($ids)' -p 'ids=[1, 2]'
lakectl query - < report.sql -o csv > report.csv
lakectl query "SELECT phone FROM candidates" --at 2026-01-31T09:00
lakectl query "SELECT * FROM people JOIN jobs USING (id)" --at people=12
lakectl query "SELECT first_name FROM people" --schema people=1
lakectl query "SELECT object, reason FROM system.status" -o json
"""


def options(parser: Parser) -> None:
    """The statement, its parameters, the form of its answer."""
    parser.add_argument("sql", metavar="SQL", help="the statement, or - to read it from standard input")
    parser.add_argument("-p", "--param", action="append", default=[], metavar="NAME=VALUE", help="a parameter; may be given many times")
    parser.add_argument(
        "--at",
        action="append",
        default=[],
        metavar="[TABLE=]VERSION|TIME",
        help="read a former version: its number, or the one of an instant (ISO 8601, UTC); with a table's name for that one only",
    )
    parser.add_argument(
        "--schema",
        action="append",
        default=[],
        metavar="[TABLE=]ID",
        help="read under a former schema of the table, as it was before a migration; with a table's name for that one only",
    )
    parser.add_argument("-n", "--max-rows", metavar="ROWS", type=count, help="at most so many rows (the daemon's own limit holds anyway)")
    add_output(parser, "csv")


def run(args: argparse.Namespace, session: Session) -> int:
    """Raises UsageInvalid, DaemonProblem, EngineError."""
    sql = given_text(args.sql, "lakectl query: the statement")
    if not sql.strip():
        raise UsageInvalid("lakectl query: the statement is empty.")
    body: dict[str, Any] = {"sql": sql, "params": parameters(args.param)}
    if args.at:
        body["at"] = former(args.at)
    if args.schema:
        body["schema"] = former_schema(args.schema)
    if args.max_rows is not None:
        body["maxRows"] = args.max_rows
    answer = query_document(session, body)
    if args.output == "csv":
        from api.csv_text import csv_text

        session.terminal.out.write(csv_text([column["name"] for column in answer["columns"]], answer["rows"]))
        if answer["truncated"]:
            session.terminal.note("note: rows were cut off; raise -n, or limits.queryRows in lakehouse.yaml.")
        caveats(answer, session.terminal)
    elif args.output != "table":
        emit(session.terminal, answer, args.output)
    else:
        result_table(answer, session.terminal)
    return 0


def parameters(given: list[str]) -> dict[str, Any]:
    """`name=value` pairs. Raises UsageInvalid."""
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise UsageInvalid(f"lakectl query: `{text}` is no parameter.", remedy="Write it as in -p city=Chicago.")
        found[name] = _value(value)
    return found


def former(given: list[str]) -> str | dict[str, str]:
    """Of `--at`: one moment for all tables, or moments by table. Raises UsageInvalid."""
    return _by_table(given, "--at", "12")


def former_schema(given: list[str]) -> int | dict[str, int]:
    """Of `--schema`: one id for all tables, or ids by table. Raises UsageInvalid."""
    found = _by_table(given, "--schema", "1")
    try:
        return int(found) if isinstance(found, str) else {table: int(number) for table, number in found.items()}
    except ValueError as error:
        remedy = "Write it as in --schema 1; `system.versions` tells the schema of each version."
        raise UsageInvalid(f"lakectl query: {' '.join(given)} is no schema's id.", remedy=remedy) from error


def _by_table(given: list[str], option: str, example: str) -> str | dict[str, str]:
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    parts = [text.partition("=") for text in given]
    if not all(table and equals and wanted for table, equals, wanted in parts):
        remedy = f"Name the table in each, as in {option} candidates={example}."
        raise UsageInvalid(f"lakectl query: {option} is given several times.", remedy=remedy)
    return {table: wanted for table, _, wanted in parts}


def _value(text: str) -> Any:
    try:
        value = json.loads(text, parse_constant=_no_json)
    except ValueError:
        return text
    parts = value if isinstance(value, list) else [value]
    return value if all(_plain(part) for part in parts) else text


def _plain(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isfinite(value)) or isinstance(value, bool | int | str)


def _no_json(word: str) -> float:
    """NaN and Infinity are Python's; to JSON, and to whoever wrote them, they are text."""
    raise ValueError(word)
