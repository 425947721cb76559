"""What a dataset says about itself: the spec's words, what was found in its rows, and what may be shown of them.

A spec's word about a column overrides what was found there, now or in a former version that is kept; its word about the whole dataset is
added to it, but for `public`, which says that nothing in it is sensitive. Values (least, greatest, examples) are told of columns that are
not sensitive only, of none where a policy governs the dataset, and of none while a profile cannot be read: descriptions are open to readers
from whom rows are hidden. A sketch of distinct values never leaves this room.

Pure, but for `Descriptions`, which reads profiles. Next: `profiles.py`, `drafting.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from threading import Lock
from typing import Any, TypeAlias, get_args

from specs.scalars import Sensitivity
from state.catalog.data_files import ColumnStats, Scalar
from state.catalog.fold import ObjectState
from state.catalog.schemas import Column
from state.catalog.tables import Table
from state.drafting import Drafter, Facts, by_template
from state.former_columns import Past, pasts, stats_of
from state.profiles import EXAMPLES, ColumnProfile, Finding, Profiles, TableProfile

CLASSES: tuple[str, ...] = get_args(Sensitivity)
"""In the order in which they are told."""
PUBLIC = "public"
SPEC = "the spec says so"
REMEMBERED = 1024
"""Descriptions that are kept: of a table of a thousand files one takes 6 ms to be made."""


@dataclass(frozen=True, slots=True)
class ColumnDescription:
    """A column of the present schema.

    Args:
        sensitivity: classes; empty where nothing sensitive is known.
        evidence: why, one sentence an entity; `entities`: what was found, whatever the spec says.
        null_share: in [0, 1]; `distinct`: about how many values. None where it is not known.
        low, high, examples: values, where they may be shown.
    """

    name: str
    type: str
    description: str | None = None
    sensitivity: tuple[str, ...] = ()
    evidence: str | None = None
    entities: tuple[str, ...] = ()
    null_share: float | None = None
    distinct: int | None = None
    low: Scalar = None
    high: Scalar = None
    examples: tuple[str, ...] = ()

    @property
    def sensitive(self) -> bool:
        """Whether its values are kept out of descriptions."""
        return bool(set(self.sensitivity) - {PUBLIC})


@dataclass(frozen=True, slots=True)
class Description:
    """A dataset in words. drafted: nobody wrote the description; sensitivity: classes of the whole and of its columns; complete: all that
    its rows were looked through for could be read."""

    owner: str | None
    description: str
    drafted: bool
    tags: tuple[str, ...]
    sensitivity: tuple[str, ...]
    columns: tuple[ColumnDescription, ...]
    complete: bool = True


Describe: TypeAlias = Callable[[ObjectState], Description]


class Descriptions:
    """Describes datasets of the catalog. Thread-safe, blocking."""

    def __init__(self, profiles: Profiles, drafter: Drafter = by_template) -> None:
        self._profiles = profiles
        self.drafter = drafter
        """Of descriptions that nobody wrote."""
        self.drafted_by: Callable[[str], Sequence[str]] = lambda dataset: ()
        """The models that the drafter may ask about a dataset: where there are any, it may say something else the next time."""
        self._known: OrderedDict[str, tuple[ObjectState, TableProfile, Sequence[str], Description]] = OrderedDict()
        self._lock = Lock()

    def __call__(self, state: ObjectState) -> Description:
        """Of an object that has a table. The same for the same state, as long as no more of its profiles can be read."""
        assert state.table is not None
        profile = self._profiles.of(state.table)
        with self._lock:
            known = self._known.get(state.object)
        by = self.drafted_by(state.table.name)
        if known is not None and known[0] is state and known[1] == profile and (known[2] == by == () or not known[3].drafted):
            return known[3]
        told = describe(state, profile, self.drafter)
        with self._lock:
            self._known[state.object] = state, profile, by, told
            self._known.move_to_end(state.object)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return told


def describe(state: ObjectState, profile: TableProfile, drafter: Drafter = by_template) -> Description:
    """state: of an object that has a table."""
    table, about = state.table, state.managed.about if state.managed is not None else {}
    assert table is not None
    whole, said = tuple(about.get("sensitivity", ())), about.get("columns", {})
    shown = profile.complete and not state.governed
    stats = _statistics(table)
    known = {name: _profile(past, profile) for name, past in pasts(table).items()}
    columns = tuple(
        _column(column, said.get(column.name, {}), whole, known[column.name], stats.get(column.name), table.rows, shown=shown)
        for column in table.columns
    )
    classes = {*whole, *(each for column in columns for each in column.sensitivity)}
    words = about.get("description")
    return Description(
        owner=about.get("owner"),
        description=words or drafter(facts(table, columns, about)),
        drafted=not words,
        tags=tuple(about.get("tags", ())),
        sensitivity=_ordered(classes - {PUBLIC} or classes),
        columns=columns,
        complete=profile.complete,
    )


def _profile(past: Past, whole: TableProfile) -> ColumnProfile | None:
    """Of a column under all of its names, with what was found in those that it was computed from, and in former versions: what they hold
    can still be read, under the masks of now."""
    profiles, names = whole.columns, sorted(past.names | past.sources)
    own = [profiles[name] for name in sorted(past.names) if name in profiles]
    former = ({entity: _then(finding) for entity, finding in whole.former.get(name, {}).items()} for name in names)
    found = [*former, *(profiles[name].findings for name in names if name in profiles)]
    findings = {entity: finding for each in found for entity, finding in each.items()}
    if len(own) == 1 and own[0].findings == findings:
        return own[0]
    if not own and not findings:
        return None
    examples = tuple(dict.fromkeys(example for each in own for example in each.examples))[:EXAMPLES] if not findings else ()
    distinct = own[0].distinct if len(own) == 1 else None
    return ColumnProfile(sum(each.rows for each in own), sum(each.nulls for each in own), distinct, examples, findings)


def _then(finding: Finding) -> Finding:
    return replace(finding, evidence=f"in a former version, {finding.evidence}")


def _ordered(classes: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(classes, key=CLASSES.index))


def facts(table: Table, columns: Sequence[ColumnDescription], about: Mapping[str, Any]) -> Facts:
    """What a description is drafted of."""
    sensitive: dict[str, dict[str, tuple[str, ...]]] = {kind: {} for kind in CLASSES}
    for column in columns:
        for kind in column.sensitivity if column.sensitive else ():
            sensitive[kind][column.name] = column.entities
    source = about.get("source", {})
    in_files = not source.keys() & {"postgres", "sql"}
    word = "query" if not in_files else "object" if "bucket" in source else "file"
    return Facts(
        name=table.name, rows=table.rows, columns=[(column.name, column.type) for column in columns], key=table.primary_key,
        sources=len(table.bindings) if in_files else 1, source=word, sensitive=sensitive, merged=table.merged,
        examples={column.name: column.examples for column in columns if column.examples},
    )  # fmt: skip


def _column(
    column: Column,
    said: Mapping[str, Any],
    whole: Sequence[str],
    profile: ColumnProfile | None,
    stats: ColumnStats | None,
    rows: int,
    *,
    shown: bool,
) -> ColumnDescription:
    findings = sorted(profile.findings.values(), key=lambda each: -each.share) if profile is not None else []
    found = {each.sensitivity for each in findings}
    if said.get("sensitivity"):
        classes, evidence = set(said["sensitivity"]), SPEC
    elif PUBLIC in whole:
        classes, evidence = {PUBLIC}, SPEC
    else:
        classes, evidence = found, "; ".join(each.evidence for each in findings)
    sensitive = bool(classes - {PUBLIC}) or bool(set(whole) - {PUBLIC})
    values = shown and profile is not None and not sensitive
    counted = profile is not None and profile.rows > 0
    return ColumnDescription(
        name=column.name,
        type=column.type,
        description=said.get("description"),
        sensitivity=_ordered(classes),
        evidence=evidence or None,
        entities=tuple(each.entity for each in findings),
        null_share=_share(profile, stats, rows) if counted or stats is not None else None,
        distinct=profile.distinct if profile is not None else None,
        low=stats.min if values and stats is not None else None,
        high=stats.max if values and stats is not None else None,
        examples=profile.examples if values and profile is not None else (),
    )


def _share(profile: ColumnProfile | None, stats: ColumnStats | None, rows: int) -> float | None:
    nulls, of = (stats.nulls, rows) if stats is not None else (profile.nulls, profile.rows) if profile is not None else (0, 0)
    return round(min(nulls / of, 1.0), 6) if of else None


def _statistics(table: Table) -> dict[str, ColumnStats]:
    """Of each column over all files that have it; rows of files that lack it are null."""
    found: dict[str, ColumnStats] = {}
    past = pasts(table)
    for column in table.columns:
        told = list(zip(table.readable, stats_of(table, column, table.readable), strict=True))
        parts = [stats for _, stats in told if stats is not None]
        lacking = sum(file.rows for file, stats in told if stats is None and file.columns)
        if parts and not (lacking and past[column.name].sources):
            low, high = _least(column.type, (part.min for part in parts)), _least(column.type, (part.max for part in parts), greatest=True)
            found[column.name] = ColumnStats(low, high, sum(part.nulls for part in parts) + lacking)
    return found


def _least(kind: str, values: Iterable[Scalar], *, greatest: bool = False) -> Scalar:
    known: list[Any] = [value for value in values if value is not None]
    if not known:
        return None
    key = Decimal if kind.startswith("decimal") else None
    result: Scalar = max(known, key=key) if greatest else min(known, key=key)
    return result
