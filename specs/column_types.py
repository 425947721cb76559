"""The column types a spec may name: string, int64, float64, bool, date, timestamp, decimal(p,s), binary, list<T>."""

from __future__ import annotations

import re

from specs.errors import SpecInvalid
from specs.suggestions import nearest

SIMPLE = ("string", "int64", "float64", "bool", "date", "timestamp", "binary")
PATTERN = r"^(list<\s*)*(string|int64|float64|bool|date|timestamp|binary|decimal\(\s*\d{1,2}\s*,\s*\d{1,2}\s*\))(\s*>)*$"
_DECIMAL = re.compile(r"decimal\(\s*(\d{1,2})\s*,\s*(\d{1,2})\s*\)$")
_DEEPEST = 4
_SYNONYMS = {
    "text": "string", "str": "string", "varchar": "string", "char": "string", "utf8": "string", "uuid": "string",
    "int": "int64", "integer": "int64", "bigint": "int64", "long": "int64", "int32": "int64", "smallint": "int64",
    "float": "float64", "double": "float64", "real": "float64", "number": "float64", "float32": "float64",
    "boolean": "bool", "datetime": "timestamp", "time": "timestamp", "bytes": "binary", "blob": "binary",
    "numeric": "decimal(18,2)", "decimal": "decimal(18,2)", "money": "decimal(18,2)", "array": "list<string>", "list": "list<string>",
}  # fmt: skip


class ColumnTypeInvalid(SpecInvalid):
    """A text that is not a column type."""

    slug = "column-type-invalid"


def parse_column_type(text: str, depth: int = 0) -> str:
    """The canonical spelling (`decimal(10,2)`, `list<string>`). Raises ColumnTypeInvalid, with the nearest type as the remedy."""
    if text in SIMPLE:
        return text
    if match := _DECIMAL.fullmatch(text):
        precision, scale = int(match[1]), int(match[2])
        if not 1 <= precision <= 38 or scale > precision:
            raise ColumnTypeInvalid("needs a precision of 1 to 38 and a scale of at most the precision")
        return f"decimal({precision},{scale})"
    # cut, not matched: a pattern with blanks on either side of anything takes time by the square of the blanks, or worse
    if text.startswith("list<") and text.endswith(">") and depth < _DEEPEST:
        return f"list<{parse_column_type(text[5:-1].strip(), depth + 1)}>"
    known = _SYNONYMS.get(text.lower()) or nearest(text, SIMPLE)
    remedy = f"did you mean `{known}`?" if known else f"valid types: {', '.join(SIMPLE)}, decimal(p,s), list<T>"
    raise ColumnTypeInvalid("must be a column type", remedy=remedy)
