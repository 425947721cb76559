"""What of a contract means something for the columns that a file and its table have.

A required column must be there: every row of a file without it would break the rule, which says the same a million times; but a JSON
record may lack what another one has. Other rules about columns that neither file nor table has are passed over, and told of as a warning
by `batch.py`, as is a type for such a column. What can never be judged, as the range of a text, refuses the file: the contract is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from engines.files.contract import Bounds, Reference, Terms
from engines.files.source import ColumnPlan, SourceFile
from engines.files.types import arrow_type
from specs.suggestions import nearest

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Applied:
    """The rules that there are columns for; required ones may lack theirs in JSON."""

    required: tuple[str, ...]
    unique: tuple[tuple[str, ...], ...]
    ranges: Mapping[str, Bounds]
    references: tuple[Reference, ...]


def applicable(
    terms: Terms, required: Sequence[str], source: SourceFile, plans: Mapping[str, ColumnPlan], types: Mapping[str, str]
) -> Applied:
    """types: of all columns of file and table. Raises FileRefused."""
    for name in required:
        if name not in plans and source.format != "json" and terms.on_violation != "warn":
            raise _lacking(source, name, list(plans))
    ranges = {name: bounds for name, bounds in terms.ranges.items() if name in types and bounds != Bounds()}
    for name in ranges:
        kind = arrow_type(types[name])
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
            remedy = f"Say `columns: {{{name}: float64}}`, or write a check instead, as in `{name} >= '2020-01-01'`."
            raise source.refused(None, f"`contract.ranges` names `{name}`, which is {types[name]} and no number", remedy=remedy)
    unique = tuple(group for group in terms.unique if set(group) <= types.keys())
    references = tuple(reference for reference in terms.references if reference.column in types)
    for name in (*(name for group in unique for name in group), *(reference.column for reference in references)):
        if types[name].startswith("list<") or types[name] == "binary":
            where = "references" if name in {reference.column for reference in references} else "unique"
            raise source.refused(
                None, f"`contract.{where}` names `{name}`, which is {types[name]}", remedy="Name a column of single values."
            )
    return Applied(tuple(required), unique, ranges, references)


def unused(terms: Terms, known: Sequence[str], noun: str = "file") -> list[str]:
    """Sentences on rules about columns that there are nowhere so far. noun: see `SourceFile`."""
    named = {
        "required": terms.required,
        "unique": tuple(name for group in terms.unique for name in group),
        "ranges": tuple(terms.ranges),
        "references": tuple(reference.column for reference in terms.references),
    }
    found = []
    for rule, names in named.items():
        for name in dict.fromkeys(names):
            if name not in known:
                meant = nearest(name, known)
                lacking = "no file has so far" if noun == "file" else f"the {noun} does not have"
                found.append(f"`contract.{rule}` names `{name}`, which {lacking}" + (f": is it `{meant}`?" if meant else ""))
    return found


def _lacking(source: SourceFile, name: str, has: Sequence[str]) -> Exception:
    meant = nearest(name, has)
    shown = ", ".join(has[:_SHOWN]) or "none"
    noun = source.noun
    remedy = (f"Is it `{meant}`? " if meant else "") + f"Add it to the {noun}, or take it out of the contract and of `nullable: false`."
    return source.refused(None, f"column `{name}` is required, and the {noun} lacks it; it has {shown}", remedy=remedy)
