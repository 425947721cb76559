"""Replaying the journal: a former version's rows and all changes since, by field, must be the rows of a later version. Blocking.

Rows are compared as the journal writes values, text from which the column's type gives them back. The rebuilt state and the snapshot
are each counted and fingerprinted over all rows: where both are equal, the journal tells everything that became of every row. Memory is
bounded: what is sorted and joined spills.

What the journal only counts cannot be replayed: first loads, many new rows at once, tables that are made anew. A replay begins at the
version that such a load made, or later. So it does where a migration or a widening made other columns of all rows. Next:
`engines/files/journal.py`, which writes what is read here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from datafusion import SessionContext

from engines.errors import EngineError, QueryInvalid
from engines.files.journal import as_text, entities
from engines.sql.problems import translate
from engines.sql.source import LakeTable
from engines.sql.spool import Range, any_of, batches, ranges, read_rows, register_sorted, spooling_context
from state.catalog.tables import Table

MOST_DIFFERING = 10
_ENTITY = "entity"
_MODULUS = 1 << 256


@dataclass(frozen=True, slots=True)
class Load:
    """Rows that the journal counts and does not tell."""

    version: int
    source: str
    rows: int


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Of rows in any order: how many, and the sum of their SHA-256, each over all values as text, modulo 2^256, as hex."""

    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of it. changes: rows of the journal that were applied, of so many rows (`entities`) in these versions. differing: keys of
    rows that are not the same in both, the first ones of `wrong`."""

    changes: int
    entities: int
    versions: tuple[int, ...]
    rebuilt: Fingerprint
    snapshot: Fingerprint
    wrong: int = 0
    differing: tuple[str, ...] = ()

    @property
    def proven(self) -> bool:
        """Whether the journal tells how the version came about."""
        return self.rebuilt == self.snapshot


def loads(journal: Sequence[Path], upto: int) -> list[Load]:
    """What the journal counts only, up to a version, in order. journal: its files."""
    found: list[Load] = []
    for path in journal:
        rows = pq.read_table(
            path, columns=["version", "source", "op", "old", "new"], filters=[("op", "in", ["load", "unload"])], partitioning=None
        )
        found += [Load(row["version"], row["source"], int(row["new"] or row["old"] or 0)) for row in rows.to_pylist()]
    return sorted((load for load in found if load.version <= upto), key=lambda load: (load.version, load.source))


def shaped_since(present: Table, target: Table) -> int:
    """The oldest kept version whose rows have the target's columns and types, but for columns that were only added. Pure."""
    derived = [schema.id for schema in target.schemas if schema.derivation is not None and schema.id <= target.schema.id]
    least = max(derived, default=0)
    return min(table.version for table in present.history() if table.version == target.version or table.schema.id >= least)


def first_start(kept: Iterable[int], counted: Sequence[Load], target: int, dataset: str, wanted: int | None = None, shaped: int = 0) -> int:
    """The version that a replay to `target` begins at: the oldest that is kept and that no load follows; `wanted` if that is one.

    kept: versions that can be read. shaped: see `shaped_since`. Pure. Raises QueryInvalid where there is none before the target.
    """
    last = max((load.version for load in counted), default=0)
    usable = [version for version in sorted(kept) if max(last, shaped) <= version < target]
    if last < shaped and (shaped == target or (wanted is not None and wanted < shaped)):
        raise QueryInvalid(
            f"Version {shaped} of `{dataset}` has other columns than those before it; what became of their rows is not in the journal.",
            remedy=f"A replay begins at version {shaped} or later, and ends later.",
        )
    told = next((load for load in reversed(counted) if load.version == last), None)
    if told is not None and (not usable or (wanted is not None and wanted < last)):
        nothing = "There is nothing to replay up to it: its files are all that it is made of, and `lakectl fsck --deep` verifies them."
        raise QueryInvalid(
            f"Version {last} of `{dataset}` took {told.rows:,} rows from {told.source}, which the journal counts and does not tell.",
            remedy=f"A replay begins at version {last} or later, and ends later." if last < target else nothing,
        )
    if wanted is not None and wanted in usable:
        return wanted
    if wanted is not None or not usable:
        raise QueryInvalid(
            f"No version of `{dataset}` before {target if wanted is None else wanted} is kept to begin at.",
            remedy="`keep` in the Dataset's spec says which are kept; `system.versions` lists them.",
        )
    return usable[0]


def replay(start: LakeTable, target: LakeTable, journal: Sequence[Path], scratch: Path) -> Replayed:
    """Applies the journal's changes after the version of `start`, up to that of `target`, and compares. Both have the same key.

    Raises EngineError where a file cannot be read.
    """
    columns = [name for name, _ in target.columns]
    context = spooling_context(scratch)
    try:
        schema = _text_schema(columns)
        bounds = register_sorted(context, "start", _texts(start, columns), schema, [_ENTITY], scratch)
        _register_journal(context, journal, start.version, target.version, scratch)
        bounds += _register_told(context, columns, schema, scratch)
        facts = context.sql("SELECT count(*) AS n, count(DISTINCT entity) AS m FROM changes").to_pydict()
        versions = context.sql("SELECT DISTINCT version FROM changes ORDER BY version").to_pydict()["version"]
        rebuilt = fingerprint(batch.drop_columns([_ENTITY]) for batch in _rebuilt(context, columns, bounds))
        snapshot = fingerprint(batch.drop_columns([_ENTITY]) for batch in _texts(target, columns))
        wrong, differing = (0, ()) if rebuilt == snapshot else _differing(context, target, columns, bounds, scratch)
    except EngineError:
        raise
    except Exception as error:
        problem = translate(error)
        raise EngineError(problem.message, remedy=problem.remedy) from error
    return Replayed(facts["n"][0], facts["m"][0], tuple(versions), rebuilt, snapshot, wrong, differing)


