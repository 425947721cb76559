"""Rows as CSV (RFC 4180), the way this lakehouse reads it: null is an empty cell, an empty string is `""`.

The standard library's writer cannot tell these two apart, which is why this exists. Next: `query.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

_QUOTED = re.compile(r'^$|[",\r\n]|^\s|\s$')


def csv_text(names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A header and the rows, lines ended by LF. Values are JSON's; lists and objects become JSON text."""
    lines = [",".join(_text(name) for name in names)]
    lines += [",".join([_cell(row[name]) for name in names]) for row in rows]
    lines.append("")
    return "\n".join(lines)


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case str():
            return _text(value)
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case _:
            return _text(orjson.dumps(value).decode())


def _text(value: str) -> str:
    return '"' + value.replace('"', '""') + '"' if _QUOTED.search(value) else value
