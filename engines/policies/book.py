"""The policies in force, by Dataset: specs and catalog -> what governs it, as the `Rules` that a reader comes with.

    a Policy names it                    its rules, strictest wins; closed where one does not parse, or cannot be applied, or the table is
                                         not described
    none does any more, one did          closed, until the Dataset says `policy: none`
    it is made of what is governed       closed, until it has a Policy of its own, or says `policy: none`
    none of these                        not governed

A Policy whose spec is gone and whose removal waits for an approval stays in force: its rules are in the inventory. Everything is made anew
where specs or catalog changed, and kept until then, so that asking costs microseconds; what is told never changes. Thread-safe. It refuses
to say who a reader is (`engines/reading.py`), and to apply anything. Next: `compiling.py`, `former.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from engines.policies.compiling import Columns, compiled, unknown_column
from engines.policies.governed import Checked, Governed, PolicyRules, Unfit
from engines.policies.governing import Catalog, Governing, Named, Specs
from engines.reading import Rules
from specs.kinds.dataset import DatasetSpec
from state.catalog.fold import ObjectState
from state.catalog.tables import Table
from state.catalog.view import View
from state.descriptions import CLASSES, PUBLIC, SPEC, Describe, Description
from state.former_columns import pasts

_LOOK_AGAIN = 5.0
"""Seconds after which a table is described again of which not all was known: until then, more is masked."""

Check: TypeAlias = Callable[[PolicyRules, Mapping[str, str]], Checked]
"""What is wrong with a policy over columns, our types by name."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What governs a Dataset, and for operators why. faults: what is wrong with its policies, by name; held: those whose removal waits;
    whole: all is known that rules go by; rules: of each policy, faulty ones among them; source: the governed Dataset that it is made of;
    unfit: masks that show nothing, by policy."""

    governed: Governed | None
    faults: Mapping[str, str] = field(default_factory=dict, hash=False)
    held: tuple[str, ...] = ()
    whole: bool = True
    rules: tuple[PolicyRules, ...] = ()
    source: str | None = None
    unfit: Mapping[str, tuple[Unfit, ...]] = field(default_factory=dict, hash=False)


class _MadeOf(NamedTuple):
    """All that a standing depends on; compared by identity, part by part."""

    own: tuple[Named, ...]
    held: tuple[Named, ...]
    faulty: tuple[str, ...]
    spec: DatasetSpec | None
    state: ObjectState | None
    description: Description | None
    source: str | None


class _Known(NamedTuple):
    stamp: object
    view: View
    at: float
    made_of: _MadeOf
    standing: Standing


class _Told:
    """Rules as they were told first, while nothing changed. Implements `engines.reading.Rules`."""

    def __init__(self, book: PolicyBook, stamp: object, view: View, at: float) -> None:
        self.made_of = stamp, view
        self.at = at
        self.whole = True
        self._book = book
        self._governed: dict[str, Governed | None] = {}

    def governed(self, dataset: str) -> Governed | None:
        """See `Rules`."""
        if dataset not in self._governed:
            standing = self._book.standing(dataset)
            self.whole = self.whole and standing.whole
            self._governed.setdefault(dataset, standing.governed)
        return self._governed[dataset]


class PolicyBook:
    """See above."""

    def __init__(
        self, specs: Specs, catalog: Catalog, describe: Describe, check: Check, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """clock: seconds."""
        self._specs = specs
        self._catalog = catalog
        self._describe = describe
        self._check = check
        self._clock = clock
        self._governing = Governing(specs, catalog)
        self._known: dict[str, _Known] = {}
        self._told: _Told | None = None

    def now(self) -> Rules:
        """The rules in force: the same object until specs or catalog change. What one has said of a Dataset it goes on saying."""
        stamp, view, told = self._specs.stamp, self._catalog.view(), self._told
        same = told is not None and told.made_of[0] is stamp and told.made_of[1] is view
        if told is None or not same or not (told.whole or self._clock() - told.at < _LOOK_AGAIN):
            told = self._told = _Told(self, stamp, view, self._clock())
        return told

    def standing(self, dataset: str) -> Standing:
        """What governs a Dataset, with reasons that are for operators only."""
        stamp, view, known = self._specs.stamp, self._catalog.view(), self._known.get(dataset)
        current = known is not None and known.stamp is stamp and known.view is view
        if known is not None and current and (known.standing.whole or self._clock() - known.at < _LOOK_AGAIN):
            return known.standing
        made_of = self._parts(dataset, view)
        same = known is not None and _same(known.made_of, made_of)
        standing = known.standing if known is not None and same else self._made(dataset, made_of)
        self._known[dataset] = _Known(stamp, view, self._clock(), made_of, standing)
        return standing

    def _parts(self, dataset: str, view: View) -> _MadeOf:
        own, held = tuple(self._specs.policies(dataset)), self._governing.waiting().get(dataset, ())
        faulty, spec, state = tuple(self._specs.faulty(dataset)), self._specs.dataset(dataset), view.peek(f"Dataset/{dataset}")
        if faulty or (not own and not held):
            return _MadeOf(own, held, faulty, spec, state, None, self._governing.source_of(dataset))
        described = state is not None and state.table is not None and bool(state.table.columns)
        return _MadeOf(own, held, (), spec, state, self._describe(state) if state is not None and described else None, None)

    def _made(self, dataset: str, parts: _MadeOf) -> Standing:
        held = tuple(name for name, _ in parts.held)
        if parts.faulty:
            faults = dict.fromkeys(parts.faulty, "its document is refused, see `lakectl status`")
            return Standing(_not_applied(dataset, faults), faults, held)
        if why := _why_closed(parts):
            return Standing(_closed(dataset, why), held=held, source=parts.source)
        if not parts.own and not parts.held:
            return Standing(None)
        assert parts.spec is not None
        assert parts.state is not None
        assert parts.description is not None
        columns = columns_of(parts.state, parts.spec, parts.description)
        faults, unfit, never = {}, {}, {}
        rules = tuple(sorted((compiled(name, spec, columns) for name, spec in (*parts.own, *parts.held)), key=lambda each: each.name))
        for name, spec in (*parts.own, *parts.held):
            own = next(each for each in rules if each.name == name)
            unknown = unknown_column(spec, columns)
            checked = Checked(unknown) if unknown is not None else self._check(own, columns.types)
            if checked.fault is not None:
                faults[name] = checked.fault
            elif checked.unfit:
                unfit[name] = checked.unfit
            never[name] = checked.never
        rules = tuple(each.without(never[each.name]) for each in rules)
        governed = _not_applied(dataset, faults) if faults else Governed(rules)
        return Standing(governed, faults, held, parts.description.complete, rules, unfit=unfit)


def _why_closed(parts: _MadeOf) -> str | None:
    """Why nobody but operators sees anything, whatever the rules say; None where they say what, or nothing governs."""
    released = parts.spec is not None and parts.spec.policy == "none"
    if not parts.own and not released:
        if parts.source is not None:
            return "it is made of what is governed, and has no Policy of its own"  # whose very name may be a secret
        if parts.held or (parts.state is not None and parts.state.governed):
            return "it was governed, no Policy names it any more, and its spec does not say `policy: none`"
    if not parts.own and not parts.held:
        return None
    if parts.spec is None:
        return "no spec declares it any more"
    if parts.description is None or parts.state is None or parts.state.table is None:
        return "it holds nothing yet"
    return None


def columns_of(state: ObjectState, spec: DatasetSpec, description: Description) -> Columns:
    """What policies may name. Where not all profiles can be read, a column of which the spec says nothing may be anything.

    state: of an object that has a table.
    """
    assert state.table is not None
    whole = {*spec.sensitivity, *(state.managed.about.get("sensitivity", ()) if state.managed is not None else ())}
    unknown = frozenset(CLASSES) - {PUBLIC} if not description.complete else frozenset[str]()
    found: dict[str, frozenset[str]] = {}
    for column in description.columns:
        said = spec.columns[column.name].sensitivity if column.name in spec.columns else ()
        words = bool(said) or column.evidence == SPEC
        found[column.name] = frozenset({*column.sensitivity, *said, *whole}) | (frozenset() if words else unknown)
    former = {name: now for now, past in pasts(state.table).items() for name in past.names if name != now}
    return Columns({column.name: column.type for column in state.table.columns}, found, former, _gone(state.table))


def _gone(table: Table) -> frozenset[str]:
    """Columns that only former schemas have. One whose name is another column's by now is not called so."""
    present, names = {column.id for column in table.columns}, {column.name for column in table.columns}
    left = [column for schema in table.schemas for column in schema.columns if column.id not in present]
    return frozenset(f"{column.name} (former)" if column.name in names else column.name for column in left)


def _closed(dataset: str, why: str) -> Governed:
    return Governed(closed=f"Nobody but operators may read `{dataset}`: {why}.")


def _not_applied(dataset: str, faults: Mapping[str, str]) -> Governed:
    return _closed(dataset, f"Policy {' and '.join(f'`{name}`' for name in sorted(faults))} cannot be applied until it is corrected")


def _same(one: _MadeOf, other: _MadeOf) -> bool:
    """Whether nothing was replaced. Specs are the same object as long as they say the same."""
    if (one.source, one.faulty) != (other.source, other.faulty) or len(one.own) != len(other.own) or len(one.held) != len(other.held):
        return False
    specs = zip((*one.own, *one.held), (*other.own, *other.held), strict=True)
    if not all(name == now and spec is found for (name, spec), (now, found) in specs):
        return False
    return one.spec is other.spec and one.state is other.state and one.description is other.description
