"""Whether the SQL of a policy can be what it is said to be: conditions over a row, and values shown in its stead. Blocking, milliseconds.

Conditions of several rules are put together (`engines/policies/governed.py`), so each must be one whole expression, which parentheses hold.
It may name the row's columns and `$names`, whose values are text; what would make its answer depend on more is refused: subqueries,
aggregates, windows, and functions that answer differently each time. Next: `row_checks.py`, which says the same of checks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

import pyarrow as pa
from datafusion import DataFrame, Expr, SessionConfig, SessionContext
from datafusion.expr import EmptyRelation

from engines.errors import QueryInvalid
from engines.files.types import arrow_type
from engines.policies.compiling import mask_of
from engines.policies.governed import Checked, Mask, PolicyRules, Unfit
from engines.sql.masks import shows
from engines.sql.problems import CATALOG, translate
from engines.sql.row_checks import FICKLE
from specs.kinds.policy import PolicySpec
from specs.sql_names import parameters_of, words_of

LONGEST = 4_000
"""Characters of one expression: very long ones take seconds to plan."""
_ROW = "row"
_OF_SYNTAX = ("ParserError", "TokenizerError", "Invalid function")
_CLOSED = frozenset({"ScalarSubquery", "Exists", "InSubquery", "AggregateFunction", "WindowFunction", "Wildcard", "Alias"})


def fault(rules: PolicyRules, columns: Mapping[str, str]) -> str | None:
    """The first thing that is wrong with a policy's SQL, with its field; None where all can be planned. columns: our types by name."""
    shape = tuple(columns.items())
    for rule in rules.rows:
        if wrong := _wrong(rule.where, shape, "bool"):
            return f"`where` {wrong}"
    for masks in rules.masks:
        for name in sorted(masks.columns) if masks.mask.kind == "expression" else ():
            if wrong := _wrong(masks.mask.argument or "", shape, columns[name]):
                return f"`expression` {wrong}"
    return None


def check(rules: PolicyRules, columns: Mapping[str, str]) -> Checked:
    """All there is to say of a policy over columns, our types by name."""
    found = fault(rules, columns)
    if found is not None:
        return Checked(found)
    shape = tuple(columns.items())
    return Checked(None, tuple(_unfit(rules, columns)), frozenset(rule.where for rule in rules.rows if _never(rule.where, shape)))


def _unfit(rules: PolicyRules, columns: Mapping[str, str]) -> Iterator[Unfit]:
    """Of what `null` and `redact` hide nothing is expected."""
    for masks in rules.masks:
        mask = masks.mask
        for name in sorted(masks.columns & columns.keys()) if mask.kind not in ("null", "redact") else ():
            kind = columns[name]
            if not shows(mask, arrow_type(kind)):
                yield Unfit(name, f"mask {mask.kind} shows nothing of `{name}`, which is {kind}: {_ways(mask, name, kind)}")


def _ways(mask: Mask, name: str, kind: str) -> str:
    """What helps, for each intention that there may be."""
    if mask.kind == "constant":
        return f"give a constant that {kind} can be, or write `mask: 'null'` if that is meant"
    wanted, declared = ("dates and timestamps", "date") if mask.kind == "year" else ("text", "string")
    typed = f"`columns: {{{name}: {{type: {declared}}}}}` in the Dataset makes it so; else " if "string" in (kind, declared) else ""
    return f"it is for {wanted}; {typed}use {{expression: …}}, or 'null' if that is meant"


def fault_alone(spec: PolicySpec) -> str | None:
    """As `fault`, without a table: whatever is named is a column, and types say nothing."""
    told = [("where", rule.where) for rule in spec.rows]
    for rule in spec.columns:
        mask = mask_of(rule.mask)
        told += [("expression", mask.argument)] if mask.kind == "expression" and mask.argument is not None else []
    found = ((field, _wrong_alone(sql)) for field, sql in told)
    return next((f"`{field}` {wrong}" for field, wrong in found if wrong is not None), None)


