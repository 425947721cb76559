"""GET /models and /models/{id}: names with `:` and `/`, and who may know of which model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from specs.kinds.profile import ProfileSpec

pytestmark = pytest.mark.anyio


async def names(client: Any, **headers: str) -> list[str]:
    answer = await client.get("/models", headers=headers)
    assert answer.status == 200
    return [model["name"] for model in (await answer.json())["models"]]


async def test_an_operator_sees_every_model(client: Any) -> None:
    assert await names(client) == ["builtin", "library/qwen2.5:7b", "nomic-embed-text:latest", "other:latest"]
    assert (await client.get("/models?x=1")).status == 400


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/models/library/qwen2.5:7b", "library/qwen2.5:7b"),
        ("/models/library%2Fqwen2.5%3A7b", "library/qwen2.5:7b"),
        ("/models/nomic-embed-text", "nomic-embed-text:latest"),
        ("/models/builtin", "builtin"),
    ],
)
async def test_one_by_its_name(client: Any, path: str, name: str) -> None:
    answer = await client.get(path)
    assert (answer.status, (await answer.json())["name"]) == (200, name)


async def test_another_is_not_there(client: Any) -> None:
    answer = await client.get("/models/qwen")
    assert (answer.status, (await answer.json())["type"]) == (404, "urn:lakehouse:problem:model-unknown")


async def test_a_profile_sees_its_own_and_those_of_its_indexes(client: Any, world: Any) -> None:
    """Unknown and forbidden look the same."""
    world.profiles["staffing"] = ProfileSpec.model_validate({"indexes": ["resumes"], "role": "r"})
    world.profiles["none"] = ProfileSpec.model_validate({})
    staffing = {"X-Lakehouse-Profile": "staffing"}
    assert await names(client, **staffing) == ["library/qwen2.5:7b", "nomic-embed-text:latest"]
    told = await (await client.get("/models/library/qwen2.5:7b", headers=staffing)).json()
    assert told["bound"] == ["Profile/staffing"]
    hidden = await client.get("/models/other:latest", headers=staffing)
    missing = await client.get("/models/never", headers=staffing)
    assert hidden.status == missing.status == 404
    assert (await hidden.text()).replace("other:latest", "never") == await missing.text()
    assert await names(client, **{"X-Lakehouse-Profile": "none"}) == []
    assert await names(client, **{"X-Lakehouse-Bucket": "lake"}) == []


async def test_why_a_model_waits_is_for_operators(client: Any, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [replace(row, state="waiting", error="other:latest is loaded for Profile/secret") for row in world.parts.models.rows()]
    monkeypatch.setattr(type(world.parts.models), "rows", lambda self: rows)
    world.profiles["staffing"] = ProfileSpec.model_validate({"indexes": ["resumes"], "role": "r"})
    told = await (await client.get("/models", headers={"X-Lakehouse-Profile": "staffing"})).json()
    assert {model["state"] for model in told["models"]} == {"waiting"}
    assert not {name for model in told["models"] for name in ("secret", "other") if name in model["error"]}
    assert "Profile/secret" in (await (await client.get("/models/builtin")).json())["error"]


async def test_what_is_kept_of_a_model_is_another_route(client: Any) -> None:
    answer = await client.get("/models/library/qwen2.5:7b/audit")
    assert (answer.status, (await answer.json())["rows"]) == (200, [])
