"""DataFusion as a planner: statements that only read become plans over the tables that they are shown, and are run as they were planned.

What a statement can see is what `Seen` holds meanwhile. A plan over a part of a table is run only where its barrier is whole. Next:
`session.py`, which opens the tables and keeps the plans; `barrier.py` for what a barrier is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import pyarrow as pa
from datafusion import DataFrame, SessionConfig, SessionContext, SQLOptions
from datafusion.catalog import CatalogProvider, SchemaProvider, Table
from datafusion.plan import LogicalPlan

from engines.sql.barrier import PERMITTED, holds
from engines.sql.describing import with_own_types
from engines.sql.placeholders import placeholders
from engines.sql.problems import CATALOG, QueryProblem, invalid, same_names, translate
from engines.sql.restricted import refuse_explain

_READ_ONLY = SQLOptions().with_allow_ddl(False).with_allow_dml(False).with_allow_statements(False)

_BATCH_ROWS = 16 * 1024
"""Rows that operators pass on at once. Joins over a million rows gain a tenth by twice DataFusion's own; others lose nothing."""


def planner_config(partitions: int | None) -> SessionConfig:
    """partitions: by default all cores."""
    config = SessionConfig().with_create_default_catalog_and_schema(False).with_default_catalog_and_schema(CATALOG, "public")
    # Filters that a join finds at run time are matched by name, too, and drop rows: https://github.com/apache/datafusion/issues/25244
    config = config.set("datafusion.optimizer.enable_dynamic_filter_pushdown", "false")
    config = config.with_batch_size(_BATCH_ROWS)
    return config if partitions is None else config.with_target_partitions(partitions)


class Seen:
    """What the current statement asked for, and what it is shown."""

    def __init__(self) -> None:
        self.asked: set[tuple[str, str]] = set()
        self.tables: dict[tuple[str, str], Table] = {}

    @contextmanager
    def showing(self, tables: Mapping[str, Table]) -> Iterator[None]:
        """Inside, statements see these."""
        for full_name, table in tables.items():
            schema, _, name = full_name.rpartition(".")
            self.tables[schema or "public", name] = table
        try:
            yield
        finally:
            self.tables.clear()


class _Schema(SchemaProvider):
    def __init__(self, name: str, seen: Seen) -> None:
        self._name, self._seen = name, seen

    def table_names(self) -> set[str]:
        return {name for schema, name in self._seen.tables if schema == self._name}

    def table(self, name: str) -> Table | None:
        self._seen.asked.add((self._name, name))
        return self._seen.tables.get((self._name, name))

    def table_exist(self, name: str) -> bool:
        return (self._name, name) in self._seen.tables


class _Catalog(CatalogProvider):
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def schema_names(self) -> set[str]:
        return {"public", "system"}

    def schema(self, name: str) -> Any:
        return _Schema(name, self._seen)


class Planner:
    """Makes plans with the planner's rules, and runs them as they were made, without going through the rules once more."""

    def __init__(self, made: Callable[[], SessionContext], seen: Seen) -> None:
        self.context, self._running = made(), made()
        self._seen = seen
        self.context.register_catalog_provider(CATALOG, _Catalog(seen))
        for rule in _rules():
            self._running.remove_optimizer_rule(rule)

    def names(self, sql: str) -> list[str]:
        """Every table that a statement touches. Raises QueryProblem if it is none."""
        self._seen.asked.clear()
        try:
            self.context.sql_with_options(sql, _READ_ONLY)
        except Exception as error:
            if not self._seen.asked:
                raise translate(error) from error
        # A public table with a dot in its quoted name would be taken for one of another schema; there is none, so it stays unknown.
        return sorted({name if schema == "public" else f"{schema}.{name}" for schema, name in self._seen.asked if "." not in name})

    def plan(self, sql: str, parameters: Mapping[str, pa.Scalar]) -> LogicalPlan:
        """Raises QueryProblem, and DataFusion's errors."""
        frame = self.context.sql_with_options(sql, _READ_ONLY, param_values=dict(parameters))
        names = frame.schema().names
        if len(set(names)) < len(names):
            raise same_names([name for name in names if names.count(name) > 1])
        return with_own_types(frame.optimized_logical_plan())

    def frame(self, plan: LogicalPlan) -> DataFrame:
        """To be run."""
        return self._running.create_dataframe_from_logical_plan(plan)


@lru_cache
def _rules() -> tuple[str, ...]:
    """Names of the optimizer's rules, and of the analyzer's, as DataFusion tells them."""
    steps = SessionContext().sql("EXPLAIN VERBOSE SELECT 1").to_pydict()["plan_type"]
    prefix = "logical_plan after "
    return tuple(dict.fromkeys(step.removeprefix(prefix) for step in steps if step.startswith(prefix)))


def check_locks(plan: LogicalPlan, frame: DataFrame) -> None:
    """Raises QueryProblem where a barrier of an optimized plan would not be whole in the plan that is run. frame: to be run."""
    said = plan.display_indent()
    if PERMITTED not in said:
        return
    refuse_explain(plan)
    if not holds(said, frame.execution_plan().display_indent()):
        raise QueryProblem("forbidden", "The statement cannot be planned over a part of a table.", "Write it in another way.")


def check_parameters(sql: str, parameters: Mapping[str, object]) -> None:
    """Raises QueryProblem unless exactly the statement's parameters have values."""
    used = placeholders(sql)
    if missing := sorted(used - parameters.keys()):
        raise invalid(f"No value is given for the parameter ${missing[0]}.", "Give one in `params`.")
    if unused := sorted(parameters.keys() - used):
        known = ", ".join(f"${name}" for name in sorted(used)) or "none"
        raise invalid(f"The statement has no parameter ${unused[0]}.", f"It has: {known}.")
