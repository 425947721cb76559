"""The catalog as tables: what each `system.*` table of the catalog holds, as rows of plain values.

Pure: states and log entries in, tuples out, one value a column. Values of rows (least and greatest keys, statistics of columns) are left
out on purpose: these tables are open to readers from whom the rows themselves are hidden. `system.columns` alone tells some, of columns
that hold nothing sensitive, in datasets that no policy governs; `state/descriptions.py` decides that. `tables.py` writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from state.catalog.entry import Entry
from state.catalog.fold import ObjectState
from state.catalog.indexes import IndexRecord
from state.catalog.log import Unreadable
from state.catalog.tables import Table
from state.descriptions import Describe
from state.former_columns import stats_of
from state.lineage import edges
from state.streams.schemas import StreamColumn, columns

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class CatalogTable:
    """A table over the objects of one kind, or of all (None). `rows` gives what one object contributes, given who describes datasets."""

    name: str
    summary: str
    kind: str | None
    columns: tuple[StreamColumn, ...]
    rows: Callable[[ObjectState, Describe], Iterable[Row]]


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()


def _tables(state: ObjectState) -> Iterator[Table]:
    if state.table is not None:
        yield state.table


def _indexes(state: ObjectState) -> Iterator[IndexRecord]:
    if state.index is not None:
        yield state.index


def _objects(state: ObjectState) -> Iterator[Row]:
    managed, held = state.managed, state.suspended
    yield (
        state.object,
        state.object.partition("/")[0],
        state.name,
        managed is not None,
        managed.spec_digest if managed else None,
        managed.deletion if managed else None,
        state.retained,
        held is not None,
        held.by if held else None,
        held.why if held else None,
        held.until if held else None,
        _json({plan: approval.by for plan, approval in state.approvals.items()}),
    )


def _datasets(state: ObjectState, describe: Describe) -> Iterator[Row]:
    for table in _tables(state):
        told = describe(state)
        present = sum(binding.present for binding in table.bindings.values())
        yield (
            table.name,
            table.name.replace("-", "_"),
            table.version,
            table.rows,
            table.merged,
            len(table.files),
            table.size,
            len(table.columns),
            table.bucket,
            _json(table.primary_key),
            table.write,
            present,
            len(table.refusals),
            table.schema.id,
            table.snapshot,
            table.transformation,
            table.retained,
            None if table.origin is None else _json(_without_values(table.origin.to_dict())),
            told.owner,
            told.description,
            told.drafted,
            _json(told.tags),
            _json(told.sensitivity),
        )


def _files(state: ObjectState) -> Iterator[Row]:
    for table in _tables(state):
        paths: dict[str, list[str]] = {}
        for binding in table.bindings.values():
            paths.setdefault(binding.digest, []).append(binding.path)
        for position, file in enumerate(table.files):
            yield (
                table.name,
                position,
                file.role,
                file.sequence,
                file.rows,
                file.ref.bucket,
                file.ref.key,
                file.ref.size,
                file.ref.sha256,
                file.source,
                _json(sorted(paths.get(file.source, []))),
                file.first_row,
                file.schema_id,
            )


def _versions(state: ObjectState) -> Iterator[Row]:
    for table in _tables(state):
        for then in table.history():
            yield (table.name, then.version, then.at or None, then.rows, then.merged, len(then.files), then.schema.id)


def _columns(state: ObjectState, describe: Describe) -> Iterator[Row]:
    for table in _tables(state):
        for position, (column, told) in enumerate(zip(table.columns, describe(state).columns, strict=True)):
            nulls = [stats.nulls for stats in stats_of(table, column, table.files) if stats is not None]
            yield (
                table.name,
                position,
                column.name,
                column.type,
                column.id,
                table.schema.id,
                sum(nulls) if nulls else None,
                told.description,
                _json(told.sensitivity),
                told.evidence,
                told.null_share,
                told.distinct,
                None if told.low is None else str(told.low),
                None if told.high is None else str(told.high),
                _json(told.examples),
            )


def _lineage(state: ObjectState) -> Iterator[Row]:
    for edge in edges(state):
        yield (*edge[:4], _json(edge.detail), edge.version, edge.at)


def _refusals(state: ObjectState) -> Iterator[Row]:
    for table in _tables(state):
        for refusal in table.refusals.values():
            yield (table.name, refusal.path, refusal.line, refusal.reason, refusal.digest, refusal.transformation)


def _served(state: ObjectState) -> Iterator[Row]:
    for index in _indexes(state):
        serving, previous = index.serving, index.previous
        build = index.builds.get(serving.build) if serving else None
        corpus = index.corpora.get(build.corpus) if build else None
        tail = serving.tail if serving else None
        yield (
            index.name,
            serving.build if serving else None,
            serving.generation if serving else None,
            _json(serving.search) if serving else None,
            build.engine if build else None,
            build.count - (tail.hidden - tail.chunks if tail else 0) if build else None,
            tail.table_version if tail else corpus.table_version if corpus else None,
            tail.changed if tail else 0,
            tail.chunks if tail else 0,
            previous.build if previous else None,
            previous.generation if previous else None,
            len(index.builds),
            len(index.corpora),
        )


def _builds(state: ObjectState) -> Iterator[Row]:
    for index in _indexes(state):
        for build in index.builds.values():
            corpus = index.corpora.get(build.corpus)
            yield (
                index.name,
                build.digest,
                build.generation,
                build.engine,
                _json(build.parameters),
                build.corpus,
                corpus.snapshot if corpus else None,
                corpus.table_version if corpus else None,
                corpus.fingerprint if corpus else None,
                build.count,
                build.dimension,
                build.seconds,
                sum(ref.size for ref in build.files.values()),
                _json({role: ref.key for role, ref in build.files.items()}),
                index.serving is not None and index.serving.build == build.digest,
            )


def _index_models(state: ObjectState) -> Iterator[Row]:
    for index in _indexes(state):
        for model, manifest in index.answers.items():
            corpus, build, tail = index.corpus_of(manifest), index.builds[manifest.build], manifest.tail
            yield (
                index.name,
                model,
                manifest == index.serving,
                corpus.fingerprint,
                corpus.dimension,
                manifest.generation,
                build.engine,
                manifest.build,
                build.count - (tail.hidden - tail.chunks if tail else 0),
                tail.rows if tail else corpus.rows,
                tail.textless if tail else corpus.textless,
                tail.table_version if tail else corpus.table_version,
                tail.changed if tail else 0,
            )


def _eval_sets(state: ObjectState) -> Iterator[Row]:
    for index in _indexes(state):
        for truth in index.truths.values():
            counts = (truth.queries, truth.filters, truth.judged, truth.unknown, truth.unanswered)
            yield (index.name, truth.eval_set, truth.digest, truth.corpus, truth.k, *counts, truth.ref.key, truth.ref.size)


def _buckets(state: ObjectState) -> Iterator[Row]:
    if state.bucket is not None:
        config = state.bucket.config
        yield (state.bucket.name, config.get("backend"), config.get("path"), config.get("prefix"), state.bucket.conditional_put)


def _table(name: str, summary: str, kind: str | None, text: str, rows: Callable[[ObjectState], Iterable[Row]]) -> CatalogTable:
    return CatalogTable(name, summary, kind, columns(text), lambda state, _: rows(state))


def _described(name: str, summary: str, text: str, rows: Callable[[ObjectState, Describe], Iterable[Row]]) -> CatalogTable:
    return CatalogTable(name, summary, "Dataset", columns(text), rows)


CATALOG_TABLES: Mapping[str, CatalogTable] = {
    table.name: table
    for table in (
        _table(
            "objects",
            "Every object that the catalog knows: whose it is, suspensions, approvals.",
            None,
            """object kind name managed:bool spec_digest deletion retained:bool suspended:bool suspended_by suspended_why
            suspended_until:timestamp approvals:json""",
            _objects,
        ),
        _described(
            "datasets",
            "The present version of every table, with its description; unless merged, rows counts a key once for every file that has it.",
            """dataset table_name version:int64 rows:int64 merged:bool files:int64 bytes:int64 columns:int64 bucket primary_key:json write
            sources:int64 refused:int64 schema_id:int64 snapshot transformation retained:bool origin:json owner description drafted:bool
            tags:json sensitivity:json""",
            _datasets,
        ),
        _table(
            "files",
            "The data files of every table in order, with the source that each was made of.",
            "Dataset",
            """dataset position:int64 role sequence:int64 rows:int64 bucket key bytes:int64 sha256 source paths:json
            first_row:int64 schema_id:int64""",
            _files,
        ),
        _table(
            "versions",
            "The versions of every table that can be read, the present one included; merged and rows as in datasets.",
            "Dataset",
            "dataset version:int64 at:timestamp rows:int64 merged:bool files:int64 schema_id:int64",
            _versions,
        ),
        _described(
            "columns",
            "The present columns of every table, what they hold and how it is known; id is the Parquet field id.",
            """dataset position:int64 name type id:int64 schema_id:int64 nulls:int64 description sensitivity:json evidence
            null_share:float64 distinct_estimate:int64 min max examples:json""",
            _columns,
        ),
        _table(
            "lineage",
            "What is made from what: file, content, job, dataset, derived dataset, index.",
            None,
            "from_kind from_name to_kind to_name detail:json version:int64 at:timestamp",
            _lineage,
        ),
        _table(
            "refusals",
            "Source files that were refused as a whole.",
            "Dataset",
            "dataset path line:int64 reason digest transformation",
            _refusals,
        ),
        _table(
            "indexes",
            "What serves each index now, and what served before.",
            "Index",
            """index build generation search:json engine count:int64 table_version:int64 tail_rows:int64 tail_chunks:int64
            previous_build previous_generation builds:int64 corpora:int64""",
            _served,
        ),
        _table(
            "builds",
            "Every build that is kept, with the corpus it is over.",
            "Index",
            """index build generation engine parameters:json corpus snapshot table_version:int64 fingerprint count:int64
            dimension:int64 seconds:float64 bytes:int64 files:json serving:bool""",
            _builds,
        ),
        _table(
            "index_models",
            "The models that answer for each index: the one that serves, and those beside it.",
            "Index",
            """index model serving:bool fingerprint dimension:int64 generation engine build chunks:int64 rows:int64
            rows_without_text:int64 table_version:int64
            changed_since:int64""",
            _index_models,
        ),
        _table(
            "eval_sets",
            "What each index is measured by: queries with their exact answers in a corpus.",
            "Index",
            """index eval_set digest corpus k:int64 queries:int64 filters:int64 judged:int64 unknown_keys:int64 unanswered:int64
            key bytes:int64""",
            _eval_sets,
        ),
        _table(
            "buckets",
            "Every bucket that was opened.",
            "Bucket",
            "bucket backend path prefix conditional_put:bool",
            _buckets,
        ),
    )
}

LOG_COLUMNS = columns("seq:int64 position:int64 at:timestamp writer epoch:int64 actor reason revision object op change:json")
"""`system.catalog`: one row a change, in order of seq and position."""


def log_rows(entry: Entry | Unreadable) -> Iterator[Row]:
    """The changes of one entry, each with its own actor, reason and revision; one that cannot be read says so."""
    if isinstance(entry, Unreadable):
        yield (entry.seq, 0, None, None, None, None, entry.message, None, None, "unreadable", None)
        return
    for position, (change, cause) in enumerate(entry.explained()):
        document = {name: _without_values(value) for name, value in change.to_dict().items() if name not in ("object", "op")}
        where = (entry.seq, position, entry.at, entry.writer, entry.epoch)
        yield (*where, cause.actor, cause.reason, cause.revision, change.object, change.op, _json(document))


def _without_values(value: Any) -> Any:
    """Files without the statistics of their values, origins without the cursor's."""
    if isinstance(value, list):
        return [_without_values(item) for item in value]
    if isinstance(value, dict) and "key_min" in value:
        return {name: item for name, item in value.items() if name not in ("key_min", "key_max", "columns")}
    if isinstance(value, dict) and "cursor" in value:
        return {name: item for name, item in value.items() if name != "cursor"}
    return value
