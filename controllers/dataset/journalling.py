"""What the job of a step is to tell the journal: which rows of the table its own ones meet, and which leave.

Rows of a table with a key are told by field: an upsert's beside the former rows of the same keys; where a read takes the place of another
(`write: replace`, a query, all of a database's table), those that come beside those that leave. Tables without a key, files that add rows,
and tables that are made anew are told by file. Next: `engines/files/journalling.py`, which compares and writes.
"""

import sys
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path

from controllers.dataset import origins
from controllers.dataset.commit import Accepted, Outcomes, commit, leaving, sequences
from controllers.dataset.plan import quarantine
from controllers.dataset.steps import Follow
from controllers.dataset.table_files import LinkedFiles, TableFiles
from engines.files.journal import Cause
from engines.files.journalling import JournalTask, Leaving, Renewed, Replaced, journal_of_leaving
from engines.files.ledgers import Noted
from engines.sql.readings import PartFile, reading
from engines.sql.tables import sql_name
from engines.sql.views import make_view
from specs.kinds.dataset import DatasetSpec
from specs.resource import Resource
from state.buckets import Buckets
from state.catalog.catalog import Catalog
from state.catalog.data_files import DataFile
from state.catalog.entry import TableCommit
from state.catalog.tables import Table
from state.reader import ObjectReader


def replaces(spec: DatasetSpec, table: Table | None, step: Follow) -> bool:
    """Whether the rows that leave with the step are told beside those that come."""
    if table is None or step.reset or not spec.primary_key or not table.files:
        return False
    return spec.write == "replace" or (spec.write == "append" and not spec.source.in_files and not origins.adds(spec))


def gone(name: str, spec: DatasetSpec, table: Table, step: Follow) -> dict[str, tuple[str, ...]]:
    """The contents whose files the step removes, where nothing is refused; each with those whose refusal keeps it. Pure.

    name: of the object. One that is written again is among them, kept by its own refusal.
    """
    removed = commit(name, spec, table, step, Outcomes(tuple(Accepted(file, ()) for file in step.ingest))).remove
    brought = {file.path: file.digest for file in (*step.ingest, *step.bind)}
    found: dict[str, tuple[str, ...]] = {}
    for source in dict.fromkeys(file.source for file in table.files if file.key in removed):
        paths = [binding.path for binding in table.bindings.values() if binding.digest == source]
        found[source] = (source,) if source in step.repair else tuple(brought[path] for path in paths if path in brought)
    return found


