"""The hands of `evolving.py`: a job that tries a migration on the rows there are, and the entry that makes its schema the present one."""

from contextlib import suppress
from dataclasses import dataclass, replace

from controllers.dataset.evolving import Evolve
from controllers.dataset.table_files import TableFiles
from controllers.jobs import job_weight, run_job
from controllers.step import Started
from engines.files.drift import Former
from engines.jobs.executor import Executor
from engines.jobs.job import Job
from engines.migrations import schema_of
from engines.sql.migrating import MigrateTask, Rows, Tried
from engines.sql.readings import reading, readings
from engines.widening import surely_exact, widens
from specs.digests import digest
from specs.kinds.dataset import DatasetSpec
from state import reasons
from state.buckets import Buckets
from state.catalog.entry import TableCommit
from state.catalog.tables import Refusal, Table
from state.errors import ObjectCorrupt, ObjectMissing
from state.reader import ObjectReader


@dataclass(frozen=True, slots=True)
class Migrations:
    """Blocking."""

    buckets: Buckets
    executor: Executor
    objects: ObjectReader

    def run(self, table: Table, step: Evolve) -> Started | tuple[Job | None, TableCommit]:
        """The entry to commit, and the job to forget then. Raises what the job raised."""
        if not self._needs_trial(table, step):
            return None, _entry(table, step, Tried({}))
        columns = tuple((column.name, column.type) for column in table.columns)
        task = MigrateTask(table.name, columns, table.primary_key, step.parts, rows_of(table, self.objects))
        weight = job_weight(table.size, self.buckets.config(table.bucket))
        job = Job(
            digest(["migrate", task.to_dict()]), "migrate", "engines.sql.migrating:run", task.to_dict(), weight, f"Dataset/{table.name}"
        )
        value = run_job(self.executor, job, reasons.MIGRATING, step.summary())
        return value if isinstance(value, Started) else (job, _entry(table, step, Tried.from_dict(value)))

    def _needs_trial(self, table: Table, step: Evolve) -> bool:
        columns = {column.name: column for column in table.columns}
        casts = ((columns[part.cast], part.type or "") for part in step.parts if part.cast is not None)
        exact = all(kind == "string" or (widens(column.type, kind) and surely_exact(table, column, kind)) for column, kind in casts)
        return not exact or any(part.computed for part in step.parts)


def rows_of(table: Table, objects: ObjectReader) -> tuple[Rows, ...]:
    """The table's files to try a migration on. Fetches them where they are remote; raises what that raises."""
    paths = {binding.digest: binding.path for binding in table.bindings.values()}
    return tuple(
        Rows(str(objects.path(file.ref)), paths.get(file.source, file.key), reading(table.schemas, file.schema_id, table.schema))
        for file in table.readable
    )


def former(spec: DatasetSpec, table: Table, files: TableFiles) -> Former:
    """What new files are compared with: the newest rows, best of those that are read by name."""
    others = readings(table)
    newest = max(table.readable, key=lambda file: (file.schema_id not in others, file.sequence), default=None)
    columns = [column for column in table.columns if column.type == "int64"]
    exact = tuple(column.name for column in columns if surely_exact(table, column, "float64"))
    rows = None
    with suppress(ObjectMissing, ObjectCorrupt):  # a step that reads what is damaged again, or does without it, is none that fails of it
        rows = None if newest is None else files.part(newest.ref, others.get(newest.schema_id))
    return Former(rows, exact, tuple(spec.columns))


def _entry(table: Table, step: Evolve, tried: Tried) -> TableCommit:
    kept = TableCommit(f"Dataset/{table.name}", table.transformation, table.bucket, table.primary_key, table.write)
    if tried.fault is not None:
        return replace(kept, refuse=(Refusal(step.path, step.tried, None, tried.fault, table.transformation),))
    schema = (
        schema_of(step.parts, tried.types, table.schema, table.next_column_id, table.next_schema_id, step.marks) if step.parts else None
    )
    # what was refused under the former schema may fit now
    return replace(kept, transformation=step.transformation, primary_key=step.key, schema=schema, accept=tuple(table.refusals))
