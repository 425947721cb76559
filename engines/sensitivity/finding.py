"""Decides what a column holds, by a sample of its distinct values, its name, and the columns beside it. Pure, deterministic.

An entity is found where the column's name says it and enough values bear it out; or where values alone do: so many pass pattern and check
that look-alikes hardly would, and most of what matches the pattern passes the check. A generic name (`name`, `manager`) counts where
values look like persons' and some are given names, or where the other columns, or the dataset's own name, are about people.

The share of a finding is that of the sampled distinct values that match. Nothing of a value is in what is returned.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engines.sensitivity.entities import ENTITIES, PERSON, Entity, is_given_name, said
from engines.sensitivity.names import PEOPLE, ColumnName
from state.profiles import Finding

LONGEST = 1_000
"""Characters of a value that are looked at."""
MOST_CHARACTERS = 200_000
"""Of all values of a column together."""
_IMPROBABLE = 2e-3
_GIVEN_NAMES = 0.15
"""The share of given names among values of a column that may hold persons."""
_COVERS = {"iban": ("bank account",), "credit card": ("bank account",), "ip address": ("address",), "email": ("address", "person name")}
"""Entities that say more exactly what others say of the same values."""
_LATIN = re.compile("[A-Za-z]")
_TYPES = ("string", "int64", "float64", "date", "timestamp")


@dataclass(frozen=True, slots=True)
class Sample:
    """Some of a column's distinct values, as texts; none of them null or empty."""

    name: str
    type: str
    values: Sequence[str]


def find(columns: Sequence[Sample], dataset: str = "") -> dict[str, tuple[Finding, ...]]:
    """Of each column that holds something sensitive, what; the most frequent first."""
    found = {column.name: tuple(_of_column(column)) for column in columns}
    of_people = ColumnName.of(dataset).says(PEOPLE) or any(
        finding.entity in ("email", "phone", "ssn", "date of birth", "person name") for findings in found.values() for finding in findings
    )
    for column in columns:
        if not found[column.name]:
            found[column.name] = tuple(_generic(column, of_people=of_people))
    return {name: tuple(sorted(findings, key=lambda each: -each.share)) for name, findings in found.items() if findings}


def _of_column(column: Sample) -> Iterator[Finding]:
    if column.type not in _TYPES and not column.type.startswith("decimal"):
        return
    looked = _looked_at(column)
    names, text = said(column.name).entities, "\n".join(looked)
    found = (_one(entity, column, looked, text, named=entity.name in names) for entity in ENTITIES)
    findings = [finding for finding in found if finding is not None]
    covered = {other for finding in findings if finding.share >= 0.5 for other in _COVERS.get(finding.entity, ())}
    yield from (finding for finding in findings if finding.entity not in covered)


def _looked_at(column: Sample) -> list[str]:
    room = MOST_CHARACTERS
    values = []
    for value in column.values:
        if room <= 0:
            break
        values.append(value[:LONGEST].replace("\n", " "))
        room -= len(values[-1]) + 1
    return values


def _one(entity: Entity, column: Sample, values: Sequence[str], text: str, *, named: bool) -> Finding | None:
    """text: all values, a line each, by which most entities are ruled out at once."""
    if entity.text and column.type != "string":
        return None
    if named:
        share = _share_named(entity, values)
        if not values:
            return Finding(entity.name, entity.sensitivity, 0.0, 0, f"its name says {entity.says}; it has no values yet")
        if share >= entity.named_share:
            words = f"its name, and {_percent(share)} of {_values(values)} look like {entity.says}"
            return Finding(entity.name, entity.sensitivity, round(share, 4), len(values), words)
    if entity.pattern is None or not values or column.type in ("date", "timestamp", "float64"):
        return None
    if entity.pattern.search(text) is None:
        return None
    alone = _share_alone(entity, values)
    if alone is None:
        return None
    words = f"{_percent(alone)} of {_values(values)} {'are' if entity.check else 'look like'} {entity.says}"
    return Finding(entity.name, entity.sensitivity, round(alone, 4), len(values), words)


def _share_named(entity: Entity, values: Sequence[str]) -> float:
    """The share of values that bear out what the name says."""
    pattern, check = (
        (entity.named, entity.named_check) if entity.named is not None else (entity.pattern, entity.named_check or entity.check)
    )
    assert pattern is not None
    passed = sum((match := pattern.search(value)) is not None and (check is None or check(match[0])) for value in values)
    return passed / max(len(values), 1)


def _share_alone(entity: Entity, values: Sequence[str]) -> float | None:
    """The share of values that pass; None where they may be look-alikes."""
    assert entity.pattern is not None
    matches = [match[0].strip() for value in values if (match := entity.pattern.search(value)) is not None]
    passed = [match for match in matches if entity.check is None or entity.check(match)]
    share = len(passed) / len(values)
    if not passed or share < entity.share or len(passed) < entity.pure * len(matches):
        return None
    if entity.chance ** len(passed) > _IMPROBABLE or len({match[0] for match in passed}) < entity.variety:
        return None
    return share


def _generic(column: Sample, *, of_people: bool) -> Iterator[Finding]:
    """A column whose name may mean persons."""
    if column.type != "string" or not said(column.name).persons or not (values := _looked_at(column)):
        return
    share = _share_named(PERSON, values)
    given = sum(map(is_given_name, values)) / len(values)
    # of names in other scripts none is known: then what is beside them decides
    told = given > 0 or not any(map(_LATIN.search, values))
    if share >= PERSON.named_share and (told if of_people else given >= _GIVEN_NAMES):
        beside = ", the columns beside it are about people" if of_people else ""
        words = f"{_percent(share)} of {_values(values)} look like {PERSON.says}, {_percent(given)} have a common given name{beside}"
        yield Finding(PERSON.name, PERSON.sensitivity, round(share, 4), len(values), words)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "under 1%"


def _values(values: Sequence[str]) -> str:
    return f"{len(values)} sampled value{'s' if len(values) != 1 else ''}"
