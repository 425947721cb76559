"""Tokens and profiles at the routes: who is let in, as whom, and what everybody else is told."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest
from harness_secrets import write_private

from api.app import endpoints
from api.reader import BUCKET
from api.threads import RequestThreads
from engines.audited import AuditedQueries
from engines.errors import QueryInvalid
from engines.policies.testing import run_cases
from engines.reading import NO_RULES, Binding
from specs.kinds.policy import PolicySpec
from specs.kinds.profile import ProfileSpec
from state.tokens import PROFILE_HEADER

pytestmark = pytest.mark.anyio

ADA, OPS = "ada-0123456789abcdef", "ops-0123456789abcdef"
TOKENS = f'[tokens.ada]\nvalue = "{ADA}"\nprofile = "recruiting"\n[tokens.ops]\nvalue = "{OPS}"\nrole = "operator"\n'
QUERY = {"sql": "SELECT 1"}


@pytest.fixture
def guarded(world: Any) -> Any:
    write_private(world.secrets, TOKENS)
    world.profiles["recruiting"] = ProfileSpec.model_validate({"datasets": ["job-orders"], "role": "recruiter"})
    return world


def bearer(value: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}", **more}


async def problem(response: Any) -> tuple[int, str]:
    return response.status, (await response.json())["type"].removeprefix("urn:lakehouse:problem:")


async def test_every_route_but_the_probes_asks_for_a_token(client: Any, guarded: Any) -> None:
    threads = RequestThreads()
    for endpoint in endpoints(guarded.parts, threads):
        path = endpoint.path.replace("{", "").replace("}", "")
        response = await client.request(endpoint.method, path)
        if endpoint.path in ("/healthz", "/readyz"):
            assert response.status == 200
        else:
            assert await problem(response) == (401, "token-refused"), path
            assert response.headers["WWW-Authenticate"] == 'Bearer realm="lakehouse"'
    await threads.close()
    assert not guarded.queries.asked


@pytest.mark.parametrize("path", ["/nothing", "/healthz/", "/healthz%2f", "/HEALTHZ"])
async def test_a_path_that_nobody_knows_asks_too(client: Any, guarded: Any, path: str) -> None:
    assert await problem(await client.get(path)) == (401, "token-refused")


class Cases:
    """One case of a clerk."""

    async def test(self, policy: str | None, queries: Any, asked_by: str | None) -> Mapping[str, Any]:
        spec = PolicySpec.model_validate({"dataset": "people", "tests": [{"role": "clerk", "sql": "SELECT 1", "rows": [[1]]}]})
        await run_cases(spec, NO_RULES, queries, asked_by)
        return {"policies": [], "cases": 1, "failed": 1}


async def test_cases_of_policies_are_in_the_audit_as_those_of_who_ran_them(opened: Any, guarded: Any) -> None:
    guarded.queries.error = QueryInvalid("no")
    async with opened(queries=AuditedQueries(guarded.queries, guarded.parts.audit), access=Cases()) as client:
        assert (await client.post("/policies/test", json={}, headers=bearer(OPS))).status == 200
    (reader,) = guarded.queries.readers
    assert (reader.token, reader.role, reader.operator) == (None, "clerk", False)
    (row,) = guarded.streams.read("audit")
    assert (row["reader"], row["role"], row["action"]) == ("ops", "clerk", "query")


async def test_a_token_names_its_reader(client: Any, guarded: Any) -> None:
    assert (await client.post("/query", json=QUERY, headers=bearer(ADA))).status == 200
    assert (await client.post("/query", json=QUERY, headers=bearer(OPS))).status == 200
    assert (await client.post("/query", json=QUERY, headers=bearer(OPS, **{PROFILE_HEADER: "recruiting"}))).status == 200
    seen = guarded.queries.readers
    assert [(reader.token, reader.profile, reader.operator) for reader in seen] == [
        ("ada", "recruiting", False), ("ops", None, True), ("ops", "recruiting", False),
    ]  # fmt: skip
    assert seen[0].binding == Binding(frozenset({"job-orders"}))


async def test_a_profile_by_the_header_where_no_token_is_asked_for(client: Any, world: Any) -> None:
    world.profiles["recruiting"] = ProfileSpec.model_validate({"datasets": ["job-orders"]})
    assert (await client.post("/query", json=QUERY, headers={PROFILE_HEADER: "recruiting"})).status == 200
    assert world.queries.readers[0].profile == "recruiting"
    refused = await client.post("/query", json=QUERY, headers={PROFILE_HEADER: "hr"})
    assert await problem(refused) == (404, "profile-unknown")
    assert (await refused.json())["detail"] == "There is no profile 'hr'."
    twice = await client.post("/query", json=QUERY, headers=[(PROFILE_HEADER, "recruiting"), (PROFILE_HEADER, "recruiting")])
    assert await problem(twice) == (404, "profile-unknown")


async def test_descriptions_are_queries_of_a_minute(opened: Any, guarded: Any) -> None:
    guarded.profiles["recruiting"] = ProfileSpec.model_validate({"datasets": ["job-orders"], "quota": {"queriesPerMinute": 2}})
    paths = ("job-orders", "nothing", "job-orders")
    async with opened() as client:
        answers = [await client.get(f"/catalog/datasets/{name}", headers=bearer(ADA)) for name in paths]
        assert [answer.status for answer in answers] == [200, 404, 429]
        assert answers[2].headers["Retry-After"] == "60"
        assert (await client.get("/catalog/datasets/job-orders", headers=bearer(OPS))).status == 200
    rows = [(row["reader"], row["action"], row["outcome"], row.get("reason")) for row in guarded.streams.read("audit")]
    assert rows == [
        ("ada", "describe", "done", None),
        ("ada", "describe", "refused", "dataset-unknown"),
        ("ada", "describe", "refused", "quota-exceeded"),
        ("ops", "describe", "done", None),
    ]


async def test_another_profile_is_refused_whether_there_is_one_or_not(client: Any, guarded: Any) -> None:
    guarded.profiles["hr"] = ProfileSpec()
    answers = [await client.get("/status", headers=bearer(ADA, **{PROFILE_HEADER: name})) for name in ("hr", "nobody")]
    first, second = [await response.json() for response in answers]
    assert first == second
    assert first["status"] == 403


async def test_a_bucket_that_is_none_is_told_to_operators_only(client: Any, guarded: Any) -> None:
    assert await problem(await client.post("/query", json=QUERY, headers=bearer(OPS, **{BUCKET: "none"}))) == (404, "bucket-not-found")
    for bucket in ("none", "far"):
        assert (await client.post("/query", json=QUERY, headers=bearer(ADA, **{BUCKET: bucket}))).status == 200


async def test_a_token_is_rotated_without_a_restart(client: Any, guarded: Any) -> None:
    guarded.secrets.write_text(TOKENS.replace(ADA, "next-0123456789abcdef"))
    assert (await client.post("/query", json=QUERY, headers=bearer(ADA))).status == 401
    assert (await client.post("/query", json=QUERY, headers=bearer("next-0123456789abcdef"))).status == 200


async def test_a_faulty_file_lets_nobody_in_and_probes_say_so(client: Any, guarded: Any) -> None:
    guarded.secrets.write_text(TOKENS.replace(OPS, "weak"))
    response = await client.post("/query", json=QUERY, headers=bearer(ADA))
    assert await problem(response) == (503, "readers-closed")
    assert str(guarded.secrets) not in await response.text()
    assert (await client.get("/healthz")).status == 200


async def test_hosts_and_origins_are_looked_at_on_every_route_and_before_tokens(client: Any, guarded: Any) -> None:
    threads = RequestThreads()
    routes = [(endpoint.method, endpoint.path.replace("{", "").replace("}", "")) for endpoint in endpoints(guarded.parts, threads)]
    for method, path in [*routes, ("HEAD", "/status"), ("OPTIONS", "/query"), ("GET", "/nothing")]:
        for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
            response = await client.request(method, path, headers=bearer(OPS) | headers)
            assert response.status == 403, (method, path, headers)
            assert method == "HEAD" or await problem(response) == (403, "host-refused")
    await threads.close()
    assert not guarded.queries.asked


async def test_no_token_is_repeated(client: Any, guarded: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    guarded.queries.error = RuntimeError("a defect")
    for value in (ADA, OPS, "wrong-0123456789abcdef"):
        response = await client.post("/query", json=QUERY, headers=bearer(value))
        assert value not in await response.text()
    assert "0123456789abcdef" not in caplog.text
    assert "0123456789abcdef" not in repr([guarded.queries.asked, guarded.queries.readers])


async def test_readers_are_known_by_the_newest_commit(client: Any, guarded: Any) -> None:
    narrower = ProfileSpec(role="recruiter")

    async def caught_up() -> bool:
        moved = guarded.profiles.get("recruiting") is not narrower
        guarded.profiles["recruiting"] = narrower
        return moved

    guarded.parts.directory.caught_up = caught_up
    assert (await client.post("/query", json=QUERY, headers=bearer(OPS))).status == 200
    assert guarded.profiles["recruiting"] is not narrower, "from an operator nothing is hidden"
    assert (await client.post("/query", json=QUERY, headers=bearer(ADA))).status == 200
    assert guarded.queries.readers[-1].binding == Binding()
    del guarded.profiles["recruiting"]
    assert (await client.post("/query", json=QUERY, headers=bearer(OPS, **{PROFILE_HEADER: "recruiting"}))).status == 200


async def test_a_token_whose_profile_comes_with_the_newest_commit_waits_for_it(client: Any, guarded: Any) -> None:
    recruiting, looks = guarded.profiles.pop("recruiting"), []

    async def caught_up() -> bool:
        looks.append("ref")
        guarded.profiles["recruiting"] = recruiting
        return True

    guarded.parts.directory.caught_up = caught_up
    for headers in ({}, bearer("wrong-0123456789abcdef"), {"Authorization": f"Basic {ADA}"}):
        assert await problem(await client.post("/query", json=QUERY, headers=headers)) == (401, "token-refused")
    assert not looks, "what is no token waits for nothing"
    assert (await client.post("/query", json=QUERY, headers=bearer(ADA))).status == 200
    assert guarded.queries.readers[-1].profile == "recruiting"


async def test_a_token_whose_profile_is_none_by_the_newest_commit_is_as_one_that_is_none(client: Any, guarded: Any) -> None:
    del guarded.profiles["recruiting"]
    answers = [await client.post("/query", json=QUERY, headers=bearer(value)) for value in (ADA, "wrong-0123456789abcdef")]
    first, second = [(response.status, await response.json()) for response in answers]
    assert first == second
    assert first[0] == 401
