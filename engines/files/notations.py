"""Dates and numbers as people write them: 31.12.2024 and 12/31/2024, 1.234,56. What they mean is decided for a column, over all its values.

A date's order is certain only where some value can be read in one order alone, and none in the other alone; a comma stands before decimals
only where some value cannot mean thousands. Where all values are ambiguous the column is text, unless the spec names the notation. Nothing
is read loosely: every value of a column must be written in its notation. Years have four digits. Next: `inference.py`, who asks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from engines.files import shapes
from engines.files.conversion import Unfit
from engines.files.shapes import form

Notation = Literal["DMY", "MDY", "YMD", "comma"]

_TIME = r"(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)?"
_LAST_YEAR = "^(?:{})$".format("|".join(rf"[0-9]{{1,2}}{mark}[0-9]{{1,2}}{mark}[0-9]{{4}}{_TIME}" for mark in (r"\.", "/", "-")))
_FIRST_YEAR = "^(?:{})$".format("|".join(rf"[0-9]{{4}}{mark}[0-9]{{1,2}}{mark}[0-9]{{1,2}}{_TIME}" for mark in (r"\.", "/")))
_COMMA = r"^-?(?:[1-9][0-9]{0,2}(?:\.[0-9]{3})+|0|[1-9][0-9]*)(?:,[0-9]+)?$"
_GRAMMARS: Mapping[Notation, str] = {"DMY": _LAST_YEAR, "MDY": _LAST_YEAR, "YMD": _FIRST_YEAR, "comma": _COMMA}
_ISO: Mapping[Notation, tuple[str, str]] = {
    "DMY": (r"^([0-9]+)[./-]([0-9]+)[./-]([0-9]+)", r"\3-\2-\1"),
    "MDY": (r"^([0-9]+)[./-]([0-9]+)[./-]([0-9]+)", r"\3-\1-\2"),
    "YMD": (r"^([0-9]+)[./]([0-9]+)[./]([0-9]+)", r"\1-\2-\3"),
}
_last_year = re.compile(_LAST_YEAR).match
_first_year = re.compile(_FIRST_YEAR).match
_comma = re.compile(_COMMA).match
_grouped = re.compile(r"-?[1-9][0-9]{0,2}(?:\.[0-9]{3})+").fullmatch
_parts = re.compile(r"[./\- T]").split
_EITHER = "DMY or MDY"
_ORDERS = frozenset({"DMY", "MDY", "YMD", _EITHER})
_THOUSANDS = "comma or thousands"


class Decided(NamedTuple):
    """type: of the column; notation: of its values, None where they stay text; why: for people."""

    type: str
    notation: Notation | None
    why: str


def kind_of(text: str) -> str | None:
    """A kind as `Evidence` counts it, of a text that is no value by itself: "date DMY", "timestamp DMY or MDY", "number comma", …"""
    if len(text) > shapes.SHOWN or not (text[0].isdecimal() or text[0] == "-"):
        return None
    if "," in text:
        return _number_kind(text) if _comma(text) else None
    if _last_year(text):
        first, second, year, *time = _parts(text, 3)
        orders = [order for order, day, month in (("DMY", first, second), ("MDY", second, first)) if _exists(year, month, day, time)]
        return f"{_moment(time)} {' or '.join(orders)}" if orders else None
    if _first_year(text):
        year, month, day, *time = _parts(text, 3)
        return f"{_moment(time)} YMD" if _exists(year, month, day, time) else None
    return None


def is_grouped(text: str) -> bool:
    """Whether a decimal number would be a whole one, with points between thousands, where a comma stands before decimals."""
    return _grouped(text) is not None


def decide(kinds: Mapping[str, int], examples: Mapping[str, object], grouped: int, said: Notation | None) -> Decided | None:
    """What a column is of which some values are in such a notation; None where none is, or the values have nothing in common.

    kinds, examples: of all values. grouped: how many of the float64 ones `is_grouped`. said: by the spec.
    """
    moments = {kind for kind in kinds if kind.partition(" ")[2] in _ORDERS}
    if moments:
        return _decide_moments(kinds, examples, said) if moments == set(kinds) else None
    commas = {kind for kind in kinds if kind.startswith("number ")}
    if not commas or set(kinds) - commas - {"int64", "float64"} or kinds.get("float64", 0) != grouped:
        return None
    if "number comma" in commas or said == "comma":
        return Decided("float64", "comma", "decimal numbers with a comma before the decimals")
    example = form(examples[f"number {_THOUSANDS}"])
    return Decided("string", None, f"text, since the comma in {example} may stand before decimals or thousands, and no value says which")


def plain(column: pa.Array, notation: Notation) -> pa.Array:
    """A string column as ISO dates, or numbers with a point before the decimals. Raises Unfit for a value in no such notation."""
    matches = pc.or_(pc.equal(column, ""), pc.match_substring_regex(column, _GRAMMARS[notation]))
    missed = pc.index(matches, False).as_py()
    if missed >= 0:
        raise Unfit(missed, column[missed].as_py())
    if notation == "comma":
        return pc.replace_substring(pc.replace_substring(column, ".", ""), ",", ".")
    iso = pc.replace_substring_regex(column, *_ISO[notation])
    for short in (r"^([0-9]+)-([0-9])-", r"^([0-9]+-[0-9]{2})-([0-9])( |T|$)"):
        iso = pc.replace_substring_regex(iso, short, r"\1-0\2-" if short.endswith("-") else r"\1-0\2\3")
    return iso


def hint(name: str, kind: str, value: object) -> str:
    """A clause for a value that is no `kind` as it stands, and would be in a notation that the spec can name; "" for others."""
    found = kind_of(value) if isinstance(value, str) and value else None
    moment, _, order = (found or "").partition(" ")
    if kind not in ("date", "timestamp") or moment not in ("date", "timestamp"):
        return ""
    said, _, other = order.partition(" or ")
    return f"; `columns: {{{name}: {{format: {said}}}}}`" + (f" (or {other})" if other else "") + " in the spec would read it"


def remedy(name: str, value: str) -> str | None:
    """What to say in the spec of a value that may be in more than one notation."""
    kind = kind_of(value) or ""
    if _EITHER in kind:
        return f"Say `columns: {{{name}: {{format: DMY}}}}` (or MDY) in the Dataset's spec."
    return f"Say `columns: {{{name}: {{format: comma}}}}` in the Dataset's spec, if it is so." if _THOUSANDS in kind else None


def _decide_moments(kinds: Mapping[str, int], examples: Mapping[str, object], said: Notation | None) -> Decided | None:
    types = {kind.partition(" ")[0] for kind in kinds}
    orders = {kind.partition(" ")[2] for kind in kinds}
    if len(types) > 1:
        return None
    kind, certain = types.pop(), orders - {_EITHER}
    if said in ("DMY", "MDY", "YMD") and certain - {said}:
        example = form(examples[f"{kind} {min(certain - {said})}"])
        return Decided("string", None, f"text, since {example} is not written {_IN_WORDS[said]}, as the spec says")
    if not certain and said in ("DMY", "MDY"):
        certain = {said}
    if len(certain) == 1 and orders <= {_EITHER, *certain} and not (certain == {"YMD"} and _EITHER in orders):
        order = certain.pop()
        notation: Notation = "DMY" if order == "DMY" else "MDY" if order == "MDY" else "YMD"
        return Decided(kind, notation, f"{kind}s written {_IN_WORDS[notation]}")
    if not certain:
        example = form(examples[f"{kind} {_EITHER}"])
        why = f"text, since {example} may have the day or the month first, and no value says which; say `format: DMY` or `MDY`"
        return Decided("string", None, why)
    shown = " and ".join(form(examples[f"{kind} {order}"]) for order in sorted(certain))
    return Decided("string", None, f"text, since {shown} have their parts in different orders")


_IN_WORDS: Mapping[Notation, str] = {"DMY": "day, month, year", "MDY": "month, day, year", "YMD": "year, month, day"}


def _number_kind(text: str) -> str | None:
    if not shapes.is_exact(text.replace(".", "").replace(",", ".")):
        return None
    whole, _, decimals = text.lstrip("-").partition(",")
    certain = "." in whole or whole == "0" or len(whole) > 3 or len(decimals) != 3
    return "number comma" if certain else f"number {_THOUSANDS}"


def _exists(year: str, month: str, day: str, time: list[str]) -> bool:
    date = f"{year}-{month:0>2}-{day:0>2}"
    return shapes.is_instant(f"{date}T{time[0]}") if time else shapes.is_day(date)


def _moment(time: list[str]) -> str:
    return "timestamp" if time else "date"
