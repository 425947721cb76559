"""Which texts are values of a type, conservatively: reading a text as that type and writing it again must lose nothing that matters.

    int64      at most 18 digits, no leading zero, no plus sign
    float64    the same before the point; the binary number's shortest decimal equals the text's value; an exponent only with a sign
               (`1e-05`; `12E4` is a code)
    bool       true and false (True, TRUE, …); not 1, 0, yes
    date       YYYY-MM-DD, a day that exists
    timestamp  YYYY-MM-DD[T ]HH:MM[:SS[.ffffff]], with a zone (then kept as UTC) or without

Anything else is text. Pure: no pyarrow, no I/O. The patterns are RE2-compatible, since `conversion.py` runs them over whole columns.
Next: `inference.py`, which decides for a column what `kind_of` says about its values.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from math import isfinite

INTEGER = r"^(?:0|-?[1-9][0-9]{0,17})$"
FLOAT = r"^-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-][0-9]{1,3})?$"
BOOLEAN = r"^(?:true|false|True|False|TRUE|FALSE)$"
DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
TIMESTAMP = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?$"
PATTERNS = {"int64": INTEGER, "float64": FLOAT, "bool": BOOLEAN, "date": DATE, "timestamp": TIMESTAMP}

ZONED = "timestamp with zone"
EXACT_DIGITS = 15
"""Any decimal of so many significant digits survives float64. Source: IEEE 754, DBL_DIG."""
SHOWN = 40

_integer = re.compile(INTEGER).match
_float = re.compile(FLOAT).match
_boolean = re.compile(BOOLEAN).match
_date = re.compile(DATE).match
_timestamp = re.compile(TIMESTAMP).match
_zone = re.compile(r"(?:Z|[+-][0-9]{2}:?(?:[0-9]{2})?)$").search


def kind_of(text: str) -> str:
    """int64, float64, bool, date, timestamp, ZONED or string: the narrowest type of which a non-empty text surely is a value."""
    if len(text) <= SHOWN:
        first = text[0]
        if first in "-.0123456789":
            return _kind_of_digits(text)
        if first in "tTfF" and _boolean(text):
            return "bool"
    return "string"


def _kind_of_digits(text: str) -> str:
    if _integer(text):
        return "int64"
    if _float(text):
        return "float64" if is_exact(text) else "string"
    if _date(text):
        return "date" if is_day(text) else "string"
    if _timestamp(text) and is_instant(text):
        return ZONED if _zone(text, 16) else "timestamp"
    return "string"


def is_exact(text: str) -> bool:
    """Whether a decimal number's text survives float64."""
    if len(text) <= EXACT_DIGITS and "e" not in text and "E" not in text:
        return True
    number = float(text)
    try:
        return isfinite(number) and Decimal(repr(number)) == Decimal(text)
    except InvalidOperation:  # an exponent beyond any
        return False


def is_day(text: str) -> bool:
    """Whether YYYY-MM-DD is a day between the years 1 and 9999."""
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def is_instant(text: str) -> bool:
    """Whether an ISO date and time exists, between the years 1 and 9999."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def fits(text: str, kind: str) -> bool:
    """Whether a non-empty text is surely a value of kind, which may be wider than the text needs (`3` as float64)."""
    found = kind_of(text)
    if found == kind or kind == "string":
        return True
    if kind == "float64":
        return found == "int64" and is_exact(text)
    return kind == "timestamp" and found == ZONED


def shorten(value: object) -> str:
    """A value as an error message shows it: one line of text, in backticks, at most SHOWN characters."""
    text = str(value)[: 2 * SHOWN].encode(errors="replace").decode()
    text = text.replace("\r", "\\r").replace("\n", "\\n").replace("\0", "\\0")
    return f"`{text}`" if len(text) <= SHOWN else f"`{text[: SHOWN - 1]}…`"


def form(value: object) -> str:
    """A value as a message shows it that must not tell it: letters as `a` and `A`, digits as 9, but for a zero that leads others."""
    text = str(value)[: 2 * SHOWN]
    plain = "".join("9" if character.isnumeric() else _letter(character) for character in text)
    return shorten("0" + plain[1:] if text[:1] == "0" and text[1:2].isnumeric() else plain)


def _letter(character: str) -> str:
    return character if not character.isalpha() else "A" if character.isupper() else "a"
