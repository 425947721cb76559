"""What the files of a step are read by: a task for each, and the job of all. Next: `engines/files/batch.py`, which runs it."""

from collections.abc import Callable
from dataclasses import replace

from controllers.dataset.commit import sequences
from controllers.dataset.contracts import Contracts
from controllers.dataset.evolving import shapes
from controllers.dataset.files import SourceFile, SourceFiles, how_read
from controllers.dataset.journalling import Journalling, replaces
from controllers.dataset.migration import former
from controllers.dataset.objects import SourceObjects
from controllers.dataset.said import FormerContents
from controllers.dataset.steps import Follow
from controllers.dataset.table_files import TableFiles
from controllers.jobs import job_weight
from engines.files.batch import Batch
from engines.files.formats import work_of
from engines.files.ingest_task import IngestTask
from engines.jobs.job import Job
from engines.row_keys import DELETED_COLUMN
from engines.sensitivity.shown import EVERY_COLUMN
from engines.sql.readings import lineage
from specs.digests import digest
from specs.kinds.dataset import DatasetSpec
from specs.resource import Resource
from state.buckets import Buckets
from state.catalog.tables import Table
from state.descriptions import PUBLIC
from state.reader import ObjectReader


class Ingests:
    """Blocking; reads the catalog's records and nothing else."""

    def __init__(
        self,
        buckets: Buckets,
        files: SourceFiles,
        objects: ObjectReader,
        contracts: Contracts,
        journalling: Journalling,
        source_objects: SourceObjects,
        key_prefix: Callable[[str], str],
    ) -> None:
        """key_prefix: of a Dataset's objects."""
        self._buckets = buckets
        self._files = files
        self._objects = objects
        self._contracts = contracts
        self._journalling = journalling
        self._source_objects = source_objects
        self._key_prefix = key_prefix
        self._former_files = TableFiles(buckets, objects)
        self._former = FormerContents(self._former_files)

    def common(self, resource: Resource, step: Follow, table: Table | None) -> IngestTask:
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
            hidden=_hidden(spec),
        )

    def job(self, resource: Resource, step: Follow, table: Table | None, revision: str) -> Job | None:
        """None where no file is read and no row told."""
        spec = resource.spec_as(DatasetSpec)
        if not step.ingest and not step.renew and not replaces(spec, table, step):
            return None
        told = self._journalling.task(resource, step, table, revision)
        leaving = told.replaced.leaving if told.replaced is not None else ()
        if not step.ingest and not step.renew and not leaving:
            return None
        common = self.common(resource, step, table)
        place = sequences(table, step)
        shape = shapes(spec, table)
        tasks = tuple(
            replace(
                self.task(common, spec, file),
                sequence=place[file.digest], shape=shape(file.digest), said=self._former.said(spec, table, step, file),
            )
            for file in step.ingest
        )  # fmt: skip
        compared = None if table is None or common.schema is None or step.repair else former(spec, table, self._former_files)
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

    def task(self, common: IngestTask, spec: DatasetSpec, file: SourceFile) -> IngestTask:
        """Of one file."""
        if file.edit is not None:
            place = str(self._objects.path(file.edit))
            edit = replace(common, path=place, display_path=file.path, digest=file.digest, format="parquet", tombstone=DELETED_COLUMN)
            return replace(edit, contract=None)
        form, options = how_read(spec, file.path)
        path = str(self._files.resolve(file.path)) if file.object is None else ""
        facts = replace(common, path=path, display_path=file.path, digest=file.digest, size=file.size, mtime_ns=file.mtime_ns)
        return replace(facts, format=form, options=options)


def _hidden(spec: DatasetSpec) -> tuple[str, ...]:
    """Columns that the spec calls sensitive."""
    if set(spec.sensitivity) - {PUBLIC}:
        return (EVERY_COLUMN,)
    return tuple(name for name, column in spec.columns.items() if set(column.sensitivity) - {PUBLIC})
