"""Hands for sources that are no files: what a query reads and whether it may, and the job that reads.

A read that has begun is finished, though a newer slot or version is there by then: what changes faster than a read takes would else never
be read. What it brought is published as what it was of, and the next visit begins anew. Nothing is connected to here: jobs do that.
Next: `origins.py` for tokens, `engines/postgres/extract.py` and `engines/sql/derived.py` for the jobs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from controllers.dataset import origins
from controllers.dataset.origins import EXTRACT, Input
from controllers.dataset.plan import quarantine
from controllers.dataset.steps import Follow
from controllers.jobs import job_weight
from controllers.outcome import Outcome, Stalled, Waiting
from engines.files.extract import ExtractTask
from engines.jobs.executor import Executor
from engines.jobs.job import Job
from engines.postgres.task import PostgresTask
from engines.reading import TableName
from engines.sql.deriving import DerivedTask, may_derive
from engines.sql.tables import sql_name
from engines.sql.views import make_view
from specs.digests import digest
from specs.kinds.dataset import DatasetSpec
from specs.resource import Key, Resource
from specs.sql_names import tables_of
from state import reasons
from state.catalog.catalog import Catalog
from state.catalog.tables import Table
from state.reader import ObjectReader

_MEMORY = 4 << 30
"""Bytes that a read may hold: several times what batches, and a query before it spills, take."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A read that runs, and the step that it is of."""

    job: Job
    step: Follow


class RowSources:
    """Blocking; one object at a time each."""

    def __init__(
        self, catalog: Catalog, objects: ObjectReader, executor: Executor, cache: Path, wanted: Callable[[Key], Resource | None]
    ) -> None:
        """cache: a folder for views of tables."""
        self._catalog = catalog
        self._objects = objects
        self._executor = executor
        self._cache = cache
        self._wanted = wanted
        self._begun: dict[str, Begun] = {}

    def inputs(self, spec: DatasetSpec) -> tuple[tuple[Input, ...], Outcome | None]:
        """The datasets that a query reads; or why it cannot run yet."""
        found: list[Input] = []
        for name in tables_of(spec.source.sql) if spec.source.sql is not None else ():
            table, key = self._catalog.table(name), Key("Dataset", name)
            if table is None and self._wanted(key) is None:
                return (), Waiting(reasons.REFERENCE_MISSING, f"{key} is not there; declare it", blocked_by=str(key))
            if table is None or not table.columns:
                return (), Waiting(reasons.DEPENDENCY_NOT_READY, f"{key} holds nothing yet", blocked_by=str(key))
            if not may_derive(TableName(sql_name(name), table.bucket)):
                return (), Stalled(reasons.SOURCE_REFUSED, f"a policy hides rows or values of {key} from derived datasets", str(key))
            found.append(Input(name, table.version, table.snapshot))
        return tuple(found), None

    def begin(self, resource: Resource, step: Follow, table: Table | None, task: ExtractTask) -> Begun | None:
        """The read to wait for: one that runs already, or a new one. None where the world moved on since the step was planned."""
        name = str(resource.key)
        known = self._begun.get(name)
        if known is not None and known.step.transformation == step.transformation and self._executor.has(known.job.id):
            return known
        spec = resource.spec_as(DatasetSpec)
        entry = next(file for file in step.ingest if file.edit is None)
        shown = f"{entry.path}{EXTRACT}{entry.digest}" if origins.adds(spec) else entry.path
        rows = replace(task.rows, digest=entry.digest, path="", display_path=shown, format="rows")
        task = replace(self._beside(spec, step, table, task), rows=rows, source=entry.path)
        arguments = self._postgres(spec, step, table, task) if spec.source.sql is None else self._derived(spec, step, task)
        if arguments is None:
            return None
        kind, function = ("postgres", "engines.postgres.extract:run") if spec.source.sql is None else ("derive", "engines.sql.derived:run")
        apart = rows.target.backend != "memory"
        job = Job(digest([kind, arguments]), kind, function, arguments, job_weight(0, rows.target), name, apart, _MEMORY)
        self._begun[name] = Begun(job, step)
        return self._begun[name]

    def end(self, name: str) -> None:
        """The read is over, whatever came of it."""
        self._begun.pop(name, None)

    def _beside(self, spec: DatasetSpec, step: Follow, table: Table | None, task: ExtractTask) -> ExtractTask:
        """With what is set aside of former reads. A read from the beginning brings it again."""
        known = table is not None and table.origin is not None and table.origin.cursor
        if table is None or not known or step.reset or not origins.adds(spec) or task.rows.contract is None:
            return task
        ledgers = [ledger for ledger in quarantine(table) if self._objects.whole(ledger.ref)]
        current = all(ledger.against in ("", task.rows.contract.against) for ledger in ledgers)
        return replace(task, aside=tuple(str(self._objects.path(ledger.ref)) for ledger in ledgers), current=current)

    def _postgres(self, spec: DatasetSpec, step: Follow, table: Table | None, rows: ExtractTask) -> Mapping[str, Any]:
        postgres = spec.source.postgres
        assert postgres is not None
        former = table if table is not None and origins.adds(spec) and not step.reset else None
        origin, held = (former.origin, former if former.files else None) if former is not None else (None, None)
        return PostgresTask(
            rows=rows,
            secret=postgres.dsn.secret,
            query=origins.statement(spec),
            reads=origins.reads(spec),
            cursor=postgres.cursor,
            last=(origin.cursor or None) if origin is not None else None,
            overlap=postgres.overlap.total_seconds(),
            held=None if held is None else make_view(held, self._cache / "views", self._objects, sql_name(held.name)).table.to_dict(),
        ).to_dict()

    def _derived(self, spec: DatasetSpec, step: Follow, rows: ExtractTask) -> Mapping[str, Any] | None:
        assert spec.source.sql is not None
        tables = [self._catalog.table(one.dataset) for one in step.inputs]
        if [table and table.snapshot for table in tables] != [one.snapshot for one in step.inputs]:
            return None
        views = [make_view(table, self._cache / "views", self._objects, sql_name(table.name)) for table in tables if table is not None]
        inputs = {one.dataset: one.version for one in step.inputs}
        return DerivedTask(rows, spec.source.sql, tuple(view.table.to_dict() for view in views), inputs).to_dict()
