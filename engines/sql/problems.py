"""DataFusion's errors in plain words. It has one exception class for everything, so the text decides.

What a text is not known for is still an answer: the innermost cause, without the wrapping. Next: `session.py`, the caller.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from engines.sql.protocol import Problem
from specs.suggestions import nearest
from state.errors import NO_SPACE

LONGEST = 600
CATALOG = "lakehouse"
LISTING = "SELECT table_name FROM system.datasets"

_WRAPPING = re.compile(
    r"^(DataFusion error|Error during planning|Execution error|Schema error|SQL error|Arrow error|Internal error|External error|External"
    r"|Context|This feature is not implemented|Parquet error|Optimizer rule '\w+' failed|type_coercion): ?"
)
_PARSER = re.compile(r'(?:Parser|Tokenizer)Error\("(.*)"\)', re.DOTALL)
_TABLE = re.compile(r"table '(.+)' not found")
_FUNCTION = re.compile(r"table function '(.+)' not found")
_FIELD = re.compile(
    r"No field named (.+?)\.(?: Did you mean '(.+?)'\?)?\n?(?:Column names are case sensitive\.[^\n]*)?(?:\s*Valid fields are (.+)\.)?$",
    re.DOTALL,
)
_SIGNATURE = re.compile(r"No function matches the given name and argument types '(.+?)'\..*?Candidate functions:\n(.*)$", re.DOTALL)
_NO_FIELDS = "A dot stands before a column of a table, and these have no fields."
_DOTTED = 'A column whose name has a dot is written in double quotes, as in "user.name".'
_KNOWN: tuple[tuple[str, str, str | None], ...] = (
    ("only supports a single SQL statement", "More than one statement.", "Send one at a time."),
    ("No SQL statements", "There is no statement.", None),
    ("RecursionLimitExceeded", "The statement is nested too deep.", "Take brackets away, or name parts of it in a WITH clause."),
    ("information_schema is enabled", "SHOW is not available here.", f"Use {LISTING}, or DESCRIBE followed by a table's name."),
    ("Dot access not supported", _NO_FIELDS, _DOTTED),
    ("Cannot access field at argument", _NO_FIELDS, _DOTTED),
)
"""Words of a cause, and what is said instead of it."""
_PLACEHOLDER = re.compile(r"[Pp]laceholder (?:with name |with id )?'?(\$\w+)'?")
_NOT_READING = re.compile(r"(DDL|DML|Statement) not supported: ([\w ]+)")
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|`[^`]*`")
_LAYOUTS = {
    **dict.fromkeys(("Utf8View", "LargeUtf8", "Utf8"), "string"),
    **dict.fromkeys(("BinaryView", "LargeBinary", "Binary"), "binary"),
    "Int64": "int64",
    "Float64": "float64",
    "Boolean": "bool",
    "Date32": "date",
}
_LAYOUT = re.compile(rf"{_QUOTED.pattern}|\b({'|'.join(_LAYOUTS)})\b(?!\()")
"""Arrow's names of types, or what is quoted."""
_STORAGE = ("Object Store error", "ObjectStore", "Parquet error", "No such file", "Invalid Parquet", "ParquetError")


class QueryProblem(Exception):
    """Why a query gave no result. For an unknown table, message is its name."""

    def __init__(self, problem: Problem, message: str, remedy: str | None = None) -> None:
        super().__init__(problem, message, remedy)
        self.problem: Problem = problem
        self.message = message
        self.remedy = remedy


def invalid(message: str, remedy: str | None = None) -> QueryProblem:
    """A statement that cannot be."""
    return QueryProblem("invalid", message, remedy)


@contextmanager
def translated() -> Iterator[None]:
    """Whatever DataFusion and pyarrow raise inside as a QueryProblem."""
    try:
        yield
    except QueryProblem:
        raise
    except Exception as error:
        raise translate(error) from error


