from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pytest

from api.query import ARROW, LARGE

pytestmark = pytest.mark.anyio


async def test_json_is_the_default(client: Any, world: Any) -> None:
    response = await client.post("/query", json={"sql": "SELECT 1", "params": {"city": "Chicago", "n": 3, "x": None}})
    assert response.status == 200
    assert response.headers["Content-Type"] == "application/json"
    assert await response.json() == {
        "columns": [{"name": "city", "type": "string"}, {"name": "people", "type": "int64"}, {"name": "note", "type": "string"}],
        "rows": [{"city": "Chicago", "people": 3, "note": None}, {"city": 'New "York"', "people": 2, "note": ""}],
        "truncated": False,
        "versions": {"people": 7},
    }
    asked = world.queries.asked[0]
    assert (asked.sql, asked.params, asked.max_rows) == ("SELECT 1", {"city": "Chicago", "n": 3, "x": None}, 10_000)


async def test_arrow_says_versions_and_truncation_in_headers(client: Any, world: Any) -> None:
    world.queries.result.truncated = True
    response = await client.post("/query", json={"sql": "SELECT 1"}, headers={"Accept": ARROW})
    assert response.headers["Content-Type"] == ARROW
    assert response.headers["X-Lakehouse-Versions"] == '{"people":7}'
    assert response.headers["X-Lakehouse-Truncated"] == "true"
    table = pa.ipc.open_stream(await response.read()).read_all()
    assert table.column("people").to_pylist() == [3, 2]


async def test_csv_tells_null_from_an_empty_string(client: Any) -> None:
    response = await client.post("/query", json={"sql": "SELECT 1"}, headers={"Accept": "text/csv"})
    assert response.headers["Content-Type"] == "text/csv"
    assert response.headers["X-Lakehouse-Truncated"] == "false"
    assert await response.text() == 'city,people,note\nChicago,3,\n"New ""York""",2,""\n'


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", "application/json"),
        ("text/*", "text/csv"),
        ("application/*;q=0.5, text/csv;q=0.9", "text/csv"),
        ("text/csv;q=0.1, */*;q=0.5", "application/json"),
        ("application/json;q=0, */*", ARROW),
        ("text/html, application/json", "application/json"),
    ],
)
async def test_accept_chooses_the_format(client: Any, accept: str, expected: str) -> None:
    response = await client.post("/query", json={"sql": "SELECT 1"}, headers={"Accept": accept})
    assert response.headers["Content-Type"] == expected


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "image/*"])
async def test_a_format_that_there_is_not_is_a_problem(client: Any, world: Any, accept: str) -> None:
    response = await client.post("/query", json={"sql": "SELECT 1"}, headers={"Accept": accept})
    assert (response.status, (await response.json())["type"]) == (406, "urn:lakehouse:problem:not-acceptable")
    assert not world.queries.asked


@pytest.mark.parametrize(("wanted", "given"), [(5, 5), (10_000, 10_000), (10_000_000, 10_000)])
async def test_clients_may_lower_the_row_limit_only(client: Any, world: Any, wanted: int, given: int) -> None:
    await client.post("/query", json={"sql": "SELECT 1", "maxRows": wanted})
    assert world.queries.asked[0].max_rows == given


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"sql": "SELECT 1", "maxrow": 5}, "maxrow", "did you mean `maxRows`?"),
        ({"sql": "SELECT 1", "max_rows": 5}, "max_rows", "did you mean `maxRows`?"),
        ({"sql": "SELECT 1", "zzz": 5}, "zzz", "known are sql, params, at, schema, maxRows"),
        ({}, "sql", "is missing"),
        ({"sql": ""}, "sql", "at least 1 character"),
        ({"sql": 5}, "sql", "valid string"),
        ({"sql": "SELECT 1", "maxRows": 0}, "maxRows", "greater than or equal to 1"),
        ({"sql": "SELECT 1", "at": True}, "at", "must name a number, not true or false"),
        ({"sql": "SELECT 1", "at": {"people": True}}, "at", "not true or false"),
        ({"sql": "SELECT 1", "schema": True}, "schema", "not true or false"),
        ({"sql": "SELECT 1", "params": {"a": {"b": 1}}}, "params.a", "must be text, a number, true, false, null, or a list of these"),
        ([1], "", "must be a JSON object"),
    ],
)
async def test_fields_that_do_not_fit_are_named(client: Any, world: Any, body: object, field: str, words: str) -> None:
    response = await client.post("/query", json=body)
    problem = await response.json()
    assert (response.status, problem["type"]) == (422, "urn:lakehouse:problem:body-invalid")
    assert problem["errors"][0]["field"] == field
    assert words in problem["detail"]
    assert not world.queries.asked


@pytest.mark.parametrize("body", [b"", b"{", b"SELECT 1", b"\xff\xfe", b"[" * 100_000])
async def test_what_is_no_json_is_a_problem(client: Any, body: bytes) -> None:
    response = await client.post("/query", data=body, headers={"Content-Type": "application/json"})
    problem = await response.json()
    assert (response.status, problem["type"]) == (400, "urn:lakehouse:problem:body-malformed")
    assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/sql"])
async def test_other_content_types_are_refused(client: Any, content_type: str) -> None:
    response = await client.post("/query", data=b'{"sql": "SELECT 1"}', headers={"Content-Type": content_type})
    assert (response.status, (await response.json())["type"]) == (415, "urn:lakehouse:problem:body-unsupported")


async def test_a_content_type_with_a_charset_is_json_too(client: Any) -> None:
    response = await client.post("/query", data=b'{"sql": "SELECT 1"}', headers={"Content-Type": "application/json; charset=utf-8"})
    assert response.status == 200


async def test_a_body_over_the_limit_is_refused(client: Any, world: Any) -> None:
    body = io.BytesIO(b'{"sql": "SELECT 1 -- ' + b"x" * (1 << 20) + b'"}')
    response = await client.post("/query", data=body, headers={"Content-Type": "application/json"})
    assert (response.status, (await response.json())["type"]) == (413, "urn:lakehouse:problem:body-too-large")
    assert not world.queries.asked


async def test_a_large_result_is_encoded_in_a_thread(client: Any, world: Any) -> None:
    result = world.queries.result
    await (await client.post("/query", json={"sql": "SELECT 1"})).read()
    result.content = [{"city": "x" * LARGE, "people": number, "note": None} for number in range(40)]
    response = await client.post("/query", json={"sql": "SELECT 1"})
    assert len((await response.json())["rows"]) == 40
    assert result.threads[0] == "MainThread" != result.threads[1]