@lru_cache(maxsize=1_000)
def _wrong_alone(sql: str) -> str | None:
    if len(sql) > LONGEST:
        return _too_long(sql)
    names = {word: pa.nulls(0) for found in words_of(sql) for word in (found, found.lower())}
    row = SessionContext().from_arrow(pa.table({_ROW: pa.nulls(0), **names}))
    try:
        _parse(row, sql)
    except QueryInvalid as invalid:
        return f"`{sql}` {invalid}"
    except Exception as error:  # noqa: BLE001 - DataFusion's, of which there is but one kind
        # what it says of types says nothing here
        return f"`{sql}` cannot be parsed: {_plain(error)}" if any(sign in str(error) for sign in _OF_SYNTAX) else None
    return None


@lru_cache(maxsize=1_000)
def _wrong(sql: str, shape: tuple[tuple[str, str], ...], kind: str) -> str | None:
    """kind: our type of the answer; one that it can be cast to, unless it is bool."""
    if len(sql) > LONGEST:
        return _too_long(sql)
    said = f"`{sql}`"
    context, row = _row_of(shape)
    try:
        _parse(row, sql)
        values = dict.fromkeys(parameters_of(sql), pa.scalar(None, pa.string()))
        answer = context.sql(f'SELECT ({sql}) AS answer FROM "{_ROW}"', param_values=values)
        return _of_answer(answer, said, kind)
    except QueryInvalid as invalid:
        return f"{said} {invalid}"
    except Exception as error:  # noqa: BLE001 - DataFusion's, of which there is but one kind
        problem = translate(error)
        if problem.problem == "unknown-table":
            return f"{said} reads the table `{problem.message}`, and looks beyond the row"
        return f"{said} cannot be planned: {_plain(error)}"


@lru_cache(maxsize=1_000)
def _never(sql: str, shape: tuple[tuple[str, str], ...]) -> bool:
    """Whether a condition without a fault is false or null by its constants alone, as the optimizer finds."""
    context, _ = _row_of(shape)
    try:
        plan = context.sql(f'SELECT 1 FROM "{_ROW}" WHERE ({sql})').optimized_logical_plan()
    except Exception:  # noqa: BLE001 - of a parameter that has no type before its value is known
        return False
    return isinstance(plan.to_variant(), EmptyRelation)


def _row_of(shape: tuple[tuple[str, str], ...]) -> tuple[SessionContext, DataFrame]:
    """A session with nothing but an empty table of these columns, and that table."""
    context = SessionContext(SessionConfig().with_target_partitions(1).with_default_catalog_and_schema(CATALOG, "public"))
    return context, context.from_arrow(pa.table({name: pa.array([], arrow_type(type_)) for name, type_ in shape}), _ROW)


def _parse(row: DataFrame, sql: str) -> None:
    """Raises QueryInvalid, and DataFusion's errors."""
    for whole in (sql, f"({sql})"):  # by itself, and held by parentheses
        _walk(row.parse_sql_expr(whole))


def _too_long(sql: str) -> str:
    return f"has {len(sql):,} characters; {LONGEST:,} are allowed"


def _plain(error: Exception) -> str:
    problem = translate(error)
    return f"{problem.message.rstrip('.')}. {problem.remedy or ''}".strip().removesuffix(".")


def _of_answer(answer: DataFrame, said: str, kind: str) -> str | None:
    found, wanted = answer.schema().field(0).type, arrow_type(kind)
    if kind == "bool" and not pa.types.is_boolean(found):
        return f"{said} is {found}, not true or false"
    if kind != "bool":
        answer = answer.select(answer.parse_sql_expr("answer").cast(wanted).alias("answer"))
    answer.collect()
    return None


def _walk(expression: Expr) -> None:
    """Raises QueryInvalid for what depends on more than the row and its reader."""
    kind = expression.variant_name()
    if kind in _CLOSED:
        raise QueryInvalid("looks beyond the row: subqueries, aggregates and windows are not for policies")
    if kind in ("Column", "Literal", "Placeholder"):
        return
    if kind == "ScalarFunction" and expression.rex_call_operator() in FICKLE:
        raise QueryInvalid(f"calls {expression.rex_call_operator()}(), which answers differently each time")
    for operand in expression.rex_call_operands():
        _walk(operand)