def translate(error: Exception) -> QueryProblem:
    """What an exception of DataFusion or pyarrow means."""
    text = str(error)
    said = _QUOTED.sub("''", text)  # what a query or its data say is no sign of anything
    if "Resources exhausted" in said or isinstance(error, MemoryError):
        return QueryProblem("memory", "The query needs more memory than it may have.")
    if "No space left on device" in said or (isinstance(error, OSError) and error.errno in NO_SPACE):
        return QueryProblem("disk", "The disk of the query's scratch files is full.", "Free space there.")
    if any(mark in said for mark in _STORAGE) or isinstance(error, OSError):
        return QueryProblem("storage", _innermost(text))
    if found := _NOT_READING.search(said):
        return QueryProblem("forbidden", f"Only reading is allowed here; this is: {found[2].strip()}.")
    cause = _innermost(text)
    if found := _TABLE.search(cause):
        return QueryProblem("unknown-table", _short_name(found[1]))
    return _invalid(_own_types(cause))


def _invalid(cause: str) -> QueryProblem:
    if found := _FUNCTION.search(cause):
        return invalid(f"There is no table function `{found[1]}`.")
    if found := _FIELD.search(cause):
        remedy = f"Did you mean `{found[2]}`?" if found[2] else None
        if remedy is not None and '"' in found[2]:
            remedy += " A name with capitals or a dot is written in double quotes."
        return invalid(f"There is no column `{found[1]}`.", _listed(remedy, found[3]))
    if found := _PLACEHOLDER.search(cause):
        return invalid(f"No value is given for the parameter {found[1]}.", "Give one in `params` (lakectl: -p name=value).")
    if found := _SIGNATURE.search(cause):
        known = ", ".join(line.strip() for line in found[2].splitlines()[:8])
        return invalid(
            f"No function takes these arguments: {_own_types(found[1])}.", f"There are {known}; a value is cast as in `amount::double`."
        )
    if "require unique expression names" in cause:
        return same_names(re.findall(r'AS "?(\w+)"?"|expression "(?:\w+\.)?(\w+)"', cause))
    said = next(((message, remedy) for words, message, remedy in _KNOWN if words in cause), None)
    return invalid(_sentence(cause)) if said is None else invalid(*said)


def _own_types(text: str) -> str:
    """With the names that types have in a spec, but for what is quoted."""
    return _LAYOUT.sub(lambda found: _LAYOUTS[found[1]] if found[1] else found[0], text)


def no_column(name: str, columns: Sequence[str]) -> QueryProblem:
    """A name that is none of these columns'."""
    near = nearest(name, columns)
    return invalid(f"There is no column `{name}`.", _listed(f"Did you mean `{near}`?" if near else None, ", ".join(columns)))


def same_names(names: object) -> QueryProblem:
    """Two result columns of one name. names: what was found, as `re.findall` gives it."""
    found = sorted({part for match in names if (part := "".join(match))}) if isinstance(names, list) else []
    which = f" ({', '.join(found)})" if found else ""
    remedy = "Give them aliases: SELECT a.id AS a_id, b.id AS b_id."
    return invalid(f"Several columns of the result have the same name{which}.", remedy)


def _innermost(text: str) -> str:
    cause = text.rpartition("caused by\n")[2].strip()
    cause = cause.partition("\n\nThis issue was likely caused by a bug")[0]
    while found := _WRAPPING.match(cause):
        cause = cause[found.end() :]
    if found := _PARSER.search(cause):
        cause = found[1]
    return cause


def _sentence(text: str) -> str:
    text = text.strip().replace("found: EOF", "found: the end of the statement")
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}…"
    return text if text.endswith((".", "…", "?")) else f"{text}."


def _short_name(name: str) -> str:
    return name.removeprefix(f"{CATALOG}.").removeprefix("public.")


def _listed(remedy: str | None, fields: str | None) -> str | None:
    if not fields:
        return remedy
    names = fields.split(", ")
    more = ", …" if len(names) > 12 else ""
    return " ".join(filter(None, (remedy, f"Columns: {', '.join(names[:12])}{more}.")))
