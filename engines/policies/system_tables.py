"""What readers who are no operators see of `system.*`: rows of the Datasets and Indexes that they may know of, less what policies hide.

Figures and samples are of all rows of a table, so they are null where a reader sees but some of them, or not all values. The journal tells
values of rows by field: where rows are hidden none of it is shown, since nobody can say of each of its rows whether it was seen then; where
columns are masked, it shows the fields that never were one of them. Rows in quarantine are in no table, so no policy can be asked about
them: their texts are shown where everything is. A table that is not named here is not there for anybody but operators.

Pure: a decision as any other table's, with a filter and masks over the system table. Next: `engines/sql/system_sight.py`, which asks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from engines.policies.governed import NOTHING, Mask


@dataclass(frozen=True, slots=True)
class Known:
    """A Dataset that a reader may know of.

    Args:
        filtered: whether rows are hidden from it; masked: its present columns of which it sees no value as it is.
        columns: every name that each of its present columns has had, by the present one; key: its primary key.
    """

    name: str
    filtered: bool = False
    masked: frozenset[str] = frozenset()
    columns: Mapping[str, frozenset[str]] = field(default_factory=dict)
    key: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether the reader sees all rows and values."""
        return not self.filtered and not self.masked


@dataclass(frozen=True, slots=True)
class Part:
    """What is shown of a system table: see `Decision`."""

    row_filter: str
    masks: Mapping[str, Mask]
    values: Mapping[str, str]


_FIGURES: Mapping[str, frozenset[str]] = {
    "system.datasets": frozenset({"rows", "files", "bytes", "sources", "refused", "snapshot", "sensitivity"}),
    "system.columns": frozenset({"nulls", "null_share", "distinct_estimate", "min", "max", "examples"}),
    "system.versions": frozenset({"rows", "files"}),
}
"""By table of Datasets: columns that tell of all rows."""

_OF_INDEXES: Mapping[str, frozenset[str]] = {
    "system.indexes": frozenset({"count", "tail_rows", "tail_chunks"}),
    "system.index_models": frozenset({"chunks", "rows", "rows_without_text", "changed_since"}),
}
"""The same of Indexes, of which it is not asked whose rows they hold."""

_SAID = "the spec says so"
"""`evidence` of a column whose sensitivity was not found in its rows."""

SHOWN: frozenset[str] = frozenset({*_FIGURES, *_OF_INDEXES, "system.journal", "system.quarantine"})
"""The tables of which readers who are no operators may see something."""


class _Values:
    """The names that conditions compare with, as placeholders."""

    def __init__(self) -> None:
        self.bound: dict[str, str] = {}

    def among(self, column: str, names: Iterable[str]) -> str:
        """Whether the column is one of the names."""
        placeholders = [self._placeholder(name) for name in sorted(set(names))]
        return f"{column} IN ({', '.join(placeholders)})" if placeholders else "false"

    def _placeholder(self, name: str) -> str:
        known = next((bound for bound, value in self.bound.items() if value == name), f"name{len(self.bound)}")
        self.bound[known] = name
        return f"${known}"


def part_of(table: str, datasets: Sequence[Known], indexes: Collection[str]) -> Part | None:
    """What is shown of a table by its name in SQL, to a reader who may know of these; None for nothing at all."""
    values = _Values()
    if table in _OF_INDEXES:
        return Part(values.among('"index"', indexes), dict.fromkeys(sorted(_OF_INDEXES[table]), NOTHING), values.bound)
    whole = values.among("dataset", (known.name for known in datasets if known.whole))
    if table in _FIGURES:
        shown = values.among("dataset", (known.name for known in datasets))
        masks = {column: _where(whole, column) for column in sorted(_FIGURES[table])}
        return Part(shown, masks | _of_words(table, whole), values.bound)
    shown = values.among("dataset", (known.name for known in datasets if not known.filtered))
    if table == "system.quarantine":
        return Part(shown, {column: _where(whole, column) for column in ("key", "reason", "source", "text")}, values.bound)
    if table == "system.journal":
        return Part(shown, _of_journal(datasets, whole, values), values.bound)
    return None


def _where(condition: str, column: str) -> Mask:
    return Mask("expression", f'CASE WHEN {condition} THEN "{column}" END')


def _of_words(table: str, whole: str) -> dict[str, Mask]:
    """Words that were drafted from rows, or found in them; and where rows come from, which may be what the reader may not know of."""
    if table == "system.datasets":
        return {"description": _where(f"({whole}) OR NOT drafted", "description"), "origin": NOTHING}
    if table == "system.columns":
        said = f"({whole}) OR evidence = '{_SAID}'"
        return {"evidence": _where(said, "evidence"), "sensitivity": _where(said, "sensitivity")}
    return {}


def _of_journal(datasets: Sequence[Known], whole: str, values: _Values) -> dict[str, Mask]:
    fields, keys = [whole], [whole]
    for known in datasets:
        if known.filtered or known.whole:
            continue
        one = values.among("dataset", [known.name])
        fields.append(f"({one} AND {values.among('field', _never_masked(known))})")
        if known.key and not {name.casefold() for name in known.key} & {name.casefold() for name in known.masked}:
            keys.append(one)
    value, key = " OR ".join(fields), " OR ".join(keys)
    masks = {"old": _where(value, "old"), "new": _where(value, "new"), "entity": _where(key, "entity")}
    return masks | {column: _where(whole, column) for column in ("reason", "source")}


def _never_masked(known: Known) -> frozenset[str]:
    """Present columns of no name that a masked one has, or had."""
    masked = {name.casefold() for name in known.masked}
    names = {name.casefold() for column, had in known.columns.items() if column.casefold() in masked for name in had} | masked
    return frozenset(column for column in known.columns if column.casefold() not in names)
