"""Where a Dataset's rows come from: files of the repository's machine, a bucket, PostgreSQL, or other datasets."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from specs.kinds.bucket import Secret
from specs.model import Fault, Part, refuse
from specs.scalars import Duration, Name, OneOrMany, Opt, Sequence, Text, plain_path
from specs.wording import found


def _encoding(text: str) -> str:
    try:
        return codecs.lookup(text).name
    except (LookupError, ValueError):
        # a NUL in the name is a ValueError
        raise refuse(f"must be an encoding; found {found(text)}", "write it as in utf-8, latin-1 or cp1252") from None


def _glob(pattern: str) -> str:
    if pattern.startswith("/") or ".." in pattern.split("/"):
        raise refuse(
            f"must be relative and without `..`; found {found(pattern)}", "paths count from the repository's root, or from --data-root"
        )
    plain = plain_path(pattern)
    if plain == ".":
        raise refuse(f"names no file; found {found(pattern)}", "write it as in data/candidates/*.csv")
    return plain


_CSV = ("csv", "tsv")
_DESCRIBES = {
    "delimiter": ("a CSV", _CSV),
    "header": ("a CSV or a sheet", (*_CSV, "excel")),
    "nulls": ("a CSV, a JSON file or a sheet", (*_CSV, "ndjson", "json", "excel")),
    "sheet": ("a workbook", ("excel",)),
    "ocr": ("a PDF", ("pdf",)),
}
"""What a field says something about, and the formats of that."""
_BINARY = ("parquet", "excel", "pdf")
_TABLE = re.compile(r'(?:[^\W\d][\w$]*|"(?:[^"\0]|"")+")(?:\.(?:[^\W\d][\w$]*|"(?:[^"\0]|"")+")){0,2}')
"""One to three identifiers as PostgreSQL has them, bare or in double quotes."""


def _header(value: Any) -> Any:
    if isinstance(value, bool) or (isinstance(value, int) and value >= 1):
        return value
    raise refuse(f"needs true, false, or the number of the row that names the columns; found {found(value)}", "write it as in true or 3")


Encoding = Annotated[str, AfterValidator(_encoding)]
Glob = Annotated[str, Field(min_length=1), AfterValidator(_glob)]


def _table(text: str) -> str:
    if _TABLE.fullmatch(text) is None:
        raise refuse(f"must be a table's name, with its schema or without; found {found(text)}", "write it as in public.team_runs")
    return text


class Postgres(Part):
    """Rows of a PostgreSQL table or query."""

    one_of: ClassVar = ("table", "query")

    dsn: Secret = Field(description="The secret that holds the connection string.")
    table: Opt[Annotated[str, AfterValidator(_table)]] = Field(
        default=None, description="The table, with its schema, as in public.team_runs."
    )
    query: Opt[Text] = Field(default=None, description="A query whose rows are the dataset.")
    cursor: Opt[Text] = Field(default=None, description="A column that only grows with changes: later reads ask for newer rows only.")
    overlap: Duration = Field(
        default=timedelta(0), description="How far before the last cursor value a read begins again, for rows that were committed late."
    )

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Fault]:
        """An overlap is of a cursor."""
        if "overlap" in given and "cursor" not in given:
            yield Fault("`overlap` needs `cursor`", ("overlap",))


class Source(Part):
    """Where the rows come from: exactly one of files, bucket, postgres, sql; and how files are read."""

    one_of: ClassVar = ("files", "bucket", "postgres", "sql")
    _of_files: ClassVar = ("format", "encoding", "delimiter", "header", "nulls", "sheet", "ocr")

    files: OneOrMany[Glob] = Field(
        default=(), description="One glob or several, relative to the repository's root, as in data/candidates/*.csv."
    )
    bucket: Opt[Name] = Field(default=None, description="A Bucket whose objects are the files.")
    prefix: str = Field(default="", description="With `bucket`: the objects' keys begin with this, as in incoming/.")
    postgres: Opt[Postgres] = Field(default=None, description="A PostgreSQL table or query.")
    sql: Opt[Text] = Field(default=None, description="A query over other datasets; it runs again when they change.")
    format: Opt[Literal["csv", "tsv", "ndjson", "json", "parquet", "excel", "text", "markdown", "html", "pdf"]] = Field(
        default=None, description="The files' format; left out, told by their names."
    )
    encoding: Opt[Encoding] = Field(
        default=None, description="The files' text encoding; left out, detected: a byte order mark, UTF-8, else cp1252 with a warning."
    )
    delimiter: Opt[Annotated[str, Field(min_length=1, max_length=1)]] = Field(
        default=None, description="The character between the cells of a CSV; left out, detected."
    )
    header: Opt[Annotated[bool | Annotated[int, Field(ge=1)], BeforeValidator(_header)]] = Field(
        default=None,
        description="Whether the first row of a CSV or a sheet names the columns, or which one does, by its number: those above it are "
        "passed over. Left out, it is the first below what plainly is a title, and none in a CSV that begins with data.",
        examples=[3],
    )
    nulls: Opt[Sequence[Text]] = Field(
        default=None,
        description="The texts of a CSV, a JSON file or a sheet that stand for no value, exactly, in every column; left out, N/A, NULL, a "
        "dash and the like are, where a column's other values are no text.",
        examples=[["N/A", "-"]],
    )
    sheet: Opt[Text] = Field(default=None, description="The sheet of a workbook; left out, the first visible one that is not empty.")
    ocr: Opt[bool] = Field(
        default=None,
        description="Whether pages of a PDF that are only pictures are read by the program `tesseract`; left out, where it is installed.",
    )

    @property
    def in_files(self) -> bool:
        """Whether the rows come in files, which are bound by their contents."""
        return self.postgres is None and self.sql is None

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Fault]:
        """What describes files has no place beside other sources, nor beside a format that has no use for it."""
        if "prefix" in given and "bucket" not in given:
            yield Fault("`prefix` needs `bucket`", ("prefix",))
        prefix = given.get("prefix")
        if isinstance(prefix, str) and not {"", ".", ".."}.isdisjoint(prefix.split("/")[:-1]):
            yield Fault(f"`prefix` begins no key; found {found(prefix)}", ("prefix",), "write it as in incoming/2026/")
        if "files" not in given and "bucket" not in given:
            for name in cls._of_files:
                if name in given:
                    yield Fault(f"`{name}` describes files, and needs `files` or `bucket`", (name,))
        form = given.get("format")
        for name, (what, forms) in _DESCRIBES.items():
            if name in given and form not in (None, *forms):
                yield Fault(f"`{name}` describes {what}, and has no meaning for `format: {form}`", (name,), "remove one of the two")
        if "encoding" in given and form in _BINARY:
            yield Fault(f"`encoding` describes text, and has no meaning for `format: {form}`", ("encoding",), "remove it")
