"""GET /access/explain and POST /policies/test: for operators, and for nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from specs.kinds.profile import ProfileSpec
from state.tokens import PROFILE_HEADER

pytestmark = pytest.mark.anyio


async def test_an_operator_is_told(client: Any) -> None:
    answered = await client.get("/access/explain", params={"name": "people", "as": "clerk"})
    assert answered.status == 200
    found = await answered.json()
    assert (found["verb"], found["role"], found["allowed"]) == ("query", "clerk", False)
    tested = await client.post("/policies/test", json={"policy": "p"})
    assert (await tested.json())["policies"] == [{"policy": "p", "dataset": "people", "cases": [], "warnings": []}]
    assert (await (await client.post("/policies/test", json={})).json())["failed"] == 0


@pytest.mark.parametrize(
    ("parameters", "status"),
    [({"name": "people"}, 400), ({"name": "people", "as": "a", "verb": "drop"}, 400), ({"name": "nowhere", "as": "a"}, 404)],
)
async def test_what_is_asked_wrongly(client: Any, parameters: dict[str, str], status: int) -> None:
    assert (await client.get("/access/explain", params=parameters)).status == status


async def test_to_a_profile_it_is_not_there(client: Any, world: Any) -> None:
    world.profiles["guest"] = ProfileSpec.model_validate({"datasets": ["people"]})
    headers = {PROFILE_HEADER: "guest"}
    nowhere = await client.get("/nowhere", headers=headers)
    for response in (
        await client.get("/access/explain", params={"name": "people", "as": "admin"}, headers=headers),
        await client.post("/policies/test", json={}, headers=headers),
    ):
        assert (response.status, (await response.json())["type"]) == (404, (await nowhere.json())["type"])
