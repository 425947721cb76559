"""A reader whose profile is kept to a version or an instant of its world reads that, and cannot ask for another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engines.at import PRESENT, At, at_from, of_reader
from engines.errors import QueryInvalid, VersionUnknown
from engines.reading import ANONYMOUS
from engines.sql.pool import WorkerPool
from engines.sql.query_request import QueryRequest
from engines.sql.service import QueryService

pytestmark = pytest.mark.anyio
NOON = "2026-01-31T12:00:00.000Z"


@pytest.mark.parametrize("pinned", [3, NOON])
def test_what_is_pinned_is_read_by_default(pinned: Any) -> None:
    assert of_reader(pinned, PRESENT) == At(pinned)
    assert of_reader(pinned, At(schema=2)) == At(pinned, {}, 2)  # which schema is another question
    assert of_reader(None, At(5, {"people": 4})) == At(5, {"people": 4})
    for asked in (At(3), At(pinned), at_from({"people": 3})):
        with pytest.raises(QueryInvalid, match="reads everything as of") as refused:
            of_reader(pinned, asked)
        assert "Leave `at` out" in refused.value.explain()


@pytest.mark.parametrize("asked", ["9" * 5000, "0" * 5000 + "1", {"people": "9" * 5000}])
def test_a_version_of_thousands_of_digits_is_none(asked: Any) -> None:
    with pytest.raises(QueryInvalid, match="must be a version or an instant"):
        at_from(asked)


async def test_queries_and_filters_read_what_is_pinned(lake: Any, pool: WorkerPool) -> None:
    lake.create("people", {"id": "string"}, ["id"])
    lake.add("people", [{"id": "A"}])
    service = QueryService(lake.resolver, pool)
    now = lake.tables["people"].version
    reader = replace(ANONYMOUS, at=now)
    assert (await service.run(QueryRequest("SELECT id FROM people"), reader)).rows() == [{"id": "A"}]
    assert (await service.keys("people", "true", reader)).to_pylist() == ['["A"]']
    gone = replace(ANONYMOUS, at=now + 7)
    with pytest.raises(VersionUnknown):
        await service.run(QueryRequest("SELECT id FROM people"), gone)
    with pytest.raises(VersionUnknown):
        await service.keys("people", "true", gone)
    assert (await service.keys("people", "true", gone, now)).to_pylist() == ['["A"]']  # a search says itself which version it holds
    with pytest.raises(QueryInvalid):
        await service.run(QueryRequest("SELECT id FROM people", at=At(now)), reader)
    assert (await service.run(QueryRequest("SELECT 1 AS x"), gone)).rows() == [{"x": 1}]
