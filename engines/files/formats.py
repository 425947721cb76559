"""The formats of source files, by the last suffix of a name, and which reader takes each. Facts only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Format = Literal["csv", "json", "parquet", "excel", "text", "markdown", "html", "pdf", "rows"]
"""What there is a reader for."""

FORMATS: Mapping[str, str] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "json",
    ".parquet": "parquet",
    ".xlsx": "excel",
    ".xlsm": "excel",
    ".xlsb": "excel",
    ".xls": "excel",
    ".ods": "excel",
    ".txt": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".pdf": "pdf",
}
"""What a spec calls the format of a file with this suffix."""

_READERS: Mapping[str, Format] = {
    "csv": "csv",
    "tsv": "csv",
    "ndjson": "json",
    "json": "json",
    "parquet": "parquet",
    "excel": "excel",
    "text": "text",
    "markdown": "markdown",
    "html": "html",
    "pdf": "pdf",
}
DOCUMENTS = frozenset({"text", "markdown", "html", "pdf"})
"""Formats whose rows say which file they are of."""
_WORK: Mapping[str, int] = {"pdf": 20, "excel": 5}


def work_of(path: str, size: int) -> int:
    """What a file of so many bytes is worth as a job's weight: in bytes of a CSV that take as long. A scanned page takes seconds."""
    return size * _WORK.get(named_format(path) or "", 1)


def reader_of(form: str) -> Format:
    """The reader of what a spec calls a format."""
    return _READERS[form]


def named_format(path: str) -> str | None:
    """What a spec calls the format that a file's name says (.gz aside), or None."""
    name = path.rpartition("/")[2].lower().removesuffix(".gz")
    dot = name.rfind(".")
    return FORMATS.get(name[dot:]) if dot > 0 else None


def format_of(path: str) -> Format | None:
    """The reader of the format that a file's name says (.gz aside), or None."""
    form = named_format(path)
    return None if form is None else reader_of(form)
