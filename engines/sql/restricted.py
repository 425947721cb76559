"""What a reader who is no operator is told of a statement that cannot be, or fails: what went wrong, and no value of a row.

Plans are for operators: they print statistics of files, and what policies say. What is wrong with the text of a statement is told to
anybody, since planning knows but the names and types that the reader sees. What happens to rows is told in one sentence, whatever it is:
where two rows fail, which of them comes first depends on how rows lie in batches, and so on those that are hidden between them. Pure.
"""

from __future__ import annotations

from datafusion.plan import LogicalPlan

from engines.sql.problems import QueryProblem, invalid

_PLANS = ("Explain", "Analyze")
_FAILED = (
    "The statement fails on a row that it reads: it divides by zero, casts a value that the type does not have, makes a number too large "
    "for its type, or takes several rows for one value."
)
_REMEDY = (
    "`nullif(divisor, 0)` and `try_cast(value AS type)` give null instead, a cast to a wider type as in `amount::double` has room, and "
    "LIMIT 1 leaves a subquery one row."
)


def refuse_explain(plan: LogicalPlan) -> None:
    """Raises QueryProblem for a statement that asks for a plan."""
    if plan.display().split(maxsplit=1)[0] in _PLANS:
        raise QueryProblem("forbidden", "Plans are for operators of the lake.", "Run the statement itself.")


def without_values(problem: QueryProblem) -> QueryProblem:
    """The same problem of rows, without what tells of one; another exception than the one that is given, to be raised from it."""
    if problem.problem == "storage":
        return QueryProblem("storage", "it is missing or damaged")
    if problem.problem == "invalid":
        return invalid(_FAILED, _REMEDY)
    return QueryProblem(problem.problem, problem.message, problem.remedy)
