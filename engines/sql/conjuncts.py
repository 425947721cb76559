"""What of a reader's condition may be applied below the barrier, so that a point lookup goes on skipping files and row groups.

A conjunct that compares an unmasked column with a constant, or asks whether it is null, fails on no row, hidden or not, and computes
nothing that anybody sees: rows that it does not hold for are left out of the answer by the reader's own condition anyway, which stays
where it is. It is taken from the optimized plan, where constants are computed and types agree, and only where the condition stands
directly above the one barrier of the statement, so that there is no doubt of which rows it speaks. Next: `barrier.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import reduce
from operator import and_
from typing import Any

from datafusion import Expr, column
from datafusion.expr import Column, Filter
from datafusion.plan import LogicalPlan

from engines.sql.barrier import ALL, LOCK
from engines.sql.readings import quote

_COMPARISONS = frozenset({"=", "!=", "<", "<=", ">", ">="})
_NULLNESS = frozenset({"IsNull", "IsNotNull"})


def safe_condition(plan: LogicalPlan, hidden: Collection[str]) -> Expr | None:
    """Over columns of the one barrier of an optimized plan; None where there is none, or more than one barrier. hidden: columns of which no
    value is shown as it is."""
    nodes = list(_nodes(plan))
    if sum(_is_lock(node) for node in nodes) != 1:
        return None
    condition = next((found for node in nodes if (found := _condition_above_barrier(node)) is not None), None)
    safe = [] if condition is None else [safe for part in _conjuncts(condition) if (safe := _safe(part, hidden)) is not None]
    return reduce(and_, safe) if safe else None


def _nodes(plan: LogicalPlan) -> Iterator[LogicalPlan]:
    yield plan
    for below in plan.inputs():
        yield from _nodes(below)


def _is_lock(plan: LogicalPlan) -> bool:
    return LOCK.match(plan.display()) is not None


def _condition_above_barrier(plan: LogicalPlan) -> Expr | None:
    found = plan.to_variant() if plan.display().startswith("Filter:") else None
    if not isinstance(found, Filter) or _is_lock(plan):
        return None
    below = _below(plan, "SubqueryAlias:")
    ends = below.display() == f"Limit: skip=0, fetch={ALL}" and _is_lock(_below(below, "Projection:"))
    return _expression(found.predicate()) if ends else None


def _below(plan: LogicalPlan, passed: str) -> LogicalPlan:
    """The input of a node of one, less nodes that are passed by."""
    (below,) = plan.inputs()
    while below.display().startswith(passed):
        (below,) = below.inputs()
    return below


def _conjuncts(condition: Expr) -> Iterator[Expr]:
    if condition.variant_name() == "BinaryExpr" and condition.rex_call_operator() == "AND":
        for part in _operands(condition):
            yield from _conjuncts(part)
    else:
        yield condition


def _safe(condition: Expr, hidden: Collection[str]) -> Expr | None:
    """The same condition over columns without their table; None where it is of another kind."""
    kind = condition.variant_name()
    if kind in _NULLNESS:
        (operand,) = _operands(condition)
        value = _value(operand, hidden)
        return None if value is None else value.is_null() if kind == "IsNull" else value.is_not_null()
    if kind != "BinaryExpr":
        return None
    operator, (left, right) = condition.rex_call_operator(), _operands(condition)
    if operator == "OR":
        one, other = _safe(left, hidden), _safe(right, hidden)
        return None if one is None or other is None else one | other
    value = _value(left, hidden)
    if operator not in _COMPARISONS or value is None or right.variant_name() != "Literal":
        return None
    return _compared(value, operator, right)


def _compared(value: Expr, operator: str, constant: Expr) -> Expr:
    match operator:
        case "=":
            return value == constant
        case "!=":
            return value != constant
        case "<":
            return value < constant
        case "<=":
            return value <= constant
        case ">":
            return value > constant
        case _:
            return value >= constant


def _value(operand: Expr, hidden: Collection[str]) -> Expr | None:
    found = operand.to_variant() if operand.variant_name() == "Column" else None
    return column(quote(found.name())) if isinstance(found, Column) and found.name() not in hidden else None


def _operands(condition: Expr) -> list[Expr]:
    return [_expression(one) for one in condition.rex_call_operands()]


def _expression(found: Any) -> Expr:
    """What DataFusion's own objects give is not wrapped yet."""
    return found if isinstance(found, Expr) else Expr(found)
