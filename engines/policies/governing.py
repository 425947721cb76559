"""Whether a Dataset is governed, by specs and catalog: named by a Policy, now or before, or made of one that is.

    specs say `policy: none`, and no Policy names it     not governed
    a Policy names it, or one whose removal waits        governed
    a Policy named it once                               governed: the catalog remembers, whatever became of it since
    its query reads what is governed                     governed, however many datasets lie between
    a document that does not parse means to govern it    closed while that is so, with what is made of it, and not governed by that alone

From memory. It refuses to say by what rules: that is `book.py`, where to read next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeAlias

from specs.errors import SpecInvalid
from specs.kinds.dataset import DatasetSpec
from specs.kinds.policy import PolicySpec
from specs.registry import build_spec
from specs.resource import Key
from specs.sql_names import tables_of
from state.catalog.tables import Table
from state.catalog.view import View

Named: TypeAlias = tuple[str, PolicySpec]
"""A Policy by its name."""


class Specs(Protocol):
    """The specs in force. From memory."""

    @property
    def stamp(self) -> object:
        """Another object whenever one of them changed."""

    def policies(self, dataset: str) -> Iterable[Named]:
        """Those that name a Dataset, by name."""

    def faulty(self, dataset: str) -> Iterable[str]:
        """Names of Policies that are meant to govern a Dataset and do not, since their documents do not parse."""

    def declares(self, policy: str) -> bool:
        """Whether there is a spec of this Policy."""

    def dataset(self, name: str) -> DatasetSpec | None:
        """None where nobody wants it."""


class Catalog(Protocol):
    """As far as this asks it. From memory."""

    def view(self) -> View:
        """Everything as of its newest entry: another object whenever something changed."""


class Governing:
    """See above. Thread-safe."""

    def __init__(self, specs: Specs, catalog: Catalog) -> None:
        self._specs = specs
        self._catalog = catalog
        self._waiting: tuple[object, View, Mapping[str, tuple[Named, ...]]] | None = None
        self._known: tuple[object, View, Mapping[bool, dict[str, bool]]] | None = None

    def waiting(self) -> Mapping[str, tuple[Named, ...]]:
        """Policies without a spec whose removal waits for an approval, by Dataset: until then their rules hold."""
        stamp, view, known = self._specs.stamp, self._catalog.view(), self._waiting
        if known is not None and known[0] is stamp and known[1] is view:
            return known[2]
        before = {name: spec for named in known[2].values() for name, spec in named} if known is not None else {}
        found: dict[str, tuple[Named, ...]] = {}
        objects = view.objects("Policy")
        for name in objects:
            policy, managed = name.partition("/")[2], objects[name].managed
            if managed is not None and managed.about and not self._specs.declares(policy):
                spec = _of_record(policy, managed.about)
                spec = before[policy] if before.get(policy) == spec else spec
                found[spec.dataset] = (*found.get(spec.dataset, ()), (policy, spec))
        self._waiting = stamp, view, found
        return found

    def is_governed(self, dataset: str) -> bool:
        """See above: what the catalog is to remember."""
        return self._find(dataset, meant=False)

    def source_of(self, dataset: str) -> str | None:
        """A Dataset that this one is made of, by what its spec says, or by the rows that it has, and that is governed or meant to be."""
        state = self._catalog.view().peek(f"Dataset/{dataset}")
        made_of = _reads(self._specs.dataset(dataset), state.table if state is not None else None)
        return next((name for name in sorted(made_of - {dataset}) if self._find(name, meant=True)), None)

    def _find(self, dataset: str, *, meant: bool) -> bool:
        """Whether a Dataset is governed, or, with `meant`, a document that does not parse means it to be. Iterative, whatever the length
        of a chain."""
        known = self._answers()[meant]
        seen, waiting = {dataset}, [dataset]
        while waiting:
            name = waiting.pop()
            here = known.get(name)
            if here is None:
                here, made_of = self._look(name, meant=meant)
                waiting += sorted(made_of - seen)
                seen |= made_of
            if here:
                known[dataset] = True
                return True
        known |= dict.fromkeys(seen, False)
        return False

    def _look(self, dataset: str, *, meant: bool) -> tuple[bool, frozenset[str]]:
        """Whether a Dataset is governed by itself, or, with `meant`, is to be; where it is not, what it is made of."""
        naming = (self._specs.policies(dataset), self._specs.faulty(dataset) if meant else ())
        if any(True for own in naming for _ in own) or dataset in self.waiting():
            return True, frozenset()
        spec, state = self._specs.dataset(dataset), self._catalog.view().peek(f"Dataset/{dataset}")
        if spec is not None and spec.policy == "none":
            return False, frozenset()
        if state is not None and state.governed:
            return True, frozenset()
        return False, _reads(spec, state.table if state is not None else None)

    def _answers(self) -> Mapping[bool, dict[str, bool]]:
        """What was asked since specs or catalog changed, without and with what is only meant."""
        stamp, view = self._specs.stamp, self._catalog.view()
        if self._known is None or self._known[0] is not stamp or self._known[1] is not view:
            self._known = stamp, view, {False: {}, True: {}}
        return self._known[2]


def _of_record(policy: str, about: Mapping[str, object]) -> PolicySpec:
    """The spec that the inventory keeps. One that this release does not accept shows nothing."""
    try:
        spec = build_spec(Key("Policy", policy), about)
    except SpecInvalid:
        spec = build_spec(Key("Policy", policy), {"dataset": about["dataset"], "rows": [{"roles": "nobody", "where": "false"}]})
    assert isinstance(spec, PolicySpec)
    return spec


def _reads(spec: DatasetSpec | None, table: Table | None) -> frozenset[str]:
    """The Datasets that a derived one is made of: by its spec, and by the rows that it has."""
    said = tables_of(spec.source.sql) if spec is not None and spec.source.sql is not None else ()
    origin = table.origin if table is not None else None
    return frozenset({*said, *(origin.inputs if origin is not None else ())})
