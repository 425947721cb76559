"""GET /access/explain: what a role or a profile may do with a table or an index, and by which policies. POST /policies/test: whether the
cases that are written beside policies hold.

Both are for operators: they tell what is hidden from whom. Next: `engines/policies/explaining.py`, `engines/policies/testing.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from aiohttp import web
from pydantic import Field

from api.bodies import JSON, Document, answer, read_body, read_parameters
from api.endpoints import Endpoint
from api.reader import READER
from api.threads import Threads
from engines.policies.testing import Queries


class AccessSource(Protocol):
    """Specs and catalog, asked what they come to."""

    def explain(self, verb: Literal["query", "search", "describe"], name: str, who: str) -> Mapping[str, Any]:
        """As `AccessAnswer`. Blocking. Raises TableUnknown, IndexUnknown."""

    async def test(self, policy: str | None, queries: Queries, asked_by: str | None) -> Mapping[str, Any]:
        """As `TestsAnswer`. asked_by: the token of whoever runs the cases, which the audit names. Raises PolicyUnknown."""


class AccessParameters(Document):
    """Who would do what."""

    name: str = Field(description="A dataset or a table, by its name in specs or in SQL; of a search an index.")
    who: str = Field(alias="as", description="A profile, else a role.")
    verb: Literal["query", "search", "describe"] = Field("query", description="What it would do.")


class MaskedColumn(Document):
    """A column whose values are not shown."""

    column: str
    mask: str = Field(description="What is shown instead: the strictest of all that policies say.")
    value: str | None = Field(None, description="The constant as JSON, or the expression.")
    policies: dict[str, str] = Field(description="What each policy says.")


class AccessAnswer(Document):
    """What it may do."""

    verb: str
    name: str
    dataset: str | None = Field(None, description="Of an index: what it is of.")
    profile: str | None
    role: str | None
    answer: str = Field(description="In words: yes, yes with what is hidden, no.")
    allowed: bool
    whole: bool = Field(description="Whether all rows and values are shown.")
    rows: str | None = Field(description="The condition of rows that are shown; null for all.")
    row_policies: dict[str, str] = Field(description="Each policy's part of it.")
    columns: list[MaskedColumn]
    policies: list[str] = Field(description="Whose rules were applied.")
    values: dict[str, str] = Field(description="Of the $names in conditions; what they name besides is null.")
    why: list[str] = Field(description="Why not; what is wrong with policies; what waits.")


class TestBody(Document):
    """Which policy; all without."""

    policy: str | None = Field(None, description="Its name.")


class TestedCase(Document):
    """One case. expected, got and error: of one that failed."""

    case: int = Field(description="Its number, from 1.")
    role: str
    sql: str
    passed: bool
    attributes: dict[str, str] = Field(default_factory=dict)
    expected: list[list[Any]] | None = None
    got: list[list[Any]] | None = None
    error: str | None = None


class TestedPolicy(Document):
    """A policy and its cases."""

    policy: str
    dataset: str
    cases: list[TestedCase]
    warnings: list[str] = Field(description="Masks that show nothing of their column's type, and what helps.")


class TestsAnswer(Document):
    """How they ended."""

    policies: list[TestedPolicy]
    cases: int
    failed: int


@dataclass(frozen=True, slots=True)
class PolicyRoutes:
    """Answers both."""

    access: AccessSource
    queries: Queries
    threads: Threads

    async def explain(self, request: web.Request) -> web.StreamResponse:
        """One decision."""
        asked = read_parameters(request, AccessParameters)
        return answer(await self.threads.run(lambda _: self.access.explain(asked.verb, asked.name, asked.who)))

    async def test(self, request: web.Request) -> web.StreamResponse:
        """All cases, one after the other."""
        asked = await read_body(request, TestBody)
        return answer(await self.access.test(asked.policy, self.queries, request[READER].token))


def endpoints(access: AccessSource, queries: Queries, threads: Threads) -> tuple[Endpoint, ...]:
    """Both routes."""
    routes = PolicyRoutes(access, queries, threads)
    return (
        Endpoint(
            "GET", "/access/explain", "What a role or profile may do, and by which policies", routes.explain, {JSON: AccessAnswer},
            parameters=AccessParameters, problems=(400, 404), readers="operators",
        ),
        Endpoint(
            "POST", "/policies/test", "Run the cases beside policies", routes.test, {JSON: TestsAnswer},
            body=TestBody, problems=(400, 404, 413, 415, 422, 503), readers="operators", audited=True,
        ),
    )  # fmt: skip
