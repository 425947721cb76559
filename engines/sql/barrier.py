"""A table as a reader may see it, through which the optimizer moves nothing of the reader's.

    Limit(all)                          the optimizer of statements moves no filter, window, join or expression below a limit
      Projection(masked columns)
        Filter(__permitted)             that of plans swaps a filter with an expression above it that keeps the filter's column: this
          Projection(…, permitted(true) AS __permitted)      column no reader can name, and a volatile call is not looked through
            Limit(all)                  below which no filter of plans is moved
              Filter(the policy's)      which may be moved down to the files

Each part is there because DataFusion 55.0 leaks without it, which `tests/engines/sql/test_leaks_plans.py` holds against plans: on one core
a limit alone is swallowed by the filter under it, and a reader's division is computed over hidden rows. That is the optimizer's behaviour,
not its promise, so `holds` looks at every plan before it is run. See `docs/adr/0022-the-barrier-below-a-readers-query.md`.

Policies are planned here, apart from the reader's statement and over the table alone. What is wrong with them is told without what they
say. Next: `careful.py`, for policies that fail on a row; `conjuncts.py`, for what is moved below all the same; `masks.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
from datafusion import DataFrame, Expr, SessionConfig, SessionContext, SQLOptions, column, lit, udf
from datafusion.catalog import Table

from engines.files.types import arrow_type
from engines.row_keys import identity_columns
from engines.sql.masks import LITERAL, masked, null
from engines.sql.placeholders import placeholders
from engines.sql.problems import QueryProblem, translated
from engines.sql.readings import quote
from engines.sql.shown import Masked, ShownAs

ALL = (1 << 63) - 1
"""Rows of a limit that limits nothing."""

HIDDEN = frozenset(identity_columns(()))
"""Columns of files that no table shows."""

PERMITTED = "__permitted"
CARRIED = "__carried_"
_COMPUTED = "__mask_"
_GONE = "__gone_"
_READ_ONLY = SQLOptions().with_allow_ddl(False).with_allow_dml(False).with_allow_statements(False)
_permitted = udf(lambda given: given, [pa.bool_()], pa.bool_(), "volatile", "permitted")
LOCK = re.compile(rf"Filter: (\w+\.)?{PERMITTED}$", re.MULTILINE)
"""The line of a barrier's filter in a logical plan."""

_KEPT = re.compile(rf"FilterExec: {PERMITTED}@\d+(, projection=\[[^\]]*\])?(, fetch=\d+)?$", re.MULTILINE)


def cannot_be_applied(shown: ShownAs) -> QueryProblem:
    """Of a policy that does not plan over the table. Says nothing of what it says."""
    names = " and ".join(f"`{name}`" for name in shown.policies) or "of this table"
    which = "policies" if len(shown.policies) > 1 else "policy"
    return QueryProblem("policy", f"The {which} {names} cannot be evaluated, so nothing is shown.", "Tell whoever wrote it.")


def barrier(table: Table, name: str, shown: ShownAs, carried: Sequence[str] = (), narrowed: Expr | None = None) -> Table:
    """The table as it is shown. name: by which policies may call it. carried: columns that are handed through unmasked besides, each under
    the name of `carried_name`. narrowed: a condition over unmasked columns that fails on no row; rows that it does not hold for may
    be left out.

    Raises QueryProblem where the policy cannot be applied.
    """
    with guarded(shown):
        rows = permitted(table if narrowed is None else _narrowed(table, narrowed), name, shown)
        columns = visible_columns(table.schema, shown, carried)
        frame = _locked(rows, columns, visible_schema(table.schema, carried).names) if needs_lock(shown) else rows.select(*columns)
        frame.optimized_logical_plan()  # constants of a policy are computed here, not in the reader's statement
        return Table(frame)


def fails(table: Table, name: str, shown: ShownAs) -> bool:
    """Whether the policy fails on a row. Reads all of them. Raises QueryProblem for what is no fault of the policy."""
    try:
        with guarded(shown):
            for _ in permitted(table, name, shown).select(*shown_columns(table.schema, shown)).execute_stream():
                pass
    except QueryProblem as problem:
        if problem.problem != "policy":
            raise
        return True
    return False


def carried_name(column_name: str) -> str:
    """Of a column that is carried."""
    return f"{CARRIED}{column_name}"


@contextmanager
def guarded(shown: ShownAs) -> Iterator[None]:
    """What fails inside fails because of the policy, and is told without what it says."""
    try:
        with translated():
            yield
    except QueryProblem as problem:
        if problem.problem in ("memory", "disk", "storage"):
            raise
        raise cannot_be_applied(shown) from problem


