"""The pointer of an index: what answers from now on. It moves with one catalog entry; tails that nobody needs then are let go of."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from controllers.events import Events
from specs.digests import digest
from specs.resource import Resource
from state import reasons
from state.catalog.catalog import Catalog
from state.catalog.entry import Change
from state.catalog.index_changes import Served, ServedBeside
from state.catalog.index_fold import served
from state.catalog.indexes import Choice, IndexRecord, ServingManifest
from state.discards import Discards
from state.failpoints import declare, hit
from state.references import Place
from state.trials import TrialBook

_BEFORE_SERVE = declare("index.before-serve")
_AFTER_SERVE = declare("index.after-serve")


class Cause(NamedTuple):
    """Who moves it and why, at which revision of the specs. digest: see `cause_of`."""

    actor: str
    reason: str
    revision: str | None
    digest: str = ""


def cause_of(index: Resource, generations: Iterable[Resource], choice: Choice | None) -> str:
    """Digest of the specs and of the choice that say what serves: what moves by the same ones is one change, in however many steps."""
    specs = sorted([generation.key.name, generation.digest] for generation in generations)
    return digest([index.digest, specs, None if choice is None else choice.to_dict()])


class Pointer:
    """Blocking."""

    def __init__(self, catalog: Catalog, discards: Discards, events: Events, trials: TrialBook) -> None:
        """trials: say of what serves that it does."""
        self._catalog = catalog
        self._discards = discards
        self._events = events
        self._trials = trials

    def move(self, index: str, manifest: ServingManifest, cause: Cause, message: str, besides: Sequence[Change] = ()) -> None:
        """index: "Index/name". message: of the event, which there is where it answers otherwise than before. besides: changes of the same
        entry."""
        record = self._catalog.index(index.partition("/")[2])
        change = Served(index, manifest, cause.digest)
        hit(_BEFORE_SERVE)
        with self._discards.after(index, _let_go(record, change) if record is not None else ()):
            changes = (*besides, change)
            self._catalog.commit(changes, actor=cause.actor, reason=cause.reason, revision=cause.revision or "")
        hit(_AFTER_SERVE)
        if record is not None and record.truths:
            self._trials.promoted(record.name, manifest.build, manifest.search)
        if record is None or record.serving is None or not record.same_way(manifest, record.serving):
            self._events.record_event(index, "Normal", reasons.PROMOTED, message, cause.revision)

    def move_beside(self, index: str, model: str, manifest: ServingManifest, cause: Cause) -> None:
        """The same for a model beside the one that serves. An event tells when it begins to answer, or answers in another way."""
        record = self._catalog.index(index.partition("/")[2])
        known = record.beside.get(model) if record is not None else None
        self._commit_beside(index, ServedBeside(index, model, manifest), cause)
        if record is None or known is None or not record.same_way(manifest, known):
            self._events.record_event(
                index, "Normal", reasons.CREATED, f"{model} answers beside what serves ({manifest.build[:8]})", cause.revision
            )

    def withdraw(self, index: str, model: str, cause: Cause) -> None:
        """Ends the answers by a model beside the one that serves."""
        self._commit_beside(index, ServedBeside(index, model, None), cause)

    def _commit_beside(self, index: str, change: ServedBeside, cause: Cause) -> None:
        record = self._catalog.index(index.partition("/")[2])
        hit(_BEFORE_SERVE)
        with self._discards.after(index, _let_go(record, change) if record is not None else ()):
            self._catalog.commit((change,), actor=cause.actor, reason=cause.reason, revision=cause.revision or "")
        hit(_AFTER_SERVE)


def _let_go(record: IndexRecord, change: Served | ServedBeside) -> Iterator[Place]:
    """The tails that nothing serves by any more after the change."""
    kept = {ref for tail in served(record, change).tails for ref in tail.refs}
    yield from ((ref.bucket, ref.key) for tail in record.tails for ref in tail.refs if ref not in kept)
