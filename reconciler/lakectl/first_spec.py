"""What `lakectl try` writes about a data file, and what it asks of it first: texts made of names that strangers chose.

Every name goes in as YAML, SQL or the shell would have it quoted; in comments nothing of it can end the line.
"""

import re
import shlex
from pathlib import Path

import yaml

from engines.files.formats import DOCUMENTS, named_format
from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.new_repository import EDITOR_LINE
from reconciler.lakectl.survey import Survey
from reconciler.lakectl.terminal import one_line

_WRITES = {
    "append": "# Rows are appended as they are. If a column identifies a row, say `primaryKey: [COLUMN]` and `write: upsert`:\n"
    "# then a later file's row replaces the earlier one.",
    "replace": "# The table is exactly what the matching files hold: a document that is renamed or removed is so here.",
}
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_MEANT_BY_SQL = frozenset({
    "all", "and", "any", "array", "as", "asc", "between", "by", "case", "cast", "check", "cross", "current_date", "current_time",
    "current_timestamp", "default", "delete", "desc", "distinct", "else", "end", "except", "exists", "extract", "false", "fetch",
    "for", "from", "full", "group", "having", "in", "inner", "insert", "intersect", "interval", "into", "is", "join", "lateral",
    "left", "like", "limit", "natural", "not", "null", "offset", "on", "or", "order", "outer", "partition", "qualify", "right",
    "select", "set", "some", "struct", "substring", "table", "then", "top", "trim", "true", "union", "unique", "unnest", "update",
    "using", "values", "when", "where", "window", "with",
})  # fmt: skip
"""Names that some place of a statement takes for a word of its own."""


def dataset_name(text: str) -> str:
    """A DNS label of any text. Raises UsageInvalid where nothing is left of it."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-")
    if not name:
        raise UsageInvalid(f"no dataset can be named after `{text}`, which has no letter or digit.", remedy="Give it a name with --name.")
    return name


def spec_path(name: str) -> str:
    """The spec's file; the bucket's is lakehouse.yaml."""
    return f"specs/{name}.yaml" if name != "lakehouse" else "specs/data.yaml"


def dataset_text(name: str, file: str, found: Survey) -> str:
    """The specs of the file: a Dataset, and an Index if there is a column of long texts."""
    suffix = Path(file).suffix
    write = "replace" if named_format(file) in DOCUMENTS else "append"
    shown = "\n".join(f"#   {one_line(column.name)}: {column.type}   ({one_line(column.reason)})" for column in found.columns)
    text = f"""\
{EDITOR_LINE}
# {name}: every file that matches is followed, without a commit.
# Inferred, and checked value by value while reading; say `columns: {{NAME: TYPE}}` to decide otherwise:
{shown}
{_WRITES[write]}
apiVersion: lakehouse/v1
kind: Dataset
metadata: {{name: {in_yaml(name)}}}
spec:
  bucket: primary
  source: {{files: "data/{name}/*{suffix}"}}
  write: {write}
"""
    if found.text is not None:
        text += f"""\
---
# `{one_line(found.text)}` holds sentences: searchable by meaning.
apiVersion: lakehouse/v1
kind: Index
metadata: {{name: {in_yaml(name)}}}
spec:
  dataset: {in_yaml(name)}
  text: [{in_yaml(found.text)}]
  embed: {{model: builtin}}
"""
    return text


def first_query(name: str, found: Survey) -> str:
    """A question that shows what is in the table."""
    table = in_sql(name.replace("-", "_"))
    if found.group is None:
        return f"SELECT * FROM {table} LIMIT 5"
    column = in_sql(found.group)
    return f"SELECT {column}, count(*) AS row_count FROM {table} GROUP BY {column} ORDER BY row_count DESC, {column} LIMIT 5"


def in_sql(name: str) -> str:
    """The name of a table or column, quoted where it has to be."""
    plain = _PLAIN.fullmatch(name) and name not in _MEANT_BY_SQL
    return name if plain else '"' + name.replace('"', '""') + '"'


def in_yaml(text: str) -> str:
    """The text inside a flow collection; a file may be called 2024.csv, and a column `on`."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", text) and yaml.safe_load(text) == text:
        return text
    quoted: str = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=float("inf"))
    return quoted.strip()


def in_shell(text: str) -> str:
    """One argument, in double quotes where these leave it as it is."""
    return shlex.quote(text) if any(mark in text for mark in '"$`\\!') else f'"{text}"'
