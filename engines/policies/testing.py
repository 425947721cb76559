"""The cases written beside a policy, asked as any reader of that role asks: through the choke point, under all policies in force.

A case's reader is bound to nothing by name and has the attributes that the case gives. Values compare as a JSON answer has them. Next:
`specs/kinds/policy.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

from engines.reading import Reader, Rules
from engines.sql.query_request import QueryRequest
from specs.errors import LakehouseError
from specs.kinds.policy import PolicySpec, PolicyTest

_MORE = 1_000
"""Rows beyond the expected ones that are read to be shown."""


class Answer(Protocol):
    """What answered a query."""

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """As JSON values."""


class Queries(Protocol):
    """The query service."""

    async def run(self, request: QueryRequest, reader: Reader) -> Answer:
        """Raises LakehouseError."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case. number: from 1, as written; got: None where the query gave no answer; error: why not."""

    number: int
    case: PolicyTest
    got: Sequence[Sequence[Any]] | None
    error: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the rows are the expected ones, in their order."""
        return self.got == plain(self.case.rows)

    def to_dict(self) -> dict[str, Any]:
        """As it is shown."""
        known = {"case": self.number, "role": self.case.role, "sql": self.case.sql, "passed": self.passed}
        known |= {"attributes": dict(self.case.attributes)} if self.case.attributes else {}
        return known | ({} if self.passed else {"expected": plain(self.case.rows), "got": self.got, "error": self.error})


def reader_of(case: PolicyTest, rules: Rules, asked_by: str | None = None) -> Reader:
    """Who asks. asked_by: the token of whoever runs the case."""
    return Reader(role=case.role, attributes=case.attributes, rules=rules, asked_by=asked_by)


async def run_cases(spec: PolicySpec, rules: Rules, queries: Queries, asked_by: str | None = None) -> tuple[CaseResult, ...]:
    """One after the other, so that they take one worker. asked_by: as of `reader_of`."""
    results = []
    for number, case in enumerate(spec.tests, start=1):
        got, error = None, None
        try:
            request = QueryRequest(case.sql, max_rows=len(case.rows) + _MORE)
            answer = await queries.run(request, reader_of(case, rules, asked_by))
            got = [list(row.values()) for row in answer.rows()]
        except LakehouseError as refused:
            error = refused.explain()
        results.append(CaseResult(number, case, got, error))
    return tuple(results)


def plain(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Expected values as a JSON answer has them."""
    return [[value.isoformat() if isinstance(value, date) else value for value in row] for row in rows]
