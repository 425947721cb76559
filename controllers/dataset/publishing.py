"""How a step becomes visible: one catalog entry for all of it, then the events that go with it; or an offer of both, to be published with
others'. Next: `commit.py` for what the entry says, `together.py` for groups.
"""

from collections.abc import Callable
from dataclasses import replace

from controllers.dataset import endings, origins
from controllers.dataset.commit import Accepted, Outcomes, commit, refusals, unchanged
from controllers.dataset.contracts import contract_of
from controllers.dataset.evolving import widening_words
from controllers.dataset.inferred import inferred
from controllers.dataset.journalling import Journalling
from controllers.dataset.ledgers import letting_go
from controllers.dataset.overtaking import overtaken
from controllers.dataset.steps import Follow
from controllers.dataset.together import Offer, Together
from controllers.dataset.versions import stamped
from controllers.events import Events
from controllers.step import Started
from engines.files.batch import BatchResult
from engines.files.extract import Extract
from specs.kinds.dataset import DatasetSpec
from specs.resource import Resource
from state import reasons
from state.catalog.catalog import Catalog
from state.catalog.entry import TableCommit
from state.catalog.tables import Ledger, Refusal, Table
from state.failpoints import declare, hit
from state.timestamps import Clock, iso

_BEFORE_COMMIT = declare("dataset.before-commit")
_AFTER_COMMIT = declare("dataset.after-commit")


class Publishing:
    """Blocking; one object at a time each."""

    def __init__(self, catalog: Catalog, events: Events, journalling: Journalling, together: Together, clock: Clock) -> None:
        self._catalog = catalog
        self._events = events
        self._journalling = journalling
        self._together = together
        self._clock = clock

    def commit(self, resource: Resource, table: Table | None, change: TableCommit, why: str, revision: str) -> None:
        """table: as it was when the change was made up. Raises ChangeRefused where it is another by now."""
        self._catalog.commit((self._stamped(resource, table, change),), actor="daemon", reason=why, revision=revision)

    def _stamped(self, resource: Resource, table: Table | None, change: TableCommit) -> TableCommit:
        spec = resource.spec_as(DatasetSpec)
        return letting_go(stamped(change, table, spec.keep, self._clock()), table, adds=origins.adds(spec))

    def publish(
        self,
        resource: Resource,
        step: Follow,
        table: Table | None,
        made: Extract,
        revision: str,
        done: Callable[[], None],
        *,
        job: str | None = None,
        together: bool = False,
    ) -> Started | None:
        """One entry for the whole step, then the events that go with it; or an offer of it, to be published together with others'.

        done: called after the entry. job: whose result it is.
        """
        result = made.rows
        by_digest = {file.digest: file for file in step.ingest}
        accepted = tuple(Accepted(by_digest[digest], parts) for digest, parts in result.files.items())
        refused = tuple(
            Refusal(by_digest[d].path, d, line, reason, step.transformation, by_digest[d].object)
            for d, (line, reason) in result.refused.items()
        )
        origin = None if resource.spec_as(DatasetSpec).source.in_files else replace(made.origin, read=iso(self._clock()))
        outcomes = Outcomes(accepted, refused, result.schema, origin, made.keeps)
        name, spec = str(resource.key), resource.spec_as(DatasetSpec)
        if made.same and table is not None:
            self.commit(resource, table, unchanged(name, spec, table, step, origin), step.why, revision)
            done()
            return None
        change = commit(name, spec, table, step, outcomes)
        at, version = iso(self._clock()), self._journalling.next_version(resource, table)
        noted = [*result.ledgers, *self._journalling.left(resource, step, table, change, revision)]
        change = replace(change, note=tuple(Ledger(n.kind, n.ref, n.rows, n.source, version, at, job or "", n.against) for n in noted))

        def tell() -> None:
            # the one refusal of a source that is no file is what the status says
            self._tell(resource, step, table, result, refused if outcomes.origin is None else (), revision)
            for sentence in overtaken(table, change):
                self._events.record_event(str(resource.key), "Warning", reasons.ROWS_OVERTAKEN, sentence, revision)
            done()

        if together and not refused:
            return self._together.publish(Offer(resource, table, step, job, self._stamped(resource, table, change), revision, tell, done))
        hit(_BEFORE_COMMIT)
        # what holds the others up is told at once, and nothing else is published
        change = refusals(str(resource.key), resource.spec_as(DatasetSpec), table, step, refused) if together else change
        self.commit(resource, table, change, step.why, revision)
        hit(_AFTER_COMMIT)
        tell()
        return None

    def _tell(
        self, resource: Resource, step: Follow, table: Table | None, result: BatchResult, refused: tuple[Refusal, ...], revision: str
    ) -> None:
        """The events of an entry that was committed. table: as it was before."""
        made = result.schema
        if made is not None and made.derivation is not None and table is not None and made != table.schema:
            message = f"schema {made.id}: {widening_words(table.schema, made)}"
            self._events.record_event(str(resource.key), "Normal", reasons.SCHEMA_CHANGED, message, revision)
        for path in step.gone:
            message = f"{path} is gone; its rows stay, since the dataset's write mode keeps them"
            self._events.record_event(str(resource.key), "Normal", reasons.SOURCE_FILE_GONE, message, revision)
        for refusal in _untold(table, self._catalog.table(resource.key.name), refused):
            self._events.record_event(str(resource.key), "Warning", reasons.FILE_REFUSED, endings.refusal_words(refusal), revision)
        contract = contract_of(resource.spec_as(DatasetSpec))
        held = contract is not None and contract.on_violation == "quarantine"
        for sentence in result.violations:
            reason = reasons.ROWS_QUARANTINED if held else reasons.CONTRACT_BROKEN
            self._events.record_event(str(resource.key), "Warning", reason, sentence, revision)
        if result.guesses:
            self._events.record_event(str(resource.key), "Normal", reasons.COLUMNS_INFERRED, inferred(result.guesses), revision)
        for warning in result.warnings:
            self._events.record_event(str(resource.key), "Warning", reasons.INGEST_WARNING, warning, revision)


def _untold(before: Table | None, after: Table | None, refused: tuple[Refusal, ...]) -> tuple[Refusal, ...]:
    """Those of which a change of status does not tell: it names the first one, in other words than before."""
    named, words = (next(iter(table.refusals.values()), None) if table is not None else None for table in (after, before))
    if named is not None and words is not None and endings.refusal_words(named) == endings.refusal_words(words):
        return refused
    return tuple(refusal for refusal in refused if refusal != named)
