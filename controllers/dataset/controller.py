"""Dataset's hands: lists files and looks at the table (`observe`), takes the steps (`act`). Next: `ingesting.py`, `publishing.py`.

An ingest is one job over all files of a step, and one catalog entry publishes it: readers see all of it or nothing. The
job's id derives from its inputs, so that a crash between the end of the job and the entry finds the result again.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from controllers.dataset import endings, origins
from controllers.dataset import plan as planning
from controllers.dataset.checks import FileChecks
from controllers.dataset.commit import amendment, sequences
from controllers.dataset.compacting import Compact, due
from controllers.dataset.compaction import Compactions
from controllers.dataset.contracts import Contracts
from controllers.dataset.edit_rules import EditRules
from controllers.dataset.edits import Edits
from controllers.dataset.evolving import Evolve
from controllers.dataset.files import Listing, SourceFiles
from controllers.dataset.freshness import freshness
from controllers.dataset.ingesting import Ingests
from controllers.dataset.journalling import Journalling
from controllers.dataset.migration import Migrations
from controllers.dataset.objects import SourceObjects
from controllers.dataset.origins import Input
from controllers.dataset.publishing import Publishing
from controllers.dataset.refresh import Slot, slot
from controllers.dataset.row_sources import RowSources
from controllers.dataset.standing import SOUND, Standing
from controllers.dataset.steps import Correct, DatasetStep, Fetch, Follow, GiveUp, Identify, Observed, TakeUp
from controllers.dataset.together import Member, Together
from controllers.dataset.versions import expired
from controllers.events import Events
from controllers.jobs import job_weight, run_job
from controllers.outcome import Outcome
from controllers.step import Started
from engines.files.batch import BatchResult
from engines.files.extract import Extract, ExtractTask
from engines.jobs.executor import Executor
from engines.jobs.job import Job
from engines.mirroring import MirrorTask
from specs.digests import digest
from specs.errors import LakehouseError
from specs.kinds.dataset import DatasetSpec
from specs.resource import Key, Resource
from state import reasons
from state.buckets import Buckets
from state.catalog.catalog import Catalog
from state.catalog.entry import Adopted, Dropped, Renamed, Retained
from state.catalog.fold import ObjectState
from state.catalog.tables import Table
from state.discards import Discards
from state.errors import BucketUnknown
from state.failpoints import declare, hit
from state.reader import ObjectReader
from state.references import Place, references
from state.timestamps import Clock

_log = logging.getLogger(__name__)

_BEFORE_FOLD = declare("folding.before-commit")
_AFTER_FOLD = declare("folding.after-commit")
_BEFORE_MIGRATION = declare("migration.before-commit")
_AFTER_MIGRATION = declare("migration.after-commit")


class DatasetController:
    """See `controllers.controller.Controller`.

    Args:
        wanted: the spec in force of another object, None if nobody wants it.
        members: every Dataset that is wanted.
        views: the folder of views of tables, a cache.
    """

    def __init__(
        self,
        catalog: Catalog,
        buckets: Buckets,
        discards: Discards,
        executor: Executor,
        files: SourceFiles,
        events: Events,
        checks: FileChecks,
        wanted: Callable[[Key], Resource | None],
        members: Callable[[], Iterable[Member]],
        objects: ObjectReader,
        views: Path,
        rows: RowSources,
        source_objects: SourceObjects,
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._buckets = buckets
        self._discards = discards
        self._executor = executor
        self._files = files
        self._events = events
        self._checks = checks
        self._wanted = wanted
        self._objects = objects
        self._views = views
        self._rows = rows
        self._source_objects = source_objects
        self._clock = clock
        self._compactions = Compactions(buckets, executor, objects, views, self._key_prefix)
        self._journalling = Journalling(catalog, buckets, objects, views, self._key_prefix)
        self._migrations = Migrations(buckets, executor, objects)
        self._contracts = Contracts(catalog, objects, views)
        self.edits = Edits(catalog, buckets, objects.path, self._key_prefix, EditRules(self._contracts, members), events, clock)
        self._together = Together(catalog, members, self.observe, objects.whole, clock)
        self._publishing = Publishing(catalog, events, self._journalling, self._together, clock)
        self._ingests = Ingests(buckets, files, objects, self._contracts, self._journalling, source_objects, self._key_prefix)

    def observe(self, resource: Resource) -> Observed:
        """The table, the files that match, and whether the table's own files are whole."""
        spec = resource.spec_as(DatasetSpec)
        table = self._catalog.table(resource.key.name)
        former, former_wanted = None, False
        if table is None and spec.renamed_from is not None:
            former = self._catalog.table(spec.renamed_from)
            former_wanted = self._wanted(Key("Dataset", spec.renamed_from)) is not None
        standing = self._checks.look(table) if table is not None else SOUND
        slot = self._slot(resource, table)
        inputs, blocked = self._rows.inputs(spec)
        listing, away = self._listing(resource, table, slot, standing, inputs)
        now = self._clock()
        return Observed(
            table=table,
            listing=listing,
            bucket_attached=self._attached(spec.bucket),
            standing=standing,
            former=former,
            former_wanted=former_wanted,
            bucket_declared=self._wanted(Key("Bucket", spec.bucket)) is not None,
            expired=expired(table, spec.keep, now),
            compaction=due(table, spec.compaction, now) if table is not None else None,
            fresh=freshness(spec, table, listing.files, now),
            slot=slot,
            inputs=inputs,
            blocked=blocked or away,
            against=self._contracts.against(spec),
            unjudged=self._contracts.problem(spec),
        )

    def _slot(self, resource: Resource, table: Table | None) -> Slot:
        spec = resource.spec_as(DatasetSpec)
        record = self._catalog.get(str(resource.key))
        honoured = table.origin.slot if table is not None and table.origin is not None else ""
        asked = max(record.asked if record is not None else "", self._contracts.moved(spec, table))
        found = slot(resource.key.name, spec.refresh, honoured, asked, self._clock())
        # files that are watched are due whenever they change; their schedule only makes us look
        return Slot(seconds=found.seconds) if spec.source.in_files and spec.refresh.watch else found

    def _listing(
        self, resource: Resource, table: Table | None, slot: Slot, standing: Standing, inputs: tuple[Input, ...]
    ) -> tuple[Listing, Outcome | None]:
        """What is there to read; or was last, and why it cannot be looked at now."""
        spec = resource.spec_as(DatasetSpec)
        wanted = planning.transformation(spec)
        if not spec.source.in_files:
            return origins.listing(spec, table, slot, inputs, standing.damaged, wanted), None
        if table is None or spec.refresh.watch or slot.due or standing.damaged or table.transformation != wanted:
            if spec.source.bucket is not None:
                return self._source_objects.look(resource, table)
            return self._files.list(spec.source.files, spec.source.format), None
        return origins.as_bound(table), None

    def drift(self, observed: Observed) -> tuple[str, ...]:
        """Keys of data files."""
        return tuple(sorted(observed.damaged))

    def plan(self, resource: Resource, observed: Observed) -> tuple[DatasetStep, ...]:
        """See `plan.plan`."""
        return planning.plan(resource, observed)

    def conclude(self, resource: Resource, observed: Observed) -> Outcome:
        """See `endings.conclude`."""
        return endings.conclude(resource, observed)

    def act(self, resource: Resource, step: DatasetStep, revision: str) -> Started | None:
        """Takes over a table, or ingests and commits. Raises FileChanged, JobFailed and state errors: all are retried."""
        name = str(resource.key)
        match step:
            case TakeUp(source=source):
                change = Adopted(name) if source is None else Renamed(name, source)
                self._catalog.commit((change,), actor="daemon", reason=step.why, revision=revision)
                reason = reasons.ADOPTED if source is None else reasons.RENAMED
                self._events.record_event(name, "Normal", reason, step.summary(), revision)
                return None
            case Fetch():
                return self._fetch(resource, step)
            case Correct() | GiveUp():
                self._amend(resource, step, revision)
                return None
            case Compact() | Evolve():
                return self._transform(resource, step, revision)
            case Identify():
                return self._source_objects.identify(resource, step)
            case Follow():
                return self._follow(resource, step, revision)

    def retire(self, record: ObjectState) -> str:
        """Data is retained unless the spec said `deletion: delete`."""
        if not _has_data(record):
            return "it had no data"
        return "its rows and files are deleted" if self._deletes(record) else "its data is retained"

    def remove(self, record: ObjectState, revision: str) -> None:
        """Retains or drops the table; a dropped one's objects, of former versions too, are deleted after the entry that forgets it."""
        self._executor.keep_only(record.object, frozenset())
        if _has_data(record) and not self._deletes(record):
            self._catalog.commit((Retained(record.object),), actor="daemon", reason="no spec asks for it", revision=revision)
            return
        with self._discards.after(record.object, self._everything(record)):
            reason = "deletion: delete" if self._deletes(record) else "it had no data"
            self._catalog.commit((Dropped(record.object),), actor="daemon", reason=reason, revision=revision)

    def _everything(self, record: ObjectState) -> Iterator[Place]:
        """Its data files and all objects below its own folder, but for those that moved to another table with its name."""
        table = record.table
        if table is None:
            return
        others = (state for state in self._catalog.objects("Dataset").values() if state.object != record.object)
        taken = {ref.key for other in others for ref in references(other)}
        yield from ((file.ref.bucket, file.ref.key) for file in table.files)
        for info in self._buckets.store(table.bucket).list(f"datasets/{record.name}/"):
            if info.key not in taken:
                yield table.bucket, info.key

    def _deletes(self, record: ObjectState) -> bool:
        return record.managed is not None and record.managed.deletion == "delete"

    def _attached(self, bucket: str) -> bool:
        try:
            self._buckets.store(bucket)
        except BucketUnknown:
            return False
        return True

    def _fetch(self, resource: Resource, step: Fetch) -> Started | None:
        """A job that copies back what the rescue bucket has. What is not what the catalog says is never put, and not tried again."""
        bucket = resource.spec_as(DatasetSpec).bucket
        rescue = self._buckets.rescue(bucket)
        if rescue is None:
            return None
        task = MirrorTask(self._buckets.config(rescue), self._buckets.config(bucket), step.copies)
        weight = job_weight(task.size, task.source, task.target)
        arguments, name = task.to_dict(), str(resource.key)
        job = Job(f"fetch-{digest(arguments)}", "mirror", "engines.mirroring:run", arguments, weight, name)
        result = run_job(self._executor, job, reasons.MIRRORING, step.summary())
        if isinstance(result, Started):
            return result
        self._checks.useless(tuple(copy for copy in step.copies if copy.key in set(result["damaged"])))
        self._executor.forget(job.id)
        return None

    def _amend(self, resource: Resource, step: Correct | GiveUp, revision: str) -> None:
        """One entry that reads no source."""
        table = self._catalog.table(resource.key.name)
        assert table is not None
        change = amendment(str(resource.key), table, step)
        if isinstance(step, GiveUp) and step.gone:
            rows = sum(ledger.rows for ledger in table.ledgers if ledger.ref.key in change.drop and ledger.kind == "journal")
            lost = [f"{rows:,} rows of the journal"] if rows else []
            lost += [f"versions before {change.forget}"] if change.forget else []
            message = f"{step.why}: {' and '.join(lost)} are lost" if lost else step.why
            self._events.record_event(str(resource.key), "Warning", reasons.OBJECT_MISSING, message, revision)
        self._publishing.commit(resource, table, change, step.why, revision)

    def _transform(self, resource: Resource, step: Compact | Evolve, revision: str) -> Started | None:
        """By a job over the table's own files. Refused where the table is another by then."""
        table = self._catalog.table(resource.key.name)
        assert table is not None
        done = self._compactions.run(table, step) if isinstance(step, Compact) else self._migrations.run(table, step)
        if isinstance(done, Started):
            return done
        job, change = done
        hit(_BEFORE_FOLD if isinstance(step, Compact) else _BEFORE_MIGRATION)
        self._publishing.commit(resource, table, change, step.why, revision)
        hit(_AFTER_FOLD if isinstance(step, Compact) else _AFTER_MIGRATION)
        if job is not None:
            self._executor.forget(job.id)
        if change.schema is not None:
            message = f"schema {change.schema.id}: {step.summary()}"
            self._events.record_event(str(resource.key), "Normal", reasons.SCHEMA_CHANGED, message, revision)
        return None

    def _follow(self, resource: Resource, step: Follow, revision: str) -> Started | None:
        table = self._catalog.table(resource.key.name)
        if step.ingest and not resource.spec_as(DatasetSpec).source.in_files:
            return self._read(resource, step, table, revision)
        result = BatchResult()
        job = self._ingests.job(resource, step, table, revision)
        together = resource.spec_as(DatasetSpec).publish == "together"
        if together and (offer := self._together.offered(resource, step, job.id if job is not None else None)) is not None:
            return self._together.publish(offer)
        if job is not None:
            value = run_job(self._executor, job, reasons.INGESTING, step.summary())
            if isinstance(value, Started):
                return value
            result = BatchResult.from_dict(value)
        name = job.id if job is not None else None
        done = partial(self._executor.forget, name) if name is not None else _nothing
        return self._publishing.publish(resource, step, table, Extract(result), revision, done, job=name, together=together)

    def _read(self, resource: Resource, step: Follow, table: Table | None, revision: str) -> Started | None:
        """As `_follow`, of rows that are in no file."""
        name = str(resource.key)
        spec, common, place = resource.spec_as(DatasetSpec), self._ingests.common(resource, step, table), sequences(table, step)
        by_hand = [file for file in step.ingest if file.edit is not None]
        edits = tuple(replace(self._ingests.task(common, spec, file), sequence=place[file.digest]) for file in by_hand)
        token = next(file.digest for file in step.ingest if file.edit is None)
        served = None
        if table is not None and not origins.adds(spec) and spec.publish != "together":
            served = self._journalling.served(step, table, origins.path(spec))
        told = self._journalling.task(resource, step, table, revision)
        task = ExtractTask(replace(common, sequence=place[token]), edits, told, served=served)
        begun = self._rows.begin(resource, step, table, task)
        if begun is None:
            return None
        together = spec.publish == "together"
        if together and (offer := self._together.offered(resource, begun.step, begun.job.id)) is not None:
            self._rows.end(name)
            return self._together.publish(offer)
        try:
            value = run_job(self._executor, begun.job, reasons.INGESTING, begun.step.summary())
        except LakehouseError:
            self._rows.end(name)
            raise
        if isinstance(value, Started):
            return value

        def done() -> None:
            self._rows.end(name)
            self._executor.forget(begun.job.id)

        if together:  # it may wait for others, and what is due meanwhile is another read
            self._rows.end(name)
        made = Extract.from_dict(value)
        return self._publishing.publish(resource, begun.step, table, made, revision, done, job=begun.job.id, together=together)

    def _key_prefix(self, name: str) -> str:
        """Where its files go. A table of this name that was dropped had others: its deletions may still be under way, or a writer's who
        slept through its own replacement, and must not meet what was made since of the same inputs.
        """
        record = self._catalog.view().peek(f"Dataset/{name}")
        return f"datasets/{name}" if record is None or not record.last_version else f"datasets/{name}/after-{record.last_version}"


def _nothing() -> None:
    """There is no job to forget."""


def _has_data(record: ObjectState) -> bool:
    return record.table is not None and bool(record.table.columns)
