"""What roles and profiles may do at the watched revision, and whether the cases beside policies hold: for operators alone.

Implements `api.policies.AccessSource`. A name stands for the profile of that name where there is one, else for a role without any binding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from engines.errors import IndexUnknown, PolicyUnknown, ProfileUnknown, TableUnknown
from engines.policies.book import PolicyBook
from engines.policies.explaining import of_index, of_table, summary
from engines.policies.testing import Queries, run_cases
from engines.reading import IndexName, Reader, TableName
from engines.sql.tables import SYSTEM, dataset_name, sql_name
from reconciler.world import World
from specs.kinds.index import IndexSpec
from specs.kinds.policy import PolicySpec
from specs.kinds.profile import ProfileSpec
from specs.resource import Key
from specs.suggestions import or_meant
from state.catalog.catalog import Catalog

Verb = Literal["query", "search", "describe"]


class Access:
    """Used by any thread. profile: the reader that a profile is; raises ProfileUnknown."""

    def __init__(self, world: World, catalog: Catalog, book: PolicyBook, profile: Callable[[str], Reader]) -> None:
        self._world = world
        self._catalog = catalog
        self._book = book
        self._profile = profile

    def explain(self, verb: Verb, name: str, who: str) -> dict[str, Any]:
        """Blocking, milliseconds at most. Raises TableUnknown, IndexUnknown, ReadersClosed."""
        reader = self._reader(who)
        speaks_for = {"profile": reader.profile, "role": reader.role}
        found: dict[str, Any] = self._index(name, reader) if verb == "search" else self._table(name, reader, verb)
        if reader.profile is None and reader.role not in self._roles():
            found["why"] = [*found["why"], f"There is no profile `{who}`, and no policy or profile names such a role."]
        return {"verb": verb, **speaks_for, **found, "answer": summary(found)}

    async def test(self, policy: str | None, queries: Queries, asked_by: str | None = None) -> dict[str, Any]:
        """The cases of one policy, or of all. asked_by: the token of whoever runs them. Raises PolicyUnknown."""
        resources = sorted(self._world.resources("Policy"), key=lambda each: each.key)
        if policy is not None and all(each.key.name != policy for each in resources):
            said = or_meant(f"There is no Policy {policy!r}", policy, [each.key.name for each in resources])
            raise PolicyUnknown(said, remedy="`lakectl get policies` lists them.")
        tested: list[dict[str, Any]] = []
        cases: list[dict[str, Any]] = []
        for resource in resources:
            if policy in (None, resource.key.name):
                spec = resource.spec_as(PolicySpec)
                results = await run_cases(spec, self._book.now(), queries, asked_by)
                told = [each.to_dict() for each in results]
                warnings = [each.said for each in self._book.standing(spec.dataset).unfit.get(resource.key.name, ())]
                tested.append({"policy": resource.key.name, "dataset": spec.dataset, "cases": told, "warnings": warnings})
                cases += told
        return {"policies": tested, "cases": len(cases), "failed": sum(not case["passed"] for case in cases)}

    def _reader(self, who: str) -> Reader:
        try:
            return self._profile(who)
        except ProfileUnknown:
            return Reader(role=who, rules=self._book.now())

    def _roles(self) -> frozenset[str]:
        """Those that specs name."""
        policies = [each.spec_as(PolicySpec) for each in self._world.resources("Policy")]
        rules = (rule.roles for policy in policies for rule in policy.rows)
        masks = ((*rule.roles, *rule.except_) for policy in policies for rule in policy.columns)
        profiles = (each.spec_as(ProfileSpec).role for each in self._world.resources("Profile"))
        return frozenset({*(role for roles in (*rules, *masks) for role in roles), *(role for role in profiles if role is not None)})

    def _table(self, name: str, reader: Reader, verb: Verb) -> dict[str, Any]:
        dataset = dataset_name(name)
        known = name.startswith(SYSTEM) or self._catalog.get(f"Dataset/{dataset}") is not None
        if not known and self._world.resource(Key("Dataset", dataset)) is None:
            names = [each.key.name for each in self._world.resources("Dataset")]
            said = or_meant(f"There is no dataset `{name}`", dataset, names)
            raise TableUnknown(said, remedy="`lakectl get datasets` lists them.")
        named = self._named(name if name.startswith(SYSTEM) else sql_name(dataset))
        return of_table(reader, named, "describe" if verb == "describe" else "read", self._book.standing(dataset))

    def _index(self, name: str, reader: Reader) -> dict[str, Any]:
        resource = self._world.resource(Key("Index", name))
        if resource is None:
            raise IndexUnknown.among(name, [each.key.name for each in self._world.resources("Index")])
        spec, table = resource.spec_as(IndexSpec), self._named(sql_name(resource.spec_as(IndexSpec).dataset))
        held = self._catalog.table(spec.dataset)
        made_of = (*spec.text, *(held.primary_key if held is not None else ()))
        return of_index(reader, IndexName(name, table.bucket), made_of, table, self._book.standing(spec.dataset))

    def _named(self, name: str) -> TableName:
        table = None if name.startswith(SYSTEM) else self._catalog.table(dataset_name(name))
        return TableName(name, None if table is None else table.bucket)
