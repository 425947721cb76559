"""What a reader who is no operator is told of a statement that cannot be, or fails: what went wrong, and no value of a row.

Plans are for operators: they print statistics of files, and what policies say. What is wrong with the text of a statement is told to
anybody, since planning knows but the names and types that the reader sees. What happens to rows is told by its kind. Pure.
"""

from __future__ import annotations

import re

from datafusion.plan import LogicalPlan

from engines.sql.problems import QueryProblem, invalid

_PLANS = ("Explain", "Analyze")
_FAILED = "An expression of the statement fails on a row that it reads."
_KINDS = tuple(
    (re.compile(words, re.IGNORECASE), message, remedy)
    for words, message, remedy in (
        (r"divide by zero|division by zero", "The statement divides by zero.", "`nullif(divisor, 0)` gives null instead."),
        (r"overflow", "A number becomes too large for its type.", "Cast it to a wider type first, as in `amount::double`."),
        (
            r"cast|parse|parsing|convert",
            "A value cannot be cast to the type that is asked for.",
            "`try_cast(value AS type)` gives null instead.",
        ),
        (r"more than one row", "A subquery that stands for one value gives several.", "Aggregate it, or add LIMIT 1."),
    )
)


def refuse_explain(plan: LogicalPlan) -> None:
    """Raises QueryProblem for a statement that asks for a plan."""
    if plan.display().split(maxsplit=1)[0] in _PLANS:
        raise QueryProblem("forbidden", "Plans are for operators of the lake.", "Run the statement itself.")


def without_values(problem: QueryProblem) -> QueryProblem:
    """The same problem of rows, by its kind; another exception than the one that is given, to be raised from it."""
    if problem.problem == "storage":
        return QueryProblem("storage", "it is missing or damaged")
    if problem.problem != "invalid":
        return QueryProblem(problem.problem, problem.message, problem.remedy)
    found = next(((message, remedy) for words, message, remedy in _KINDS if words.search(problem.message)), (_FAILED, None))
    return invalid(*found)
