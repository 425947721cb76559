"""One pass over a source: rows judged, brought to the table's columns, sorted, written. Next: `ingest.py`, which makes passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from engines.files.csv import CsvReading
from engines.files.inference import ColumnGuess
from engines.files.ingest_task import IngestResult, IngestTask
from engines.files.judge import Judge
from engines.files.ledgers import Noted
from engines.files.profiling import Profiler
from engines.files.quarantine import Origin, write_quarantine
from engines.files.said import Difference
from engines.files.sorting import ORDER_COLUMN, LastRows
from engines.files.source import (
    UNPACKED_LEAST,
    UNPACKED_RATIO,
    ColumnPlan,
    RowReading,
)
from engines.files.staged_parts import StagedParts
from engines.files.table_writer import HIDDEN, Provenance, TableWriter
from engines.row_keys import DELETED_COLUMN
from engines.sql.source import NEWEST, SEQUENCE
from specs.suggestions import nearest
from state.catalog.schemas import extend_schema

RESERVED = frozenset({*HIDDEN, ORDER_COLUMN, SEQUENCE, NEWEST})
MAX_COLUMNS = 10_000


class Attempt:
    """One pass over the file, with types as far as they are known."""

    def __init__(
        self, task: IngestTask, reading: RowReading, guesses: Mapping[str, tuple[str, str]], parts: StagedParts, judge: Judge | None
    ) -> None:
        """Raises FileRefused for columns that cannot be."""
        self._task, self._reading, self._parts, self._source, self._judge = task, reading, parts, task.source, judge
        self._guesses = guesses
        self._known = {column.name: column.type for column in task.schema.columns} if task.schema else {}
        self._plans = {name: self._plan(name, kind) for name, (kind, _) in guesses.items()}
        self._check_columns()
        if judge is not None:
            self._plans = dict(judge.begin(self._plans, self._known))
        new = ((plan.name, plan.type) for plan in self._plans.values() if plan.name != task.tombstone)
        self._schema = extend_schema(task.schema, new, task.next_column_id, schema_id=task.next_schema_id)
        if task.schema is None and task.shape is not None:
            self._schema = replace(self._schema, migrations=task.shape.marks)

    def run(self, told: Callable[[], None], fresh: Callable[[pa.RecordBatch], pa.RecordBatch]) -> IngestResult:
        """Raises FileRefused, Misfit, Contradicted, Reopen; then nothing of it is left."""
        task = self._task
        basis = task.contract.basis if task.contract is not None else ""
        told_of = (task.dataset, task.display_path, task.digest, task.transformation, task.size, task.write, task.sequence)
        provenance = Provenance(*told_of, basis=basis, formers=task.formers)
        keyed = task.write == "upsert" and bool(task.primary_key)
        writer = TableWriter(
            self._parts,
            task.key_prefix,
            self._schema,
            provenance,
            primary_key=task.primary_key,
            role="delta" if keyed else "base",
            deletes=task.tombstone in self._plans,
        )
        rows = LastRows(self._parts.store, task.primary_key) if keyed else None
        said = Difference(task.said, self._parts.store) if task.said is not None else None
        taken = kept = unpacked = 0
        profiler = Profiler(task.dataset, self._schema)
        try:
            for batch in self._reading.batches(self._plans):
                unpacked += batch.nbytes
                self._check_ratio(unpacked)
                if self._judge is not None:
                    batch = self._judge.judge(batch)
                self._check_keys(batch, taken)
                taken += batch.num_rows
                batch = self._with_tombstones(batch)
                profiler.add(batch)
                if rows:
                    rows.add(batch)
                else:
                    writer.write(fresh(batch))
                told()
            if self._judge is not None:
                self._judge.finish()
            for batch in rows.sorted() if rows else ():
                kept += batch.num_rows
                writer.write(fresh(batch) if said is None else said.fresh(batch, self._schema))
            writer.finish()
            told_of_content = [profiler.put(self._parts, task.key_prefix, task.digest, task.transformation, self._schema)]
            if said is not None:
                told_of_content.append(said.put(self._parts, task.key_prefix, task.digest, task.transformation))
            files = writer.close()
        except BaseException:
            writer.abort()
            raise
        finally:
            if rows:
                rows.discard()
            if said is not None:
                said.discard()
        warnings = self._warnings(taken - kept if rows else 0)
        noted, violations = self._judged()
        return IngestResult(files, self._schema, writer.rows, self._new_columns(), warnings, (*noted, *told_of_content), violations)

    def _judged(self) -> tuple[tuple[Noted, ...], str | None]:
        """The quarantine of the file, among the parts that wait, and a sentence on it."""
        judge, task = self._judge, self._task
        if judge is None or task.contract is None:
            return (), None
        judge.accept()
        if judge.unchanged:
            return (), None
        if not judge.sets_aside or not judge.violations.count:
            return (), judge.summary()
        against = task.contract.against if judge.referred else ""
        origin = Origin(task.dataset, judge.shown, task.digest, task.transformation, task.contract.basis, task.key_prefix, against)
        noted = write_quarantine(self._parts, judge.violations, judge.originals(), origin, datetime.now(UTC))
        return (noted,), judge.summary()

    def _with_tombstones(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        name = self._task.tombstone
        if name not in self._plans:
            return batch
        deleted = pc.fill_null(batch.column(name), False)
        return batch.drop_columns([name]).append_column(DELETED_COLUMN, deleted)

    def _plan(self, name: str, guessed: str) -> ColumnPlan:
        if name == self._task.tombstone:
            return ColumnPlan(name, "bool", "spec")
        known, said = self._known.get(name), self._task.overrides.get(name)
        if known is not None:
            return ColumnPlan(name, known, "spec" if said == known else "table")
        return ColumnPlan(name, said or guessed, "spec" if said else "guess")

    def _check_columns(self) -> None:
        for name in self._plans:
            if name in RESERVED and name != self._task.tombstone:
                raise self._source.refused(None, f"column `{name}`: the name is the table's own", remedy="Rename the column in the file.")
        if self._task.format == "csv":
            for plan in self._plans.values():
                if plan.type.startswith("list<"):
                    remedy = f"Say `columns: {{{plan.name}: string}}` in the Dataset's spec."
                    raise self._source.refused(None, f"column `{plan.name}`: a CSV has no {plan.type}", remedy=remedy)
        if len(self._plans) > MAX_COLUMNS:
            raise self._source.refused(1, f"{len(self._plans)} columns; at most {MAX_COLUMNS} are read", remedy="Is the delimiter right?")
        self._check_header()
        self._check_key_columns()

    def _check_header(self) -> None:
        """A file without a header joins no table whose columns have names."""
        headless = self._reading.headless if isinstance(self._reading, CsvReading) else None
        if headless and self._known and self._known.keys().isdisjoint(self._plans):
            remedy = "Write the column names into the first line, or say `source.header: true` if that is what it holds."
            raise self._source.refused(1, f"no header: {headless}, and the table's columns have names", remedy=remedy)

    def _check_key_columns(self) -> None:
        for name in self._task.primary_key:
            if name not in self._plans:
                raise self._source.refused(None, f"the primary key's column `{name}` is missing", remedy=self._remedy_of_key(name))
            if self._plans[name].type.startswith("list<"):
                raise self._source.refused(
                    None, f"the primary key's column `{name}` is a list", remedy="Name another column in `primaryKey`."
                )

    def _remedy_of_key(self, name: str) -> str:
        former = next((one for one in self._task.shape.former_names(name) if one in self._plans), None) if self._task.shape else None
        if former is not None:
            return f"A migration renamed `{former}` to `{name}`, and other columns have their new names: rename `{former}` in the file too."
        return f"Name columns of the file in `primaryKey`; it has {', '.join(list(self._plans)[:20]) or 'none'}."

    def _check_ratio(self, unpacked: int) -> None:
        """A gzip file that holds far more than any text does is made to fill a disk. unpacked: bytes so far."""
        if self._source.compressed and unpacked > max(UNPACKED_LEAST, UNPACKED_RATIO * (self._task.size or 0)):
            reason = f"unpacks to more than {UNPACKED_RATIO} times its size"
            raise self._source.refused(None, reason, remedy="Unpack it, and name the file inside, if it is what it should be.")

    def _check_keys(self, batch: pa.RecordBatch, first: int) -> None:
        for name in self._task.primary_key:
            column = batch.column(name)
            missing = pc.is_null(column, nan_is_null=True) if column.null_count or pa.types.is_floating(column.type) else None
            if missing is not None and (found := pc.index(missing, True).as_py()) >= 0:
                line = self._reading.line_of(first + found)
                where = "" if line is not None else f" (row {first + found + 1})"
                remedy = "Give every row a key, or choose another `primaryKey`."
                raise self._source.refused(line, f"column `{name}` is null, and it is in the primary key{where}", remedy=remedy)

    def _new_columns(self) -> tuple[ColumnGuess, ...]:
        return tuple(
            ColumnGuess(plan.name, plan.type, "the spec says so" if plan.word == "spec" else self._guesses[plan.name][1])
            for plan in self._plans.values()
            if plan.name not in self._known
        )

    def _warnings(self, repeated: int) -> tuple[str, ...]:
        path = self._task.display_path
        lacking = self._known.keys() - self._plans.keys()
        slips = ((name, nearest(name, lacking)) for name in self._plans if name not in self._known)
        found = [f"{path}: {note}" for note in self._reading.notes()]
        found += [f"{path}: column `{name}` is new, and `{known}` is missing: is it misspelt?" for name, known in slips if known]
        if repeated:
            rows = "1 row was" if repeated == 1 else f"{repeated} rows were"
            found.append(f"{path}: {rows} overtaken by a later row of the same primary key")
        return tuple(found)
