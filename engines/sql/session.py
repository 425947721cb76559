"""What a worker does with a statement: find its names, plan it over exactly the tables it was given, stream its result.

One DataFusion context serves all queries of a worker, so that footers and statistics of files, which never change, are read once. What a
query can see is only what its catalog provider answers, and that is emptied after each; nothing else in a context can be changed by
statements that only read. Parameters are values, never text. A statement that comes again over the same tables is run by the same plan:
for short ones, planning is most of their time.

It refuses to know readers and versions: the daemon chose the tables. Next: `planner.py` for plans, `merge.py` for tables,
`results.py` for what goes back.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import pyarrow as pa
from datafusion import DataFrame, RuntimeEnvBuilder, SessionConfig, SessionContext
from datafusion.catalog import Table
from datafusion.plan import LogicalPlan

from engines.row_keys import identity_columns
from engines.sql.barrier import CARRIED
from engines.sql.facets import check_facets
from engines.sql.hot import HotTask, Opened, Snapshot, TooLarge, build
from engines.sql.hot_shown import ShownTask, show
from engines.sql.merge import check_files, open_held, open_table
from engines.sql.planner import Planner, Seen, check_locks, check_parameters, planner_config
from engines.sql.problems import QueryProblem, translated
from engines.sql.readings import quote
from engines.sql.restricted import refuse_explain
from engines.sql.shown_tables import ShownTables
from engines.sql.source import ArrowTable, LakeTable, TableSource

T = TypeVar("T")

KEPT_TABLES = 64
PLANNED_AHEAD = 4
"""Statements that are planned anew when their table is opened ahead: some 1 ms each."""
KEPT_STATEMENTS = 64
"""Statements whose names and plans are known. What is kept is what they ask, never an answer."""

_OUTER = re.compile(r"\b(left|right|full)\b", re.IGNORECASE)
"""DataFusion 55.0, when it swaps the sides of an outer join, may apply the filter above it to columns of the same names on the other
side, and lose rows: statements that may have one are planned with the sides as they are written."""

_OF_NOW = re.compile(r"now|current_|today", re.IGNORECASE)
"""Functions that optimizing replaces by their value: the plan is good for that moment only. A sign too many costs nothing but the time."""


class Session:
    """Runs statements one after the other. Not thread-safe."""

    def __init__(self, scratch: Path | None = None, memory: int | None = None, partitions: int | None = None) -> None:
        """scratch: folder for spilling, none without one; memory: bytes that operators may hold; partitions: by default all cores."""
        self.scratch = scratch
        runtime = RuntimeEnvBuilder()
        runtime = runtime.with_disk_manager_disabled() if scratch is None else runtime.with_temp_file_path(scratch)
        if memory is not None:
            runtime = runtime.with_fair_spill_pool(memory)
        self._workshop = SessionContext(SessionConfig(), runtime)  # where deltas are merged, out of any statement's sight
        self._seen = Seen()
        self._planner = Planner(lambda: SessionContext(planner_config(partitions), runtime), self._seen)
        as_written = planner_config(partitions).set("datafusion.optimizer.join_reordering", "false")
        self._planner_of_outer_joins = Planner(lambda: SessionContext(as_written, runtime), self._seen)
        self._tables: OrderedDict[Hashable, _Opened] = OrderedDict()
        self._mapped = Opened()
        self._plans: OrderedDict[tuple[str, tuple[tuple[str, int], ...]], _Planned] = OrderedDict()
        self._names = lru_cache(KEPT_STATEMENTS)(self._planner.names)
        self._shown = ShownTables(self)

    def names(self, sql: str) -> list[str]:
        """Every table that the statement touches, `system.` before those of that schema. Raises QueryProblem if it is none."""
        return list(self._names(sql))

    @contextmanager
    def frame(self, sql: str, parameters: Mapping[str, pa.Scalar], sources: Sequence[TableSource]) -> Iterator[DataFrame]:
        """The planned statement, valid inside. Raises QueryProblem, also for what happens to the frame inside."""
        with translated():
            tables = {source.name: self.open(source) for source in sources}
            yield self.planned(sql, parameters, sources, tables)

    def planned(
        self, sql: str, parameters: Mapping[str, pa.Scalar], sources: Sequence[TableSource], tables: Mapping[str, Table]
    ) -> DataFrame:
        """The statement over tables that were opened of the sources, by their names. Raises QueryProblem, and DataFusion's errors."""
        lasting = all(isinstance(source, LakeTable) and not source.former for source in sources) and not _OF_NOW.search(sql)
        planned = self._planned(sql, parameters, tables, sources, keep=lasting and not parameters)
        return planned.planner.frame(planned.plan)

    def _planned(
        self,
        sql: str,
        parameters: Mapping[str, pa.Scalar],
        tables: Mapping[str, Table],
        sources: Sequence[TableSource] = (),
        *,
        keep: bool,
    ) -> _Planned:
        """sources: those of which a reader may see but a part are planned once more, with what may be moved below their barrier. keep: the
        plan is good for as long as the tables are."""
        asked = sql, tuple((name, id(table)) for name, table in tables.items())
        known = self._plans.get(asked) if keep else None
        if known is not None:
            self._plans.move_to_end(asked)
            return known
        check_parameters(sql, parameters)
        planner = self._planner_of_outer_joins if _OUTER.search(sql) else self._planner
        with self._seen.showing(tables):
            plan = planner.plan(sql, parameters)
        closer = self._shown.narrowed(plan, sources)
        if closer:
            with self._seen.showing({**tables, **closer}):
                plan = planner.plan(sql, parameters)
        check_locks(plan, planner.frame(plan))
        planned = _Planned(planner, plan, tuple(tables.values()), tuple(closer.values()))
        if keep:
            self._plans[asked] = planned
            if len(self._plans) > KEPT_STATEMENTS:
                self._plans.popitem(last=False)
        return planned

    @contextmanager
    def identities(
        self,
        source: TableSource,
        condition: str | None,
        primary_key: Sequence[str],
        extra: Sequence[str] = (),
        facets: Sequence[str] = (),
    ) -> Iterator[DataFrame]:
        """The identity columns, and others, of the rows that satisfy a condition: one boolean expression and nothing else. facets: columns
        besides as the reader is shown them, each under its `facet_name`."""
        wanted = tuple(dict.fromkeys((*identity_columns(primary_key), *extra)))
        with translated():
            yield self._identities(source, self._open(source, identity=wanted), condition, wanted, facets)

    def _identities(
        self, source: TableSource, table: Table, condition: str | None, wanted: Sequence[str], facets: Sequence[str]
    ) -> DataFrame:
        with self._seen.showing({source.name: table}):
            frame = self._planner.context.table(quote(source.name))
            shown = frame.select(*(quote(name) for name in frame.schema().names if not name.startswith(CARRIED)))
            check_facets(facets, shown.schema())
            if condition is not None:
                frame = frame.filter(shown.parse_sql_expr(condition))
            chosen = self._shown.carried(frame, wanted, facets)
            if source.shown is not None:
                check_locks(chosen.optimized_logical_plan(), chosen)
            return chosen

    def merge(self, source: TableSource) -> None:
        """Makes what later readings of the source need: merged for all workers, opened and planned for this one. Raises QueryProblem."""
        with translated():
            table = self.open(source)
        if isinstance(source, LakeTable) and not source.former:
            self._plan_ahead(source.name, table)

    def _plan_ahead(self, name: str, table: Table) -> None:
        """The statements that were asked last of a table that is another one now, before they are asked again."""
        recent = [(asked, planned) for asked, planned in self._plans.items() if any(one == name for one, _ in asked[1])]
        for asked, planned in recent[-PLANNED_AHEAD:]:
            names = [one for one, _ in asked[1]]
            tables = {one: table if one == name else held for one, held in zip(names, planned.tables, strict=True)}
            try:
                with translated():
                    self._planned(asked[0], {}, tables, keep=True)
            except QueryProblem as problem:
                if problem.problem != "invalid":  # a column of it may be gone: whoever asks again is told
                    raise
            if any(tables[one] is not held for one, held in zip(names, planned.tables, strict=True)):
                self._plans.pop(asked, None)

    def show(self, task: ShownTask) -> int:
        """Makes what is shown of a snapshot of the hot cache. Returns its bytes. Raises QueryProblem."""
        with translated():
            try:
                return show(task)
            except TooLarge as error:
                raise QueryProblem("too-large", f"What is shown of {task.table} has no room in the hot cache.") from error

    def hold(self, task: HotTask) -> Snapshot:
        """Makes a snapshot of the hot cache. Raises QueryProblem."""
        with translated():
            try:
                return build(task)
            except TooLarge as error:
                message = f"{task.dataset} takes more than the {task.most} bytes that the hot cache has for it."
                raise QueryProblem("too-large", message, "`limits.hotCacheBytes` in lakehouse.yaml is the limit.") from error

    def run(self, sql: str, parameters: Mapping[str, pa.Scalar], sources: Sequence[TableSource], work: Callable[[DataFrame], T]) -> T:
        """What `work` makes of the statement, for a reader who is no operator: nothing that is said of what fails tells a value.

        A statement that fails because a policy fails on a row runs once more over copies of what is shown. Raises QueryProblem.
        """
        with translated():
            tables = {source.name: self.open(source) for source in sources}
            frame = self.planned(sql, parameters, sources, tables)
            refuse_explain(frame.logical_plan())
        try:
            with translated():
                return work(frame)
        except QueryProblem as problem:
            return self._shown.over_copies(
                problem, sources, self.scratch, lambda copies: work(self.planned(sql, parameters, sources, {**tables, **copies}))
            )

    def keys(
        self,
        source: TableSource,
        condition: str | None,
        primary_key: Sequence[str],
        work: Callable[[DataFrame], T],
        facets: Sequence[str] = (),
    ) -> T:
        """What `work` makes of `identities`, for a reader who is no operator: as `run`."""
        planned = False
        try:
            with self.identities(source, condition, primary_key, facets=facets) as frame:
                planned = True
                return work(frame)
        except QueryProblem as problem:
            if not planned:
                raise
            wanted = identity_columns(primary_key)

            def again(copies: Mapping[str, Table]) -> T:
                return work(self._identities(source, copies[source.name], condition, wanted, facets))

            return self._shown.over_copies(problem, [source], self.scratch, again, wanted)

    def open(self, source: TableSource) -> Table:
        """The table as the reader may see it. Raises QueryProblem, OSError."""
        return self._open(source, identity=())

    def whole(self, source: TableSource, identity: Sequence[str] = ()) -> Table:
        """The table with all that the reader may not see. identity: see `_open`. Raises OSError."""
        return self._open(replace(source, shown=None), identity=identity)

    def _open(self, source: TableSource, *, identity: Sequence[str]) -> Table:
        """identity: columns of which row keys are made, and others that are read beside them; () to show none."""
        if source.shown is not None:
            return self._shown.open(source, identity)
        if isinstance(source, ArrowTable):  # replaced with every event, and cheap to map
            return open_table(source, self._workshop)
        if source.hot is not None and (source.primary_key or not identity):  # no hidden columns are held
            held = self.held(source.hot, source)
            if held is not None:
                return held
            if not any(source.folders):  # nothing else is known of it
                raise FileNotFoundError(f"What was held of {source.name} is gone")
        source = replace(source, hot=None)
        check_files(source)
        opened = self.known((source, bool(identity)), partial(open_table, source, self._workshop, identity=bool(identity)), None)
        assert opened is not None
        return opened

    def held(self, document: str, source: LakeTable) -> Table | None:
        """What the hot cache has under this document, whose rows and values are the source's as they are read; None where it is gone."""
        # by the document alone, which tells all: a version that is about to be is opened before anybody asks for it
        whole = replace(source, hot=document, shown=None)
        return self.known((document, source.columns), partial(open_held, whole, self._mapped), document)

    def known(self, description: Hashable, open_it: Callable[[], Table | None], hot: str | None) -> Table | None:
        """A table that is opened once under a description, None where it is not there. hot: the document that it is read by."""
        known = self._tables.get(description)
        if known is None:
            self._let_go()
            table = open_it()
            if table is None:
                return None
            known = self._tables[description] = _Opened(table, hot)
            if len(self._tables) > KEPT_TABLES:
                self._forget([next(iter(self._tables))])
        self._tables.move_to_end(description)
        return known.table

    def _let_go(self) -> None:
        """Of what was evicted from the hot cache: mapped files keep their place on the disk."""
        self._forget([name for name, known in self._tables.items() if known.hot is not None and not Path(known.hot).exists()])
        self._mapped.let_go()

    def _forget(self, names: Sequence[Hashable]) -> None:
        """Closes tables, and the plans that hold them."""
        gone = {id(self._tables.pop(name).table) for name in names}
        for asked in [asked for asked in self._plans if gone and any(table in gone for _, table in asked[1])]:
            del self._plans[asked]


class _Opened(NamedTuple):
    """hot: the document that it was read by."""

    table: Table
    hot: str | None


class _Planned(NamedTuple):
    """A statement over tables that were open, which lets nobody else have their identity."""

    planner: Planner
    plan: LogicalPlan
    tables: tuple[Table, ...]
    closer: tuple[Table, ...] = ()