def fingerprint(rows: Iterable[pa.RecordBatch]) -> Fingerprint:
    """Of rows of texts, null among them."""
    count = total = 0
    for batch in rows:
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            total += int.from_bytes(hashlib.sha256(orjson.dumps(row)).digest())
        total %= _MODULUS
        count += batch.num_rows
    return Fingerprint(count, f"{total:064x}")


def _texts(table: LakeTable, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows as the journal writes values: `entity`, then each column, null where the table has it not."""
    known = {name for name, _ in table.columns}
    schema = _text_schema(columns)
    for batch in read_rows(table):
        values = [as_text(batch.column(name)) if name in known else pa.nulls(batch.num_rows, pa.string()) for name in columns]
        yield pa.RecordBatch.from_arrays([entities(batch, table.primary_key), *values], schema=schema)


def _text_schema(columns: Sequence[str]) -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in (_ENTITY, *_names(columns))])


def _names(columns: Sequence[str]) -> list[str]:
    return [f"c{number}" for number in range(len(columns))]


def _register_journal(context: SessionContext, journal: Sequence[Path], after: int, upto: int, scratch: Path) -> None:
    """`changes`: the rows in question; `life`: of each entity when it last came (an odd number) or went (an even one), if it did."""
    folder = scratch / "journal"
    folder.mkdir()
    for number, path in enumerate(journal):
        (folder / f"{number:08d}.parquet").symlink_to(path.absolute())
    context.register_parquet("journal", str(folder))
    changes = f"SELECT * FROM journal WHERE version > {after} AND version <= {upto} AND op IN ('insert', 'update', 'delete')"
    context.register_table("changes", context.sql(changes).into_view())
    life = """SELECT entity, max(CASE op WHEN 'insert' THEN 2 * version + 1 WHEN 'delete' THEN 2 * version END) AS life
              FROM changes GROUP BY entity"""
    context.register_table("life", context.sql(life).into_view())


def _register_told(context: SessionContext, columns: Sequence[str], schema: pa.Schema, scratch: Path) -> list[pa.Scalar]:
    """`told`: of each row and field the newest value since the row last came into being, and whether there is one (`h` before the name)."""
    named = [(name, "'" + column.replace("'", "''") + "'") for name, column in zip(_names(columns), columns, strict=True)]
    values = ", ".join(f"max(CASE WHEN field = {text} THEN new END) AS {name}, bool_or(field = {text}) AS h{name}" for name, text in named)
    newest = """SELECT l.entity, l.life, c.field, c.new,
                row_number() OVER (PARTITION BY c.entity, c.field ORDER BY c.version DESC) AS place
                FROM life l JOIN changes c ON l.entity = c.entity
                WHERE l.life IS NULL OR 2 * c.version + 1 >= l.life"""
    wide = f"SELECT entity, max(life) AS life, {values} FROM ({newest}) WHERE place = 1 GROUP BY entity"
    facts = [field for name in _names(columns) for field in ((name, pa.string()), (f"h{name}", pa.bool_()))]
    told = pa.schema([schema.field(_ENTITY), ("life", pa.int64()), *facts])
    return register_sorted(context, "told", batches(context, wide), told, [_ENTITY], scratch)


def _rebuilt(context: SessionContext, columns: Sequence[str], bounds: Sequence[pa.Scalar]) -> Iterator[pa.RecordBatch]:
    for part in ranges(bounds):
        yield from batches(context, _rebuilding(columns, part), part.parameters)


def _rebuilding(columns: Sequence[str], part: Range) -> str:
    """The rows of a range after all changes."""
    chosen = ", ".join(f"CASE WHEN w.h{name} THEN w.{name} WHEN w.life IS NULL THEN s.{name} END AS {name}" for name in _names(columns))
    # a row that was changed and is nowhere has no values that could be told
    there = "CASE WHEN w.life IS NULL THEN s.entity IS NOT NULL ELSE w.life % 2 = 1 END"
    sides = [f"(SELECT * FROM {table} WHERE {part.holds(_ENTITY)})" for table in ("start", "told")]
    both = f"{sides[0]} s FULL JOIN {sides[1]} w ON s.entity = w.entity"
    return f"SELECT coalesce(s.entity, w.entity) AS entity, {chosen} FROM {both} WHERE {there}"


def _differing(
    context: SessionContext, target: LakeTable, columns: Sequence[str], bounds: Sequence[pa.Scalar], scratch: Path
) -> tuple[int, tuple[str, ...]]:
    """How many rows are not the same, and the first of their keys."""
    others = register_sorted(context, "target", _texts(target, columns), _text_schema(columns), [_ENTITY], scratch)
    other = any_of([f"(r.{name} IS DISTINCT FROM t.{name})" for name in _names(columns)])
    count, first = 0, list[str]()
    for part in ranges(bounds, others):
        both = f"({_rebuilding(columns, part)}) r FULL JOIN (SELECT * FROM target WHERE {part.holds(_ENTITY)}) t ON r.entity = t.entity"
        differ = f"r.entity IS NULL OR t.entity IS NULL OR {other}"
        sql = f"SELECT coalesce(r.entity, t.entity) AS entity FROM {both} WHERE {differ} ORDER BY 1"
        for batch in batches(context, sql, part.parameters):
            count += batch.num_rows
            first += batch.column(0).slice(0, MOST_DIFFERING - len(first)).to_pylist()
    return count, tuple(first)