def needs_lock(shown: ShownAs) -> bool:
    """Whether there is a value below that an expression could be computed of."""
    return shown.row_filter is not None or any(mask.kind not in LITERAL for mask in shown.masks)


def holds(logical: str, physical: str) -> bool:
    """Whether every lock of a statement's plan is a filter of its own in the plan that is run. Pure; see `display_indent` of both."""
    return len(LOCK.findall(logical)) == len(_KEPT.findall(physical))


def permitted(table: Table, name: str, shown: ShownAs, partitions: int | None = None) -> DataFrame:
    """The rows that satisfy the policy's filter, with what its expressions give in further columns. partitions: at least, where it is run
    as it is; None for one a core. Raises DataFusion's errors."""
    context = SessionContext(SessionConfig() if partitions is None else SessionConfig().with_target_partitions(partitions))
    context.register_table("t", table)
    context.register_table(quote(name), Table(context.table("t").select(*_columns_of_now(table.schema, shown))))
    known = context.table(quote(name))
    texts = [mask.argument or "NULL" for mask in _expressions(shown)]
    for text in (*texts, *filter(None, [shown.row_filter])):
        known.parse_sql_expr(text)  # one expression over the columns and nothing else
    computed = (f", ({text}\n) AS {_COMPUTED}{number}" for number, text in enumerate(texts))
    where = f" WHERE ({shown.row_filter}\n)" if shown.row_filter is not None else ""
    sql = f"SELECT *{''.join(computed)} FROM {quote(name)}{where}"
    given = dict(shown.values)
    values = {one: pa.scalar(given.get(one), pa.string()) for one in placeholders(sql)}
    return context.sql_with_options(sql, _READ_ONLY, param_values=values)


def visible_columns(schema: pa.Schema, shown: ShownAs, carried: Sequence[str] = ()) -> list[Expr]:
    """As `shown_columns`, without those of files that no table shows, and with those that are carried."""
    visible = pa.schema([one for one in schema if one.name not in HIDDEN])
    return [*shown_columns(visible, shown), *(_there(one, shown).alias(carried_name(one)) for one in carried)]


def visible_schema(schema: pa.Schema, carried: Sequence[str] = ()) -> pa.Schema:
    """Of `visible_columns`."""
    visible = [one for one in schema if one.name not in HIDDEN]
    return pa.schema([*visible, *(schema.field(name).with_name(carried_name(name)) for name in carried)])


def shown_columns(schema: pa.Schema, shown: ShownAs) -> list[Expr]:
    """The columns of the table over the rows of `permitted`, masked ones in their types."""
    computed = {mask.column: column(f"{_COMPUTED}{number}") for number, mask in enumerate(_expressions(shown))}
    by_name = {mask.column: mask for mask in shown.masks}
    return [
        masked(by_name[one.name], one.type, _there(one.name, shown), computed.get(one.name), shown.key)
        if one.name in by_name
        else _there(one.name, shown).alias(one.name)
        for one in schema
    ]


def _expressions(shown: ShownAs) -> list[Masked]:
    return [mask for mask in shown.masks if mask.kind == "expression"]


def _locked(rows: DataFrame, columns: Sequence[Expr], names: Sequence[str]) -> DataFrame:
    marked = rows.limit(ALL).select(*columns, _permitted(lit(True)).alias(PERMITTED))
    return marked.filter(column(PERMITTED)).select(*(column(quote(name)) for name in names)).limit(ALL)


def _narrowed(table: Table, narrowed: Expr) -> Table:
    context = SessionContext()
    context.register_table("t", table)
    return Table(context.table("t").filter(narrowed))


def _there(name: str, shown: ShownAs) -> Expr:
    """A column of the table over `_columns_of_now`."""
    return column(quote(_called_now(name, shown)))


def _called_now(name: str, shown: ShownAs) -> str:
    """By which policies know a column: what was called then as another one is now must not be taken for that."""
    renamed = dict(shown.renamed)
    taken = {*renamed.values(), *(absent for absent, _ in shown.absent)}
    return renamed.get(name, f"{_GONE}{name}" if name in taken else name)


def _columns_of_now(schema: pa.Schema, shown: ShownAs) -> list[Expr]:
    there = [column(quote(name)).alias(_called_now(name, shown)) for name in schema.names]
    return [*there, *(null(arrow_type(kind)).alias(name) for name, kind in shown.absent)]
