"""How many times longer than its row an expression of a spec may make a value: what a short text asks for must not fill the memory.

Expressions of checks and migrations are computed where the daemon reads files, over whole batches, and no pool of memory holds what a
function makes of a value. So functions that lengthen take their measure from a literal, and multiply where they are nested. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from datafusion import Expr

MOST = 1_000
"""Times; a batch is 64 Ki rows at most."""
_COUNTED: Mapping[str, int] = {
    "repeat": 1,
    "lpad": 1,
    "rpad": 1,
    "array_repeat": 1,
    "list_repeat": 1,
    "array_resize": 1,
    "list_resize": 1,
}
"""Functions and which of their arguments says how long the result is."""
_ENDLESS = frozenset({"generate_series", "range"})
_REPLACING = frozenset({"replace", "regexp_replace"})


def excess(expression: Expr) -> str | None:
    """The function that makes more of a row than it may, None if there is none."""
    return _measured(expression)[1]


def _measured(expression: Expr) -> tuple[int, str | None]:
    """How many times longer the result may be than what it is made of, and what goes beyond."""
    if expression.variant_name() in ("Column", "Literal"):
        return 1, None
    operands = expression.rex_call_operands()
    inner = [_measured(operand) for operand in operands]
    found = next((name for _, name in inner if name is not None), None)
    times = max((count for count, _ in inner), default=1)
    if expression.variant_name() != "ScalarFunction" or found is not None:
        return times, found
    name = expression.rex_call_operator()
    times *= _times(name, operands)
    return times, name if times > MOST else None


def _times(name: str, operands: list[Expr]) -> int:
    if name in _ENDLESS:
        return MOST + 1
    if name in _COUNTED and len(operands) > _COUNTED[name]:
        said = _literal(operands[_COUNTED[name]])
        return max(1, said) if isinstance(said, int) else MOST + 1
    if name in _REPLACING and len(operands) > 2:
        said = _literal(operands[2])
        return len(said) + 1 if isinstance(said, str) else 1
    return 1


def _literal(expression: Expr) -> object:
    """Its value, None for what is none."""
    if expression.variant_name() != "Literal":
        return None
    value: object = expression.python_value()
    return value.as_py() if hasattr(value, "as_py") else value
