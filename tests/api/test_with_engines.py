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
from api.reader import BUCKET
from engines.files.ingest import run
from engines.files.ingest_task import IngestTask
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
PLACEMENTS = "placement_id,candidate_id\nP-1,C-1\nP-2,C-3\n"


class NoSystem:
    def names(self) -> tuple[str, ...]:
        return ()

    def path(self, name: str) -> Path | None:
        return None


def make_lake(folder: Path) -> tuple[Catalog, Buckets]:
    """A dataset of three rows in the bucket `primary`, and one of two in `archive`."""
    catalog, buckets = Catalog.open(LocalStore(folder / "state"), writer=WriterId("w", 1)), Buckets()
    for name, bucket, text in (("candidates", "primary", CANDIDATES), ("placements", "archive", PLACEMENTS)):
        source = folder / f"{name}.csv"
        source.write_text(text)
        config = BucketConfig(name=bucket, backend="local", root=str(folder / bucket), prefix="")
        key = (text.partition(",")[0],)
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        task = IngestTask(name, str(source), source.name, digest, "csv", config, name, "t1", primary_key=key)
        result = run(replace(task, write="upsert"), lambda done, total: None)
        files = tuple(replace(file, sequence=1) for file in result.files)
        commit = TableCommit(f"Dataset/{name}", "t1", bucket, key, "upsert", schema=result.schema, add=files)
        catalog.commit([commit], actor="test", reason="ingested")
        buckets.attach(config)
    return catalog, buckets


@pytest.fixture
async def lake(tmp_path: Path, opened: Any) -> AsyncIterator[Any]:
    catalog, buckets = await to_thread.run_sync(make_lake, tmp_path)
    pool = WorkerPool(tmp_path / "scratch")
    files = ObjectReader(buckets, tmp_path / "cache", 1 << 20)
    service = QueryService(CatalogTables(catalog, files, NoSystem(), tmp_path / "views"), pool)
    try:
        async with opened(queries=service, catalog=catalog, buckets=buckets, objects=files) as client:
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
    rows = (await (await lake.get("/catalog/datasets")).json())["datasets"]
    assert [(row["name"], row["bucket"], row["rows"], row["version"], row["primaryKey"]) for row in rows] == [
        ("candidates", "primary", 3, 1, ["candidate_id"]),
        ("placements", "archive", 2, 1, ["placement_id"]),
    ]
    assert (await lake.get("/catalog/datasets/candidates")).status == 200


class TestOneBucket:
    """Requests with the header X-Lakehouse-Bucket."""

    JOIN = "SELECT count(*) AS n FROM placements JOIN candidates USING (candidate_id)"

    async def ask(self, lake: Any, sql: str, bucket: str | None) -> tuple[int, Any]:
        response = await lake.post("/query", json={"sql": sql}, headers={} if bucket is None else {BUCKET: bucket})
        document = await response.json()
        return response.status, document.get("rows") or document["type"]

    async def test_sql_sees_its_tables_only(self, lake: Any) -> None:
        assert await self.ask(lake, self.JOIN, None) == (200, [{"n": 2}])
        assert await self.ask(lake, self.JOIN, "archive") == (404, "urn:lakehouse:problem:table-unknown")
        assert await self.ask(lake, "SELECT count(*) AS n FROM placements", "archive") == (200, [{"n": 2}])

    @pytest.mark.parametrize("table", ["candidates", "candidate", "system.events"])
    async def test_what_lies_elsewhere_is_not_there_and_the_header_is_named(self, lake: Any, table: str) -> None:
        response = await lake.post("/query", json={"sql": f"SELECT 1 FROM {table}"}, headers={BUCKET: "archive"})
        problem = await response.json()
        assert (response.status, problem["detail"], problem["remedy"]) == (
            404,
            f"There is no table `{table}`. X-Lakehouse-Bucket keeps this request to bucket archive.",
            "Leave it out to ask for what lies elsewhere.",
        )
        near = await lake.post("/query", json={"sql": "SELECT 1 FROM placement"}, headers={BUCKET: "archive"})
        assert (await near.json())["remedy"] == "Did you mean `placements`?"

    async def test_the_catalog_and_the_buckets(self, lake: Any) -> None:
        only = {BUCKET: "archive"}
        rows = (await (await lake.get("/catalog/datasets", headers=only)).json())["datasets"]
        assert [row["name"] for row in rows] == ["placements"]
        hidden = await lake.get("/catalog/datasets/candidates", headers=only)
        assert (hidden.status, BUCKET in (await hidden.json())["detail"]) == (404, True)
        assert [row["name"] for row in (await (await lake.get("/storage/buckets", headers=only)).json())["buckets"]] == ["archive"]
        (file,) = (await (await lake.get("/catalog/datasets/placements", headers=only)).json())["files"]
        assert (await lake.get(f"/storage/buckets/archive/objects/{file['key']}", headers=only)).status == 200
        there = await lake.get(f"/storage/buckets/archive/objects/{file['key']}", headers={BUCKET: "primary"})
        assert (there.status, (await there.json())["type"]) == (404, "urn:lakehouse:problem:bucket-not-found")

    @pytest.mark.parametrize("bucket", ["nothing", "", "archive, primary"])
    async def test_one_that_is_none(self, lake: Any, bucket: str) -> None:
        assert await self.ask(lake, "SELECT 1 AS one", bucket) == (404, "urn:lakehouse:problem:bucket-not-found")

    async def test_what_is_of_all_buckets_says_why_it_cannot_be_read(self, lake: Any) -> None:
        response = await lake.get("/events", headers={BUCKET: "archive"})
        problem = await response.json()
        assert (response.status, problem["type"]) == (403, "urn:lakehouse:problem:read-refused")
        assert (problem["detail"], problem["remedy"]) == (
            "system.events is not of bucket archive, to which X-Lakehouse-Bucket keeps this request.",
            "Leave it out.",
        )
        assert (await lake.get("/storage/errors", headers={BUCKET: "archive"})).status == 200
        assert (await lake.get("/storage/errors?bucket=primary", headers={BUCKET: "archive"})).status == 404
