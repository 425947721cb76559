"""Dataset's hands: lists files and looks at the table (`observe`), runs the ingest and commits its result (`act`).

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
from controllers.dataset.commit import Accepted, Outcomes, amendment, commit, refusals, sequences
from controllers.dataset.compacting import Compact, due
from controllers.dataset.compaction import Compactions
from controllers.dataset.contracts import Contracts, contract_of
from controllers.dataset.edit_rules import EditRules
from controllers.dataset.edits import Edits
from controllers.dataset.evolving import Evolve, shapes, widening_words
from controllers.dataset.files import Listing, SourceFile, SourceFiles, how_read
from controllers.dataset.freshness import freshness
from controllers.dataset.inferred import inferred
from controllers.dataset.journalling import Journalling, replaces
from controllers.dataset.ledgers import letting_go
from controllers.dataset.migration import Migrations, former
from controllers.dataset.objects import SourceObjects
from controllers.dataset.origins import Input
from controllers.dataset.refresh import Slot, slot
from controllers.dataset.row_sources import RowSources
from controllers.dataset.standing import SOUND, Standing
from controllers.dataset.steps import Correct, DatasetStep, Fetch, Follow, GiveUp, Identify, Observed, TakeUp
from controllers.dataset.together import Member, Offer, Together
from controllers.dataset.versions import expired, stamped
from controllers.events import Events
from controllers.jobs import job_weight, run_job
from controllers.outcome import Outcome
from controllers.step import Started
from engines.files.batch import Batch, BatchResult
from engines.files.extract import Extract, ExtractTask
from engines.files.formats import work_of
from engines.files.ingest import IngestTask
from engines.jobs.executor import Executor
from engines.jobs.job import Job
from engines.mirroring import MirrorTask
from engines.row_keys import DELETED_COLUMN
from engines.sql.readings import lineage
from specs.digests import digest
from specs.errors import LakehouseError
from specs.kinds.dataset import DatasetSpec
from specs.resource import Key, Resource
from state import reasons
from state.buckets import Buckets
from state.catalog.catalog import Catalog
from state.catalog.entry import Adopted, Dropped, Renamed, Retained, TableCommit
from state.catalog.fold import ObjectState
from state.catalog.tables import Ledger, Refusal, Table
from state.discards import Discards
from state.errors import BucketUnknown
from state.failpoints import declare, hit
from state.reader import ObjectReader
from state.references import Place, references
from state.timestamps import Clock, iso

_log = logging.getLogger(__name__)

_BEFORE_COMMIT = declare("dataset.before-commit")
_AFTER_COMMIT = declare("dataset.after-commit")
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
        self._commit(resource, table, change, step.why, revision)

    def _commit(self, resource: Resource, table: Table | None, change: TableCommit, why: str, revision: str) -> None:
        """table: as it was when the change was made up. Raises ChangeRefused where it is another by now."""
        self._catalog.commit((self._stamped(resource, table, change),), actor="daemon", reason=why, revision=revision)

    def _stamped(self, resource: Resource, table: Table | None, change: TableCommit) -> TableCommit:
        spec = resource.spec_as(DatasetSpec)
        return letting_go(stamped(change, table, spec.keep, self._clock()), table, adds=origins.adds(spec))

    def _transform(self, resource: Resource, step: Compact | Evolve, revision: str) -> Started | None:
        """By a job over the table's own files. Refused where the table is another by then."""
        table = self._catalog.table(resource.key.name)
        assert table is not None
        done = self._compactions.run(table, step) if isinstance(step, Compact) else self._migrations.run(table, step)
        if isinstance(done, Started):
            return done
        job, change = done
        hit(_BEFORE_FOLD if isinstance(step, Compact) else _BEFORE_MIGRATION)
        self._commit(resource, table, change, step.why, revision)
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
        job = self._job(resource, step, table, revision)
        together = resource.spec_as(DatasetSpec).publish == "together"
        if together and (offer := self._together.offered(resource, step, job.id if job is not None else None)) is not None:
            return self._together.publish(offer)
        if job is not None:
            value = run_job(self._executor, job, reasons.INGESTING, step.summary())
            if isinstance(value, Started):
                return value
            result = BatchResult.from_dict(value)
        made, done = Extract(result), partial(self._executor.forget, job.id) if job is not None else _nothing
        return self._publish(resource, step, table, made, revision, done, job=job.id if job is not None else None, together=together)

    def _read(self, resource: Resource, step: Follow, table: Table | None, revision: str) -> Started | None:
        """As `_follow`, of rows that are in no file."""
        name = str(resource.key)
        spec, common, place = resource.spec_as(DatasetSpec), self._common(resource, step, table), sequences(table, step)
        edits = tuple(replace(self._task(common, spec, file), sequence=place[file.digest]) for file in step.ingest if file.edit is not None)
        token = next(file.digest for file in step.ingest if file.edit is None)
        task = ExtractTask(replace(common, sequence=place[token]), edits, self._journalling.task(resource, step, table, revision))
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
        return self._publish(resource, begun.step, table, made, revision, done, job=begun.job.id, together=together)

    def _publish(
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
        change = commit(str(resource.key), resource.spec_as(DatasetSpec), table, step, outcomes)
        at, version = iso(self._clock()), self._journalling.next_version(resource, table)
        noted = [*result.ledgers, *self._journalling.left(resource, step, table, change, revision)]
        change = replace(change, note=tuple(Ledger(n.kind, n.ref, n.rows, n.source, version, at, job or "", n.against) for n in noted))

        def tell() -> None:
            # the one refusal of a source that is no file is what the status says
            self._tell(resource, step, table, result, refused if outcomes.origin is None else (), revision)
            done()

        if together and not refused:
            return self._together.publish(Offer(resource, table, step, job, self._stamped(resource, table, change), revision, tell, done))
        hit(_BEFORE_COMMIT)
        # what holds the others up is told at once, and nothing else is published
        change = refusals(str(resource.key), resource.spec_as(DatasetSpec), table, step, refused) if together else change
        self._commit(resource, table, change, step.why, revision)
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

    def _common(self, resource: Resource, step: Follow, table: Table | None) -> IngestTask:
        """What all files of a step have in common."""
        spec = resource.spec_as(DatasetSpec)
        # an emptied table asks nothing of the next file, whatever its columns once were
        known = table is not None and not step.reset and table.columns and (table.files or table.bindings)
        schema = table.schema if table is not None and known else None
        return IngestTask(
            dataset=resource.key.name,
            path="",
            display_path="",
            digest="",
            format="csv",
            target=self._buckets.config(spec.bucket),
            key_prefix=self._key_prefix(resource.key.name),
            transformation=step.transformation,
            schema=schema,
            overrides={name: column.type for name, column in spec.columns.items() if column.type is not None},
            primary_key=tuple(spec.primary_key),
            write=spec.write,
            next_column_id=table.next_column_id if table is not None else 1,
            next_schema_id=table.next_schema_id if table is not None else 1,
            tombstone=spec.tombstone,
            contract=self._contracts.terms(spec, table, step),
            shape=shapes(spec, table)(None),
            formers=lineage(table) if table is not None and schema is not None else (),
        )

    def _job(self, resource: Resource, step: Follow, table: Table | None, revision: str) -> Job | None:
        """None where no file is read and no row told."""
        spec = resource.spec_as(DatasetSpec)
        if not step.ingest and not step.renew and not replaces(spec, table, step):
            return None
        told = self._journalling.task(resource, step, table, revision)
        leaving = told.replaced.leaving if told.replaced is not None else ()
        if not step.ingest and not step.renew and not leaving:
            return None
        common = self._common(resource, step, table)
        place = sequences(table, step)
        shape = shapes(spec, table)
        tasks = tuple(
            replace(self._task(common, spec, file), sequence=place[file.digest], shape=shape(file.digest)) for file in step.ingest
        )
        compared = None if table is None or common.schema is None or step.repair else former(spec, table, self._objects)
        arguments = Batch(tasks, told, compared).to_dict()
        read = sum(work_of(file.path, file.size) for file in (*step.ingest, *step.renew))
        compares = sum(file.ref.size for file in table.files) if table is not None and leaving else 0
        job = Job(
            id=digest(["ingest", arguments]),
            kind="ingest",
            function="engines.files.batch:run",
            arguments=arguments,
            weight=job_weight(read + compares, common.target),
            object=str(resource.key),
        )
        return job if spec.source.bucket is None or not step.ingest else self._source_objects.job(job, spec.source.bucket, step)

    def _key_prefix(self, name: str) -> str:
        """Where its files go. A table of this name that was dropped had others: its deletions may still be under way, or a writer's who
        slept through its own replacement, and must not meet what was made since of the same inputs.
        """
        record = self._catalog.view().peek(f"Dataset/{name}")
        return f"datasets/{name}" if record is None or not record.last_version else f"datasets/{name}/after-{record.last_version}"

    def _task(self, common: IngestTask, spec: DatasetSpec, file: SourceFile) -> IngestTask:
        if file.edit is not None:
            place = str(self._objects.path(file.edit))
            edit = replace(common, path=place, display_path=file.path, digest=file.digest, format="parquet", tombstone=DELETED_COLUMN)
            return replace(edit, contract=None)
        form, options = how_read(spec, file.path)
        path = str(self._files.resolve(file.path)) if file.object is None else ""
        facts = replace(common, path=path, display_path=file.path, digest=file.digest, size=file.size, mtime_ns=file.mtime_ns)
        return replace(facts, format=form, options=options)


def _untold(before: Table | None, after: Table | None, refused: tuple[Refusal, ...]) -> tuple[Refusal, ...]:
    """Those of which a change of status does not tell: it names the first one, in other words than before."""
    named, words = (next(iter(table.refusals.values()), None) if table is not None else None for table in (after, before))
    if named is not None and words is not None and endings.refusal_words(named) == endings.refusal_words(words):
        return refused
    return tuple(refusal for refusal in refused if refusal != named)


def _nothing() -> None:
    """There is no job to forget."""


def _has_data(record: ObjectState) -> bool:
    return record.table is not None and bool(record.table.columns)
