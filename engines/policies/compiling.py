"""A Policy's spec and the columns of its table -> the rules in force: what it names by sensitivity is columns by now. Pure.

A column is named as it is called now, or as a migration found it; as in SQL, a name that no column has exactly is tried in lower case. One
that the table does not have makes the policy faulty: a mask that masks nothing is not passed over in silence. Of columns that are gone
nobody knows what they held, so a rule by sensitivity masks them all where former versions show them. Next: `book.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from engines.policies.governed import NOTHING, Mask, MaskRule, PolicyRules, RowRule
from specs.digests import canonical_json
from specs.kinds.policy import ColumnRule, MaskValue, PolicySpec
from specs.kinds.policy import Mask as MaskSpec
from specs.suggestions import did_you_mean


@dataclass(frozen=True, slots=True)
class Columns:
    """What policies may name of a table.

    Args:
        types: of the present columns, by name.
        sensitivity: classes of each of them: the spec's word, what was found, and what the whole dataset is treated as.
        former: what a migration found a present column called, and what it is called now.
        gone: columns that former versions have and the table has not, by names that no present column has.
    """

    types: Mapping[str, str]
    sensitivity: Mapping[str, frozenset[str]] = field(default_factory=dict)
    former: Mapping[str, str] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()

    def named(self, name: str) -> str | None:
        """The present column that a policy means; None for none."""
        for known in (self.types.keys(), self.former.keys()):
            found = next((one for one in (name, name.lower()) if one in known), None)
            if found is not None:
                return self.former.get(found, found) if found not in self.types else found
        return None

    def treated_as(self, classes: Iterable[str]) -> frozenset[str]:
        """The columns of any of these classes."""
        wanted = frozenset(classes)
        return frozenset(name for name, found in self.sensitivity.items() if found & wanted)


def compiled(name: str, spec: PolicySpec, columns: Columns) -> PolicyRules:
    """The policy over these columns. One that a rule names and the table has not is left out: see `unknown_column`."""
    rows = tuple(RowRule(frozenset(rule.roles), rule.where) for rule in spec.rows)
    return PolicyRules(name, rows, tuple(mask for rule in spec.columns for mask in _mask_rules(rule, columns)))


def unknown_column(spec: PolicySpec, columns: Columns) -> str | None:
    """The first column that the policy names and the table does not have, as a sentence."""
    for rule in spec.columns:
        for name in rule.columns:
            if columns.named(name) is None:
                hint = did_you_mean(name, columns.types)
                return f"`columns` names `{name}`, which the table does not have{f'; {hint}' if hint else ''}"
    return None


def _mask_rules(rule: ColumnRule, columns: Columns) -> Iterator[MaskRule]:
    named = (columns.named(name) for name in rule.columns)
    chosen = frozenset(name for name in named if name is not None) | columns.treated_as(rule.sensitivity)
    roles, excepted = frozenset(rule.roles) if rule.roles else None, frozenset(rule.except_)
    yield MaskRule(chosen, mask_of(rule.mask), roles, excepted)
    if rule.sensitivity and columns.gone:
        yield MaskRule(columns.gone, NOTHING, roles, excepted)


def mask_of(spec: MaskSpec) -> Mask:
    """The mask that a spec says."""
    if not isinstance(spec, MaskValue):
        return Mask(spec)
    if spec.expression is not None:
        return Mask("expression", spec.expression)
    return Mask("constant", canonical_json(spec.constant).decode())
