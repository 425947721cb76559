"""The hands of compaction: the job over what `compacting.py` chose, and what its entry replaces."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from controllers.dataset.compacting import SMALL_JOURNAL, Compact, arrivals, folded, places, within
from controllers.jobs import job_weight, run_job
from controllers.step import Started
from engines.files.table_writer import Content
from engines.jobs.executor import Executor
from engines.jobs.job import Job
from engines.sql.compacting import Compacted, CompactTask
from engines.sql.ledgers import instant_of
from engines.sql.readings import Reading, lineage, reading
from engines.sql.tables import sql_name
from engines.sql.views import make_view
from specs.digests import digest
from state import reasons
from state.buckets import Buckets
from state.catalog.data_files import COMPACTION
from state.catalog.entry import TableCommit
from state.catalog.tables import Ledger, Table
from state.reader import ObjectReader

_MONTH = len("2026-01")


@dataclass(frozen=True, slots=True)
class Compactions:
    """Blocking. views: the folder of views of tables. prefix_of: where the objects of a dataset's table go."""

    buckets: Buckets
    executor: Executor
    objects: ObjectReader
    views: Path
    prefix_of: Callable[[str], str]

    def run(self, table: Table, step: Compact) -> Started | tuple[Job, TableCommit]:
        """The entry to commit, once the job is done; whoever committed it forgets the job. Raises what the job raised."""
        scope = within(table, set(step.deltas))
        journals, edits = _journals(table, step), _edits(table, scope)
        task = self._task(table, scope, journals, edits)
        weight = job_weight(step.size, task.target)
        job = Job(digest(["compact", task.name]), "compact", "engines.sql.compacting:run", task.to_dict(), weight, f"Dataset/{table.name}")
        value = run_job(self.executor, job, reasons.COMPACTING, step.summary())
        if isinstance(value, Started):
            return value
        result = Compacted.from_dict(value)
        gone = (*journals, *edits)
        newest = {kind: max(ledger.at for ledger in gone if ledger.kind == kind) for kind in {ledger.kind for ledger in gone}}
        note = tuple(Ledger(n.kind, n.ref, n.rows, n.source, table.version + 1, newest.get(n.kind, table.at)) for n in result.ledgers)
        return job, folded(table, scope, result.parts, note, tuple(ledger.ref.key for ledger in gone))

    def _task(self, table: Table, scope: Table, journals: tuple[Ledger, ...], edits: tuple[Ledger, ...]) -> CompactTask:
        """Named by all that it reads, so that its result is of exactly that."""
        places = {file.source: file.sequence for file in scope.files}
        own = {edit.source for edit in edits}
        read = [file.ref.to_dict() for file in scope.files], [ledger.ref.to_dict() for ledger in (*journals, *edits)]
        return CompactTask(
            source=make_view(scope, self.views, self.objects, sql_name(table.name)).table,
            target=self.buckets.config(table.bucket),
            key_prefix=self.prefix_of(table.name),
            schema=table.schema,
            transformation=table.transformation,
            name=COMPACTION + digest([*read, table.schema.to_dict()]),
            sequence=max(file.sequence for file in scope.files),
            folds=tuple(file.key for file in scope.files),
            journals=tuple((one.ref.key, str(self.objects.path(one.ref)), instant_of(one) or 0) for one in journals),
            contents=_contents(table, scope),
            edit_keys=tuple(edit.ref.key for edit in edits),
            edits=tuple((str(self.objects.path(edit.ref)), places.get(edit.source, 0)) for edit in edits),
            others=tuple(
                (str(self.objects.path(file.ref)), file.sequence)
                for file in scope.files
                if file.role == "delta" and file.source not in own and edits
            ),
            readings=_readings(table) if edits else {},
            formers=lineage(table),
        )


def _contents(table: Table, scope: Table) -> tuple[Content, ...]:
    paths = {binding.digest: binding for binding in table.bindings.values()}
    found = []
    for digest_, place in places(table, scope).items():
        binding = paths.get(digest_)
        found.append(Content(digest_, place, None, 0) if binding is None else Content(digest_, place, binding.path, binding.size))
    return tuple(found)


def _readings(table: Table) -> dict[int, Reading]:
    """Of every schema: an edit may be of one that no file has any more."""
    found = {schema.id: reading(table.schemas, schema.id, table.schema) for schema in table.schemas}
    return {number: one for number, one in found.items() if one is not None}


def _journals(table: Table, step: Compact) -> tuple[Ledger, ...]:
    """Small ones that came with what is folded or before, of the month that has most of them; none where there is but one.

    Months stay apart, so that what `keep` gives up of the journal is not held by what came later.
    """
    came = arrivals(table)
    last = max(came.get(key, 0) for key in step.deltas)
    small = [found for found in table.ledgers if found.kind == "journal" and found.rows < SMALL_JOURNAL and found.version <= last]
    months: dict[str, list[Ledger]] = {}
    for found in small:
        months.setdefault(found.at[:_MONTH], []).append(found)
    most = max(months.values(), key=len, default=[])
    return tuple(most) if len(most) > 1 else ()


def _edits(table: Table, scope: Table) -> tuple[Ledger, ...]:
    """Those that are folded now, and those that were."""
    pending = {file.source for file in table.files} - {file.source for file in scope.files}
    return tuple(found for found in table.ledgers if found.kind == "edit" and found.source not in pending)
