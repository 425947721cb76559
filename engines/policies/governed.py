"""The policies of one Dataset, ready to be asked: a role -> the condition that rows satisfy, and the masks of columns.

Rules inside a policy permit, policies restrict each other, and of two masks of a column the stricter one is shown: a policy that is added
never shows more. A role that no rule of a policy with row rules permits sees no row. What a policy named by sensitivity is columns by now.

Pure. It refuses to know how a filter or a mask is applied (`engines/sql/barrier.py`), and of what a policy was read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, TypeAlias

MaskKind: TypeAlias = Literal["null", "constant", "redact", "hash", "expression", "year", "firstFour", "lastFour"]

_STRICTNESS: Mapping[MaskKind, int] = {
    "null": 4, "constant": 3, "redact": 3, "hash": 2, "year": 1, "firstFour": 1, "lastFour": 1, "expression": 1,
}  # fmt: skip
"""What tells less is stricter: whether there is a value; nothing but that there may be one; which rows share one; a part of it."""


@dataclass(frozen=True, slots=True)
class Mask:
    """What is shown of a value. argument: the constant as canonical JSON, or the expression as SQL; None of the other kinds."""

    kind: MaskKind
    argument: str | None = None


NOTHING = Mask("null")
NO_ROW = "false"
"""The condition of rows for a role that no rule permits, and of a rule that permits none."""
_EVERY_ROW = "true"
"""That of a rule that permits all of them: it is no filter, so that what it lets pass is whole."""


@dataclass(frozen=True, slots=True)
class RowRule:
    """Rows that roles may see: those that satisfy `where`, one boolean SQL expression. It may name $role, $profile and $attributes."""

    roles: frozenset[str]
    where: str


@dataclass(frozen=True, slots=True)
class MaskRule:
    """Columns that are masked for `roles`, or for all but `excepted` where roles is None."""

    columns: frozenset[str]
    mask: Mask
    roles: frozenset[str] | None = None
    excepted: frozenset[str] = frozenset()

    def holds_for(self, role: str | None) -> bool:
        """Whether the rule masks for this role. Whoever has none is of no exception."""
        if self.roles is not None:
            return role in self.roles
        return role not in self.excepted


@dataclass(frozen=True, slots=True)
class PolicyRules:
    """One Policy. rows: () lets every row pass."""

    name: str
    rows: tuple[RowRule, ...] = ()
    masks: tuple[MaskRule, ...] = ()

    def without(self, never: Collection[str]) -> PolicyRules:
        """The same rules; those whose condition is one of these permit no row, as if their roles had none."""
        if not never:
            return self
        return replace(self, rows=tuple(replace(rule, where=NO_ROW) if rule.where in never else rule for rule in self.rows))


class Unfit(NamedTuple):
    """A column whose mask has nothing to show of its type, and for operators why, with what helps."""

    column: str
    said: str


class Checked(NamedTuple):
    """What was found in a policy over the columns of its table. fault: why it cannot be applied; unfit: of one that can; never: its
    conditions that hold for no row, whatever is in it."""

    fault: str | None = None
    unfit: tuple[Unfit, ...] = ()
    never: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Shown:
    """What is left of a Dataset. row_filter: one boolean SQL expression, None for all rows; masks: by column; policies: whose rules these
    are, in order."""

    row_filter: str | None = None
    masks: Mapping[str, Mask] = field(default_factory=dict, hash=False)
    policies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Governed:
    """All that governs a Dataset. closed: why no restricted reader may see any of it, a sentence for them; None where policies say what."""

    policies: tuple[PolicyRules, ...] = ()
    closed: str | None = None

    def shown_to(self, role: str | None) -> Shown:
        """What a role sees."""
        filters = [rows for policy in self.policies if policy.rows and (rows := _rows(policy, role)) != _EVERY_ROW]
        masks: dict[str, set[Mask]] = {}
        for rule in (rule for policy in self.policies for rule in policy.masks if rule.holds_for(role)):
            for column in rule.columns:
                masks.setdefault(column, set()).add(rule.mask)
        strictest = {column: _strictest(found) for column, found in sorted(masks.items())}
        return Shown(_all_of(filters), strictest, tuple(policy.name for policy in self.policies))


def _rows(policy: PolicyRules, role: str | None) -> str:
    permitting = [rule.where for rule in policy.rows if role in rule.roles and rule.where != NO_ROW]
    if any(where.strip().lower() == _EVERY_ROW for where in permitting):
        return _EVERY_ROW
    return " OR ".join(f"({where})" for where in permitting) or NO_ROW


def _all_of(filters: Iterable[str]) -> str | None:
    found = tuple(dict.fromkeys(filters))
    return " AND ".join(f"({condition})" for condition in found) if len(found) > 1 else (found[0] if found else None)


def _strictest(masks: Collection[Mask]) -> Mask:
    """The mask that tells least, of all at once, so that their order says nothing. Two that tell different parts tell more together than
    either: then nothing is shown, whatever stricter one is beside them."""
    found = {_STRICTNESS[mask.kind]: mask for mask in masks}
    return found[max(found)] if len(found) == len(set(masks)) else NOTHING