@dataclass(frozen=True, slots=True)
class Journalling:
    """Blocking. views: the folder of views of tables. prefix_of: where the objects of a dataset's table go."""

    catalog: Catalog
    buckets: Buckets
    objects: ObjectReader
    views: Path
    prefix_of: Callable[[str], str]

    def next_version(self, resource: Resource, table: Table | None) -> int:
        """The one that the table's next change makes."""
        record = self.catalog.view().peek(str(resource.key))
        return (table.version if table is not None else record.last_version if record is not None else 0) + 1

    def task(self, resource: Resource, step: Follow, table: Table | None, revision: str) -> JournalTask:
        """What is to be noted of the rows that the step brings, and of those that leave where it `replaces` them."""
        spec, name = resource.spec_as(DatasetSpec), resource.key.name
        task = JournalTask(
            self._cause(resource, step, table, revision), self.buckets.config(spec.bucket), self.prefix_of(name),
            known=tuple(sorted(step.repair)),
        )  # fmt: skip
        if table is not None and replaces(spec, table, step):
            leaving = self._leaving(gone(str(resource.key), spec, table, step), table, step)
            compared = {one.digest for one in leaving}
            others = replace(table, files=tuple(file for file in table.readable if file.source not in compared | step.repair))
            linked = LinkedFiles(self._files)
            stay = make_view(others, self.views, linked, sql_name(name)).table if others.files else None
            known = tuple(sorted(step.repair - compared))
            replaced = Replaced(table.primary_key, leaving, stay)
            return replace(task, known=known, schema=table.schema, replaced=replaced, cached=tuple(linked.remote))
        if table is None or step.reset or spec.write != "upsert" or not table.readable:
            return task
        # what is damaged cannot be compared with: its rows count as new where other contents bring them as well
        damaged = {file.source for file in table.files if file.source in step.repair and (file.lost or not self.objects.whole(file.ref))}
        whole = replace(table, files=tuple(file for file in table.files if file.source not in damaged))
        linked = LinkedFiles(self._files)
        before = make_view(whole, self.views, linked, sql_name(table.name)).table
        renewed, known = (*self._renewed(step, table), *self._later(step, whole, step.repair - damaged)), tuple(sorted(damaged))
        return replace(task, former=before, known=known, renewed=renewed, schema=table.schema, cached=tuple(linked.remote))

    def served(self, step: Follow, table: Table, path: str) -> tuple[PartFile, ...] | None:
        """The parts of what the path gave last; None where rows are set aside with them, or one is not whole."""
        bound = table.binding(path)
        if bound is None or step.reset or quarantine(table):
            return None
        files = [file for file in table.files if file.source == bound.digest]
        whole = all(not file.lost and self.objects.whole(file.ref) for file in files)
        parts = self._files.parts(table, files) if whole else ()
        return parts if len(parts) == len(files) and bound.digest not in table.folded else None

    def left(self, resource: Resource, step: Follow, table: Table | None, change: TableCommit, revision: str) -> tuple[Noted, ...]:
        """The journal of contents whose rows leave, counted, where no job has told them. In a table that is made anew they come again."""
        if table is None or step.reset or replaces(resource.spec_as(DatasetSpec), table, step):
            return ()
        found, cause = leaving(table, change), self._cause(resource, step, table, revision)
        return journal_of_leaving(cause, self.buckets.store(change.bucket), self.prefix_of(table.name), found) if found else ()

    def _cause(self, resource: Resource, step: Follow, table: Table | None, revision: str) -> Cause:
        return Cause(resource.key.name, self.next_version(resource, table), "daemon", step.why, revision)

    def _leaving(self, contents: Mapping[str, tuple[str, ...]], table: Table, step: Follow) -> tuple[Leaving, ...]:
        """Without those that are written again since they are damaged: their rows stay."""
        paths = {binding.digest: binding.path for binding in table.bindings.values()}
        found = []
        for source, unless in contents.items():
            files = [file for file in table.files if file.source == source]
            parts = self._files.parts(table, files)
            if parts or source not in step.repair:
                found.append(Leaving(paths.get(source, source), source, sum(file.rows for file in files), parts, unless))
        return tuple(found)

    def _later(self, step: Follow, table: Table, judged: Set[str]) -> tuple[Renewed, ...]:
        """Contents that overtake those whose rows are judged again, and that are neither read nor renewed in this step."""
        place = sequences(table, step)
        first = min((place[source] for source in judged), default=sys.maxsize)
        parts: dict[tuple[str, int], list[PartFile]] = {}
        for file in table.readable:
            if file.sequence > first and file.source not in place:
                parts.setdefault((file.source, file.sequence), []).append(self._part(table, file))
        return tuple(Renewed(source, source, sequence, tuple(found)) for (source, sequence), found in parts.items())

    def _renewed(self, step: Follow, table: Table) -> tuple[Renewed, ...]:
        """Contents that become the newest and are not read in this step."""
        read, place = {file.digest for file in step.ingest}, sequences(table, step)
        again = {file.digest: file.path for file in step.renew if file.digest not in read}
        parts = {digest: [self._part(table, file) for file in table.readable if file.source == digest] for digest in again}
        return tuple(Renewed(again[digest], digest, place[digest], tuple(found)) for digest, found in parts.items() if found)

    @property
    def _files(self) -> TableFiles:
        return TableFiles(self.buckets, self.objects)

    def _part(self, table: Table, file: DataFile) -> PartFile:
        return self._files.part(file.ref, reading(table.schemas, file.schema_id, table.schema))
