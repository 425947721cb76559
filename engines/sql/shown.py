"""What a reader is shown of a table, as plain data that crosses to a query worker: the rows that satisfy a filter, and masks of columns.

It is what `engines/reading.py::decide` says of the columns of now, brought under those of the version that is read
(`engines/policies/former.py`). A source that has this is read through it or not at all. Pure. Next: `barrier.py`, which applies it;
`hot_shown.py`, which makes a copy of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from engines.policies.former import columns_then, masks_then
from engines.policies.governed import NO_ROW, NOTHING, MaskKind
from engines.reading import Decision
from engines.sql.placeholders import placeholders
from specs.digests import digest
from specs.sql_names import words_of
from state.catalog.tables import Table

HASH: MaskKind = "hash"


@dataclass(frozen=True, slots=True)
class Masked:
    """The mask of one column. column: by its name at the version that is read; argument: as of `Mask`."""

    column: str
    kind: MaskKind
    argument: str | None = None


@dataclass(frozen=True, slots=True)
class ShownAs:
    """What is left of a table.

    row_filter: one boolean SQL expression, None for all rows. masks: by column. values: (name, value) of those `$names` in filter and masks
    that have one. policies: whose rules these are. renamed: (name here, name in filter and masks) of columns that had another name at this
    version. absent: (name, our type) of those that were not there yet, for filter and masks. key: of hashes, in hex, where a mask needs it.
    held: the document of the same rows and values as they were made before (`hot_shown.py`), read instead while it is there.
    """

    row_filter: str | None = None
    masks: tuple[Masked, ...] = ()
    values: tuple[tuple[str, str], ...] = ()
    policies: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    absent: tuple[tuple[str, str], ...] = ()
    key: str | None = field(default=None, repr=False)
    held: str | None = None

    @property
    def masked(self) -> frozenset[str]:
        """Columns of which no value is shown as it is."""
        return frozenset(mask.column for mask in self.masks)

    @property
    def digest(self) -> str:
        """Of all that decides about what is shown: two readers of one digest are shown the same of one table."""
        masks = [(mask.column, mask.kind, mask.argument) for mask in self.masks]
        return digest([self.row_filter, masks, self.values, self.renamed, self.absent, self.key and digest(self.key)])[:32]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `asdict`, JSON or not."""
        pairs = {name: tuple((one, other) for one, other in data[name]) for name in ("values", "renamed", "absent")}
        masks = tuple(Masked(**mask) for mask in data["masks"])
        return cls(**{**data, **pairs, "masks": masks, "policies": tuple(data["policies"])})


def shown_as(decision: Decision, versions: tuple[Table, Table] | None = None, key: str | None = None) -> ShownAs | None:
    """What a decision leaves of a table; None for all of it. versions: the table now and as it is read, None where that is as it is now.
    key: of hashes.

    A filter that names a column which the version lacks shows no row of it, an expression nothing: null there, it could let pass
    (`x IS NULL OR …`) what has a value now.
    """
    if decision.whole:
        return None
    decided = decision.masks if versions is None else masks_then(decision.masks, *versions)
    called = {} if versions is None else columns_then(*versions)
    types = {} if versions is None else {column.name: column.type for column in versions[0].columns}
    lacking = frozenset(now for now, then in called.items() if then is None)
    row_filter = NO_ROW if _names(decision.row_filter, lacking) else decision.row_filter
    known = {column: NOTHING if _names(mask.argument, lacking) else mask for column, mask in decided.items()}
    masks = tuple(Masked(column, mask.kind, mask.argument) for column, mask in sorted(known.items()))
    said = [row_filter or "", *(mask.argument or "" for mask in masks if mask.kind == "expression")]
    used = sorted({name for sql in said for name in placeholders(sql)} & decision.values.keys())
    return ShownAs(
        row_filter=row_filter,
        masks=masks,
        values=tuple((name, decision.values[name]) for name in used),
        policies=decision.policies,
        renamed=tuple((then, now) for now, then in called.items() if then not in (None, now)),
        absent=tuple((now, types[now]) for now, then in called.items() if then is None),
        key=key if any(mask.kind == HASH for mask in masks) else None,
    )


def _names(sql: str | None, columns: frozenset[str]) -> bool:
    """Whether an expression may name one of the columns: rather a sign too many."""
    words = {word.lower() for word in words_of(sql)} if sql is not None and columns else set()
    return any(name.lower() in words or (not name.isascii() and name.lower() in (sql or "").lower()) for name in columns)
