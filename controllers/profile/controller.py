"""Profile's eyes: what it binds, at the moment that it reads; and its hands, which ask the daemon's readers to keep that warm.

It refuses to decide what a reader may see: that is `engines/reading.py`, by the same spec.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from controllers.outcome import Outcome, Stalled, Waiting
from controllers.profile import plan as planning
from controllers.profile.plan import Bound, LetGo, Observed, ProfileStep, Warmth, WarmUp
from controllers.step import Started
from engines.at import table_at
from engines.errors import EngineError, VersionUnknown
from engines.ollama.choice import ModelState
from engines.policies.book import PolicyBook
from engines.policies.explaining import of_index, of_table
from engines.profile_reader import reader_of
from engines.reading import IndexName, Reader, TableName
from engines.search_at import choose
from engines.sql.tables import sql_name
from specs.kinds.index import IndexSpec
from specs.kinds.profile import ProfileSpec
from specs.resource import Key, Resource, own_name
from state import reasons
from state.catalog.catalog import Catalog
from state.catalog.entry import Dropped
from state.catalog.fold import ObjectState
from state.catalog.indexes import IndexRecord
from state.catalog.tables import Table


class Warm(Protocol):
    """What keeps things warm for readers, in the one process that answers them. From any thread; returns at once."""

    def cold(self, profile: str, warmth: Warmth) -> Mapping[str, str]:
        """What of this is not warm, by name, each with the reason why it could not be made so, if it was tried."""

    def begin(self, profile: str, warmth: Warmth) -> None:
        """Warms it from now on. Whoever visits profiles is told when it has ended."""

    def let_go(self, profile: str) -> None:
        """Of what no other profile wants."""

    def keeps(self, profile: str) -> bool:
        """Whether anything is kept warm for it."""


class ModelRuntime(Protocol):
    """What runs chat models. From any thread; returns at once, and whoever visits profiles is told when it changes."""

    def ready(self, model: str) -> ModelState:
        """How it stands with a model that is to be loaded, which begins if it has not."""


class ProfileController:
    """See `controllers.controller.Controller`.

    Args:
        wanted: the spec in force of an object, None if nobody wants it.
        book: the policies.
    """

    def __init__(self, catalog: Catalog, wanted: Callable[[Key], Resource | None], book: PolicyBook) -> None:
        self._catalog = catalog
        self._wanted = wanted
        self._book = book
        self.warm: Warm | None = None
        """Set by a process that answers readers."""
        self.models: ModelRuntime | None = None
        """Set by a process that runs chat models."""

    def observe(self, resource: Resource) -> Observed:
        """Tables and indexes that it binds, and how warm they are."""
        spec, name = resource.spec_as(ProfileSpec), resource.key.name
        reader = reader_of(name, spec, self._book.now())
        tables = tuple(self._read(self._table(each, spec), reader) for each in spec.datasets)
        indexes = tuple(self._searched(self._index(each, name, spec), reader) for each in spec.indexes)
        seen = Observed(tables, indexes)
        warm, there = self.warm, spec.active and seen.problem is None
        cold = None if warm is None else warm.cold(name, planning.warmth(spec, seen)) if there else {}
        model = self.models.ready(spec.model.ollama) if there and spec.model is not None and self.models is not None else None
        return Observed(tables, indexes, cold, warm is not None and warm.keeps(name), model)

    def drift(self, observed: Observed) -> tuple[str, ...]:
        """It makes nothing of its own."""
        return ()

    def plan(self, resource: Resource, observed: Observed) -> tuple[ProfileStep, ...]:
        """See `plan.plan`."""
        return planning.plan(resource, observed)

    def conclude(self, resource: Resource, observed: Observed) -> Outcome:
        """See `plan.conclude`."""
        return planning.conclude(resource, observed)

    def act(self, resource: Resource, step: ProfileStep, revision: str) -> Started | None:
        """Asks for warmth, which comes by itself."""
        assert self.warm is not None
        match step:
            case WarmUp(why=why, warmth=warmth):
                self.warm.begin(resource.key.name, warmth)
                return Started(reasons.WARMING, f"{step.summary()}, since {why}")
            case LetGo():
                self.warm.let_go(resource.key.name)
        return None

    def retire(self, record: ObjectState) -> str:
        """What it has of indexes for itself goes as an object of its own."""
        return "its reader sees nothing any more; what was built for it is removed"

    def remove(self, record: ObjectState, revision: str) -> None:
        """Lets go of what is warm."""
        if self.warm is not None:
            self.warm.let_go(record.name)
        self._catalog.commit((Dropped(record.object),), actor="daemon", reason="no spec asks for it", revision=revision)

    def _read(self, bound: Bound, reader: Reader) -> Bound:
        """A table, with why policies leave the reader nothing of it."""
        if bound.problem is not None:
            return bound
        return _closed(bound, of_table(reader, TableName(sql_name(bound.name)), "read", self._book.standing(bound.name)))

    def _searched(self, bound: Bound, reader: Reader) -> Bound:
        """The same of an index."""
        index = self._wanted(Key("Index", bound.name))
        if bound.problem is not None or index is None:
            return bound
        spec = index.spec_as(IndexSpec)
        table, standing = self._catalog.table(spec.dataset), self._book.standing(spec.dataset)
        made_of = (*spec.text, *(table.primary_key if table is not None else ()))
        found = of_index(reader, IndexName(bound.name), made_of, TableName(sql_name(spec.dataset)), standing)
        return _closed(bound, found)

    def _table(self, name: str, spec: ProfileSpec) -> Bound:
        key, table = Key("Dataset", name), self._catalog.table(name)
        if self._wanted(key) is None and table is None:
            return Bound(name, Waiting(reasons.REFERENCE_MISSING, f"{key} is not there; declare it", blocked_by=str(key)))
        if table is None or not table.columns:
            return Bound(name, Waiting(reasons.DEPENDENCY_NOT_READY, f"{key} has no rows yet", blocked_by=str(key)))
        if table.bucket != spec.bucket:
            return Bound(name, _elsewhere(key, table.bucket, spec))
        try:
            read = table_at(table, planning.moment(spec))
        except VersionUnknown as error:
            return Bound(name, Stalled(reasons.VERSION_GONE, error.explain(), str(key)))
        return Bound(name, version=read.version, since=read.at)

    def _index(self, name: str, profile: str, spec: ProfileSpec) -> Bound:
        key, own = Key("Index", name), Key("Index", own_name(name, profile))
        index, has_own = self._wanted(key), self._wanted(own) is not None
        if index is None:
            return Bound(name, Waiting(reasons.REFERENCE_MISSING, f"{key} is not there; declare it", blocked_by=str(key)))
        answers = own if has_own else key
        record = self._catalog.index(answers.name)
        if record is None or record.serving is None:
            problem = Waiting(reasons.DEPENDENCY_NOT_READY, f"{answers} does not serve yet", blocked_by=str(answers))
            return Bound(name, problem, answers=answers.name)
        if record.bucket not in (None, spec.bucket):
            return Bound(name, _elsewhere(key, str(record.bucket), spec), answers=answers.name)
        table = self._catalog.table(index.spec_as(IndexSpec).dataset)
        if table is None:
            problem = Waiting(reasons.DEPENDENCY_NOT_READY, f"the dataset of {key} is not there", blocked_by=str(key))
            return Bound(name, problem, answers=answers.name)
        return _at(Bound(name, answers=answers.name), record, table, spec)


def _closed(bound: Bound, access: Mapping[str, Any]) -> Bound:
    return bound if access["allowed"] else replace(bound, closed=" ".join(access["why"]))


def _at(bound: Bound, record: IndexRecord, table: Table, spec: ProfileSpec) -> Bound:
    """The build that answers at the profile's moment."""
    assert record.serving is not None
    build, version, former = record.builds[record.serving.build], None, None
    if (moment := planning.moment(spec)) is not None:
        try:
            chosen = choose(record, table, moment, record.corpus_of(record.serving).fingerprint)
        except EngineError as error:
            return Bound(bound.name, Stalled(reasons.VERSION_GONE, error.explain(), f"Index/{bound.name}"), answers=bound.answers)
        build, version, former = chosen.build, chosen.table.version, chosen.build.digest
    generation = build.generation or f"the recommended {build.engine} build {build.digest[:8]}"
    return Bound(bound.name, version=version, answers=bound.answers, generation=generation, build=former)


def _elsewhere(key: Key, bucket: str, spec: ProfileSpec) -> Stalled:
    message = f"{key} is kept in Bucket/{bucket}, and `bucket` lets this profile see Bucket/{spec.bucket} alone; bind what is there"
    return Stalled(reasons.INVALID_SPEC, message, str(key))
