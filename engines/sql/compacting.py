"""Compaction: deltas and the base files that they touch become base files again, sorted by key; tombstones and what they delete are gone.

It runs as a job, beside readers who go on reading the former files. Ledgers that many small changes left are folded with them: the journal
into one file, edits into one that holds those which no later file has overtaken. The new base has a profile of its own, in the place of
those of the contents that are in it. Memory is bounded: the sort spills.
Next: `controllers/dataset/compacting.py`, which chooses; `merge.py`, which reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
from datafusion import SessionContext

from engines.files.footers import read_footer
from engines.files.journal import JournalWriter, dated
from engines.files.ledgers import Noted, read_ledger_facts
from engines.files.profiling import Profiler
from engines.files.staged_parts import StagedParts
from engines.files.table_writer import Content, Provenance, TableWriter
from engines.row_keys import DELETED_COLUMN
from engines.sql.merge import check_files, open_table
from engines.sql.projection import plain_schema, projected_rows, view_schema
from engines.sql.readings import Reading, quote
from engines.sql.source import SEQUENCE, LakeTable, source_from_dict
from engines.sql.spool import bounded_context
from engines.sql.tables import dataset_name
from state.buckets import job_store
from state.catalog.data_files import EDITS, DataFile
from state.catalog.schemas import Schema
from state.places import BucketConfig
from state.staging import scratch


@dataclass(frozen=True, slots=True)
class CompactTask:
    """What is folded.

    Args:
        source: the table, of what is folded alone. name: of the result's source. contents: see `Provenance`.
        folds: keys of the objects that the result replaces. sequence: its place.
        journals: keys and local files of the journal's small ledgers, oldest first, each with the instant of its rows, in milliseconds; 0
            where these say it.
        edits: local files of edits with their places, 0 for those that are in the base already; edit_keys: of the same.
        others: local files of the deltas that are no edits, with their places.
        readings: of the files that are not read by name, by the schema they were written under.
        formers: former schemas that the result is to tell of.
    """

    source: LakeTable
    target: BucketConfig
    key_prefix: str
    schema: Schema
    transformation: str
    name: str
    sequence: int
    folds: tuple[str, ...]
    journals: tuple[tuple[str, str, int], ...] = ()
    edits: tuple[tuple[str, int], ...] = ()
    edit_keys: tuple[str, ...] = ()
    contents: tuple[Content, ...] = ()
    others: tuple[tuple[str, int], ...] = ()
    readings: Mapping[int, Reading] = field(default_factory=dict)
    formers: tuple[Schema, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {
            "source": self.source.to_dict(),
            "target": self.target.to_dict(),
            "key_prefix": self.key_prefix,
            "schema": self.schema.to_dict(),
            "transformation": self.transformation,
            "name": self.name,
            "sequence": self.sequence,
            "folds": list(self.folds),
            "journals": [list(journal) for journal in self.journals],
            "edits": [list(edit) for edit in self.edits],
            "edit_keys": list(self.edit_keys),
            "contents": [list(content) for content in self.contents],
            "others": [list(other) for other in self.others],
            "formers": [schema.to_dict() for schema in self.formers],
            "readings": [[number, reading.to_dict()] for number, reading in self.readings.items()],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError or TypeError for what `to_dict` does not make."""
        source = source_from_dict(data["source"])
        assert isinstance(source, LakeTable)
        pairs = {name: tuple((one, other) for one, other in data[name]) for name in ("edits", "others")}
        journals = tuple((key, path, instant) for key, path, instant in data["journals"])
        lists = {name: tuple(data[name]) for name in ("folds", "edit_keys")}
        lists["contents"] = tuple(Content(*content) for content in data["contents"])
        target, schema = BucketConfig.from_dict(data["target"]), Schema.from_dict(data["schema"])
        readings = {number: Reading.from_dict(reading) for number, reading in data["readings"]}
        formers = tuple(Schema.from_dict(former) for former in data["formers"])
        parsed = {"journals": journals, "source": source, "target": target, "schema": schema, "readings": readings, "formers": formers}
        return cls(**{**data, **pairs, **lists, **parsed})


