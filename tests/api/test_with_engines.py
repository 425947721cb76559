"""Real SQL over a real table behind the real routes: what the fakes of the other tests promise, the engines keep."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from anyio import to_thread

from api.query import ARROW
from engines.files.ingest import IngestTask, run
from engines.sql.pool import WorkerPool
from engines.sql.service import QueryService
from engines.sql.tables import CatalogTables
from state.buckets import Buckets
from state.catalog.catalog import Catalog
from state.catalog.entry import TableCommit
from state.catalog.log import WriterId
from state.local_store import LocalStore
from state.places import BucketConfig
from state.reader import ObjectReader

pytestmark = pytest.mark.anyio

CANDIDATES = "candidate_id,city,zip,rate\nC-1,Chicago,02134,10.5\nC-2,Boston,,20\nC-3,Chicago,60601,\n"


class NoSystem:
    def names(self) -> tuple[str, ...]:
        return ()

    def path(self, name: str) -> Path | None:
        return None


def make_lake(folder: Path) -> tuple[Catalog, ObjectReader]:
    """One dataset of three rows, ingested."""
    source = folder / "candidates.csv"
    source.write_text(CANDIDATES)
    config = BucketConfig(name="primary", backend="local", root=str(folder / "lake"), prefix="")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    task = IngestTask("candidates", str(source), "candidates.csv", digest, "csv", config, "candidates", "t1", primary_key=("candidate_id",))
    result = run(replace(task, write="upsert"), lambda done, total: None)
    catalog = Catalog.open(LocalStore(folder / "state"), writer=WriterId("w", 1))
    files = tuple(replace(file, sequence=1) for file in result.files)
    commit = TableCommit("Dataset/candidates", "t1", "primary", ("candidate_id",), "upsert", schema=result.schema, add=files)
    catalog.commit([commit], actor="test", reason="ingested")
    buckets = Buckets()
    buckets.attach(config)
    return catalog, ObjectReader(buckets, folder / "cache", 1 << 20)


@pytest.fixture
async def lake(tmp_path: Path, opened: Any) -> AsyncIterator[Any]:
    catalog, files = await to_thread.run_sync(make_lake, tmp_path)
    pool = WorkerPool(tmp_path / "scratch")
    service = QueryService(CatalogTables(catalog, files, NoSystem(), tmp_path / "views"), pool)
    try:
        async with opened(queries=service, catalog=catalog) as client:
            yield client
    finally:
        await pool.close()


async def test_sql_over_http(lake: Any) -> None:
    sql = "SELECT city, count(*) AS people, min(zip) AS zip, sum(rate) AS rate FROM candidates WHERE city = $city GROUP BY city"
    response = await lake.post("/query", json={"sql": sql, "params": {"city": "Chicago"}})
    assert (response.status, await response.json()) == (
        200,
        {
            "columns": [
                {"name": "city", "type": "string"},
                {"name": "people", "type": "int64"},
                {"name": "zip", "type": "string"},
                {"name": "rate", "type": "float64"},
            ],
            "rows": [{"city": "Chicago", "people": 2, "zip": "02134", "rate": 10.5}],
            "truncated": False,
            "versions": {"candidates": 1},
        },
    )


async def test_formats_of_one_result(lake: Any) -> None:
    body = {"sql": "SELECT candidate_id, zip, rate FROM candidates ORDER BY 1", "maxRows": 2}
    text = await lake.post("/query", json=body, headers={"Accept": "text/csv"})
    assert await text.text() == "candidate_id,zip,rate\nC-1,02134,10.5\nC-2,,20.0\n"
    assert text.headers["X-Lakehouse-Truncated"] == "true"
    stream = await lake.post("/query", json=body, headers={"Accept": ARROW})
    assert pa.ipc.open_stream(await stream.read()).read_all().column("zip").to_pylist() == ["02134", None]


@pytest.mark.parametrize(
    ("sql", "status", "slug"),
    [
        ("SELEC 1", 400, "query-invalid"),
        ("SELECT nothing FROM candidates", 400, "query-invalid"),
        ("SELECT 1 FROM candidate", 404, "table-unknown"),
        ("DROP TABLE candidates", 403, "query-forbidden"),
        ("SELECT city, city FROM candidates", 400, "query-invalid"),
        ("SELECT " + "1 + " * 20_000 + "1", 422, "query-too-large"),
    ],
)
async def test_statements_that_cannot_be_answered(lake: Any, sql: str, status: int, slug: str) -> None:
    response = await lake.post("/query", json={"sql": sql})
    problem = await response.json()
    assert (response.status, problem["type"]) == (status, f"urn:lakehouse:problem:{slug}"), problem


async def test_the_real_catalog_is_listed(lake: Any) -> None:
    (row,) = (await (await lake.get("/catalog/datasets")).json())["datasets"]
    assert (row["name"], row["rows"], row["version"], row["primaryKey"]) == ("candidates", 3, 1, ["candidate_id"])
    assert (await lake.get("/catalog/datasets/candidates")).status == 200
