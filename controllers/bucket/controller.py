"""Bucket's hands: attaches stores in this process and records in the catalog where they are."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from controllers.bucket import plan as planning
from controllers.bucket.mirroring import Mirroring
from controllers.bucket.plan import Mirror, Observed, Open
from controllers.bucket.rescue import Wanted, unfit
from controllers.outcome import Outcome
from controllers.step import Started
from specs.kinds.bucket import BucketSpec
from specs.resource import Key, Resource
from state.buckets import Buckets, open_store, probe
from state.catalog.catalog import Catalog
from state.catalog.entry import BucketOpened, Dropped, Retained
from state.catalog.fold import ObjectState
from state.catalog.indexes import IndexRecord
from state.errors import BucketUnavailable, StateError
from state.places import BucketPlace


def attach_recorded(catalog: Catalog, buckets: Buckets, data_root: Path) -> None:
    """Opens every bucket that the catalog remembers, so that data is readable before, or without, any spec.

    The state's is open already, by its place alone; of it the catalog knows the rest.
    """
    for name, state in catalog.objects("Bucket").items():
        if state.bucket is None:
            continue
        config = BucketPlace.from_dict(state.bucket.config).config(name.partition("/")[2], data_root)
        here = buckets.configs().get(config.name)
        buckets.attach(config if here is None else replace(here, rescue=config.rescue, timeout=config.timeout), opened=True)


class BucketController:
    """See `controllers.controller.Controller`.

    Args:
        state_bucket: name of the bucket that holds the state: it never moves, and is never let go of.
        wanted: see `rescue`.
        keeps: whether anything is kept in a bucket, or asked to be; one that is only a source need not be writable.
    """

    def __init__(
        self,
        catalog: Catalog,
        buckets: Buckets,
        data_root: Path,
        state_bucket: str,
        mirroring: Mirroring,
        wanted: Wanted,
        keeps: Callable[[str], bool],
    ) -> None:
        self._catalog = catalog
        self._buckets = buckets
        self._data_root = data_root
        self._state_bucket = state_bucket
        self._mirroring = mirroring
        self._wanted = wanted
        self._keeps = keeps

    def observe(self, resource: Resource) -> Observed:
        """The recorded and the attached place, and a light look at the store; at the state's, whether it holds the catalog still."""
        name = resource.key.name
        record = self._catalog.get(str(resource.key))
        recorded = BucketPlace.from_dict(record.bucket.config) if record is not None and record.bucket is not None else None
        attached = self._buckets.configs().get(name)
        spec = resource.spec_as(BucketSpec)
        place = planning.place(spec)
        observed = Observed(
            recorded=recorded,
            attached=attached,
            wanted=place.config(name, self._data_root),
            holds=self._holds(name) if recorded not in (None, place) else (),
            problem=self._problem(name) if attached is not None else None,
        )
        if spec.rescue is not None:
            observed = replace(
                observed,
                rescued=spec.rescue.bucket in self._buckets.configs(),
                declared=self._wanted(Key("Bucket", spec.rescue.bucket)) is not None,
                unfit=unfit(resource, self._wanted, self._data_root),
            )
        if name == self._state_bucket and observed.problem is None:
            self._catalog.check_standing()
        return self._with_mirror(name, spec, observed)

    def _with_mirror(self, name: str, spec: BucketSpec, observed: Observed) -> Observed:
        if spec.rescue is None or not spec.rescue.mirror or observed.unfit is not None:
            self._mirroring.forget(name)
            return observed
        if not observed.rescued or observed.attached != observed.wanted or observed.problem is not None:
            return observed
        look = self._mirroring.look(name, spec.rescue.bucket)
        return replace(observed, mirror=look.lag, overdue=look.overdue, pause=look.pause)

    def drift(self, observed: Observed) -> tuple[str, ...]:
        """A bucket is a place, and nothing in it is its own."""
        return ()

    def plan(self, resource: Resource, observed: Observed) -> tuple[Open | Mirror, ...]:
        """See `plan.plan`."""
        return planning.plan(resource, observed)

    def conclude(self, resource: Resource, observed: Observed) -> Outcome:
        """See `plan.conclude`."""
        return planning.conclude(resource, observed)

    def act(self, resource: Resource, step: Open | Mirror, revision: str) -> Started | None:
        """Raises what a store said when it cannot be reached, or written; BucketUnavailable if it breaks its promise."""
        if isinstance(step, Mirror):
            return self._mirroring.copy(resource.key.name, str(resource.key))
        self._open(resource, step, revision)
        return None

    def _open(self, resource: Resource, step: Open, revision: str) -> None:
        found = probe(open_store(step.config))
        config = step.config
        there = config.backend != "local" or Path(str(config.root), config.prefix).is_dir()
        only_read = found.reachable and there and not self._keeps(resource.key.name)
        if found.problem is not None and not only_read:
            raise found.problem
        if not found.conditional_put and not only_read:
            raise BucketUnavailable(
                resource.key.name, "put if absent", "a second writer overwrote what was there, so that no catalog can be kept in it"
            )
        self._buckets.attach(step.config)
        opened = BucketOpened(str(resource.key), step.place.to_dict(), found.conditional_put)
        self._catalog.commit((opened,), actor="daemon", reason=step.why, revision=revision)

    def retire(self, record: ObjectState) -> str:
        """A bucket whose data is still referred to stays known, so that the data stays readable."""
        holds = self._holds(record.object.partition("/")[2])
        return f"stays readable, since {', '.join(holds[:3])} has data in it" if holds else "is forgotten; its objects are not touched"

    def remove(self, record: ObjectState, revision: str) -> None:
        """Forgets the bucket, or only its spec while something lies in it. Objects are never deleted with a bucket."""
        name = record.object.partition("/")[2]
        self._mirroring.forget(name)
        holds = self._holds(name)
        change = Retained(record.object) if holds else Dropped(record.object)
        self._catalog.commit((change,), actor="daemon", reason="no spec asks for it", revision=revision)
        if not holds:
            self._buckets.detach(name)

    def _holds(self, bucket: str) -> tuple[str, ...]:
        """What has data here: datasets, indexes, and the state."""
        tables = {name: state.table for name, state in self._catalog.objects("Dataset").items()}
        found = [name for name, table in tables.items() if table is not None and table.bucket == bucket and table.files]
        indexes = {name: state.index for name, state in self._catalog.objects("Index").items()}
        found += [name for name, index in indexes.items() if index is not None and bucket in _buckets_of(index)]
        return (("the state",) if bucket == self._state_bucket else ()) + tuple(found)

    def _problem(self, name: str) -> str | None:
        try:
            self._buckets.ask(name)
        except StateError as error:
            return error.explain()
        return None


def _buckets_of(index: IndexRecord) -> set[str]:
    refs = [corpus.ref for corpus in index.corpora.values()] + [ref for build in index.builds.values() for ref in build.files.values()]
    return {ref.bucket for ref in refs}