@dataclass(frozen=True, slots=True)
class Compacted:
    """The new base files, and the ledgers that take the place of those that were folded."""

    parts: tuple[DataFile, ...]
    ledgers: tuple[Noted, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {"parts": [part.to_dict() for part in self.parts], "ledgers": [noted.to_dict() for noted in self.ledgers]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError or TypeError for what `to_dict` does not make."""
        return cls(tuple(DataFile.from_dict(part) for part in data["parts"]), tuple(Noted.from_dict(noted) for noted in data["ledgers"]))


def run(arguments: Mapping[str, Any], progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """What a compaction job does: a `CompactTask` in, a `Compacted` out, both as JSON. Blocking.

    Raises FileNotFoundError where a file is gone meanwhile, DiskFull, BucketUnavailable.
    """
    task = CompactTask.from_dict(arguments)
    check_files(task.source)
    with StagedParts(job_store(task.target)) as parts, scratch(parts.store) as folder:
        context = bounded_context(folder)
        # ledgers are stored first: whoever finds the base, which says what it folds, finds them as well
        ledgers = (*_journal(task, parts), *_edits(task, context, parts))
        base, profile = _base(task, context, parts, progress)
        parts.put()
    return Compacted(base, (*ledgers, profile)).to_dict()


def _base(
    task: CompactTask, context: SessionContext, parts: StagedParts, progress: Callable[[int, int], None] | None
) -> tuple[tuple[DataFile, ...], Noted]:
    key = task.source.primary_key
    folds = tuple(dict.fromkeys((*task.folds, *task.edit_keys)))
    told = (task.transformation, None, "upsert", task.sequence)
    made = Provenance(dataset_name(task.source.name), task.name, task.name, *told, folds, contents=task.contents, formers=task.formers)
    writer = TableWriter(parts, task.key_prefix, task.schema, made, primary_key=key, role="delta")
    profiler = Profiler(dataset_name(task.source.name), task.schema)
    context.register_table("compacted", open_table(task.source, context))
    order = ", ".join(map(quote, key))
    try:
        for batch in context.sql(f"SELECT * FROM compacted ORDER BY {order}").execute_stream():
            rows = batch.to_pyarrow()
            plain = rows.cast(plain_schema(rows.schema))
            writer.write(plain)
            profiler.add(plain)
            if progress is not None:
                progress(writer.rows, writer.rows)
        writer.finish()
        profile = profiler.put(parts, task.key_prefix, task.name, task.transformation, task.schema)
        return tuple(replace(part, role="base") for part in writer.close()), profile
    except BaseException:
        writer.abort()
        raise
    finally:
        context.deregister_table("compacted")


def _journal(task: CompactTask, parts: StagedParts) -> tuple[Noted, ...]:
    """The small files of the journal as one."""
    if len(task.journals) < 2:
        return ()
    facts = (read_ledger_facts(Path(path))[0] for _, path, _ in task.journals)
    folds = dict.fromkeys((*(key for key, _, _ in task.journals), *(key for one in facts if one is not None for key in one.folds)))
    with JournalWriter(parts, task.key_prefix, [task.name], task.name, list(folds)) as journal:
        for _, path, instant in task.journals:
            journal.write(dated(pq.read_table(path, partitioning=None), instant))
        return journal.end()


def _edits(task: CompactTask, context: SessionContext, parts: StagedParts) -> tuple[Noted, ...]:
    """The edits that still count: of each key the newest, unless a later file brought it."""
    if not task.edits:
        return ()
    key = task.source.primary_key
    schema = plain_schema(view_schema([(column.name, column.type) for column in task.schema.columns]))
    whole = schema.append(pa.field(DELETED_COLUMN, pa.bool_()))
    context.register_record_batches("edits", [_stacked(task, task.edits, whole)])
    keys = ", ".join(map(quote, key))
    newest = f"SELECT *, row_number() OVER (PARTITION BY {keys} ORDER BY {SEQUENCE} DESC) AS _place FROM edits"
    query = f"SELECT * FROM ({newest}) e WHERE _place = 1"
    if task.others:
        context.register_record_batches("others", [_stacked(task, task.others, pa.schema([schema.field(name) for name in key]))])
        on = " AND ".join(f"o.{quote(name)} = e.{quote(name)}" for name in key)
        query += f" AND NOT EXISTS (SELECT 1 FROM others o WHERE {on} AND o.{SEQUENCE} > e.{SEQUENCE})"
    rows = context.sql(f"{query} ORDER BY {keys}").to_arrow_table().drop_columns([SEQUENCE, "_place"])
    return _noted_edits(task, rows.cast(plain_schema(rows.schema)), parts)


def _stacked(task: CompactTask, files: Sequence[tuple[str, int]], schema: pa.Schema) -> list[pa.RecordBatch]:
    """The rows of many small files with their places. (A union of a thousand tables takes half a minute to plan.)"""
    parts = []
    for path, place in files:
        rows = pq.read_table(path, partitioning=None)
        reading = task.readings.get(read_footer(Path(path)).schema.id)
        if reading is not None:
            present = view_schema([(column.name, column.type) for column in task.schema.columns])
            rows = projected_rows(rows, reading, present, [DELETED_COLUMN] if DELETED_COLUMN in rows.column_names else [])
        known = set(rows.column_names)
        filled = [rows[field.name].cast(field.type) if field.name in known else pa.nulls(len(rows), field.type) for field in schema]
        parts.append(pa.Table.from_arrays([*filled, pa.repeat(place, len(rows))], [*schema.names, SEQUENCE]))
    found: list[pa.RecordBatch] = pa.concat_tables(parts).combine_chunks().to_batches()
    return found


def _noted_edits(task: CompactTask, rows: pa.Table, parts: StagedParts) -> tuple[Noted, ...]:
    if not rows.num_rows:
        return ()
    name = EDITS + task.name
    told = (task.transformation, None, "upsert", task.sequence)
    made = Provenance(dataset_name(task.source.name), name, name, *told, task.edit_keys, formers=task.formers)
    staged = StagedParts(parts.store)
    writer = TableWriter(
        staged, f"{task.key_prefix}/edits", task.schema, made, primary_key=task.source.primary_key, role="delta", deletes=True
    )
    for batch in _whole(rows):
        writer.write(batch)
    written = writer.close()
    parts.add({part.key: staged.path(part.key) for part in written})
    return tuple(Noted("edit", part.ref, part.rows, f"{name}:{number}") for number, part in enumerate(written))


def _whole(rows: pa.Table) -> Iterator[pa.RecordBatch]:
    filled = rows.set_column(rows.column_names.index(DELETED_COLUMN), DELETED_COLUMN, rows[DELETED_COLUMN].fill_null(False))
    yield from filled.combine_chunks().to_batches()
