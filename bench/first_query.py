"""The first query on S3 data that is not cached yet, beside DataFusion reading S3 itself: seconds, for a full scan and a narrow filter.

    python -m bench.first_query [--rows 1000000] [--rounds 3]

Ours fetches each file whole, verifies it, keeps it, and reads it locally; DataFusion fetches the ranges that it needs, each time anew.
Every round has objects of its own, so that nothing is known of them. The same query once more is given beside the first.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import datafusion
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datafusion.object_store import AmazonS3

from bench.query import AGGREGATE, POINT, Lake
from bench.report import write
from engines.row_keys import FILE_COLUMN, ROW_COLUMN
from engines.sql.pool import WorkerPool
from engines.sql.query_request import QueryRequest
from engines.sql.service import QueryService
from engines.sql.tables import CatalogTables
from examples.s3_server import REGION, S3Server
from state.buckets import Buckets
from state.catalog.data_files import DataFile
from state.catalog.schemas import Column, Schema
from state.catalog.tables import Table
from state.digest_file import sha256_bytes
from state.objects import ObjectRef
from state.places import BucketConfig, Service
from state.reader import ObjectReader
from state.secrets import SECRET_PREFIX

FILES = 4
QUERIES = {"full_scan": AGGREGATE, "narrow_filter": POINT}
COLUMNS = (("k", "string"), ("city", "string"), ("x", "float64"), ("note", "string"))
CITIES = np.array(["Austin", "Boston", "Chicago", "Dallas", "Erie"])


def parquet(first: int, rows: int, seed: int) -> bytes:
    """Rows sorted by `k`, as our tables have them, with a text that does not compress."""
    rng = np.random.default_rng(seed)
    numbers = np.arange(first, first + rows)
    table = pa.table(
        {
            "k": [f"K-{number:09d}" for number in numbers],
            "city": CITIES[rng.integers(0, len(CITIES), rows)],
            "x": rng.random(rows),
            "note": [f"note {number:x}" for number in rng.integers(0, 2**60, rows)],
            FILE_COLUMN: pa.array(["bench"] * rows),
            ROW_COLUMN: pa.array(numbers),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", row_group_size=128 * 1024)
    return bytes(sink.getvalue().to_pybytes())


class Far(Lake):
    """Tables on the S3 server."""

    def __post_init__(self) -> None:
        """See `Lake`; the bucket is attached by whoever made the server."""

    def attach(self, buckets: Buckets) -> None:
        """Reads by these buckets."""
        self.store = buckets.store("far")
        self.resolver = CatalogTables(self, ObjectReader(buckets, self.root / "cache", 10 << 30), self, self.root / "views")

    def fill(self, name: str, rows: int, seed: int) -> None:
        """A table of FILES files."""
        schema = Schema(1, tuple(Column(at, column, kind) for at, (column, kind) in enumerate(COLUMNS, 1)))
        files = []
        for number in range(FILES):
            data = parquet(number * rows, rows, seed * FILES + number)
            ref = ObjectRef("far", f"{name}/{number}.parquet", len(data), sha256_bytes(data))
            self.store.put(ref.key, data)
            first, last = f"K-{number * rows:09d}", f"K-{(number + 1) * rows - 1:09d}"
            files.append(DataFile(ref, "base", number + 1, rows, "bench", 0, 1, (first,), (last,)))
        self.tables[name] = Table(name, 1, "far", (), "append", "t", (schema,), tuple(files))


def bare(server: S3Server, name: str, sql: str) -> float:
    """Seconds of DataFusion on the server's objects, in a context of its own."""
    context = datafusion.SessionContext()
    keys = {"access_key_id": server.access_key, "secret_access_key": server.secret_key}
    context.register_object_store("s3://", AmazonS3("bench", region=REGION, endpoint=server.endpoint, allow_http=True, **keys), "bench")
    began = time.perf_counter()
    context.register_parquet(name, f"s3://bench/lake/{name}/")
    context.sql(sql).collect()
    return time.perf_counter() - began


async def ours(service: QueryService, sql: str) -> float:
    """Seconds of one query of ours."""
    began = time.perf_counter()
    await service.run(QueryRequest(sql))
    return time.perf_counter() - began


async def measure(folder: Path, server: S3Server, rows: int, rounds: int) -> dict[str, Any]:
    """Medians by query; the first round warms up."""
    buckets, lake = Buckets(), Far(folder)
    buckets.attach(BucketConfig("far", "s3", prefix="lake", service=Service("bench", server.endpoint, REGION, secret="bench")))
    lake.attach(buckets)
    pool = WorkerPool(folder / "scratch")
    service = QueryService(lake.resolver, pool)
    found: dict[str, Any] = {}
    try:
        for at, (query, sql) in enumerate(QUERIES.items()):
            taken: dict[str, list[float]] = {"datafusion": [], "first": [], "again": []}
            for number in range(rounds + 1):
                name = f"{query.replace('_', '')}{number}"
                await asyncio.to_thread(lake.fill, name, rows // FILES, at * 100 + number)
                taken["datafusion"].append(await asyncio.to_thread(bare, server, name, sql.format(name)))
                taken["first"].append(await ours(service, sql.format(name)))
                taken["again"].append(await ours(service, sql.format(name)))
            found[query] = {f"{side}_seconds": round(statistics.median(seconds[1:]), 4) for side, seconds in taken.items()}
            found[query]["bytes"] = sum(file.ref.size for file in lake.tables[name].files)
    finally:
        await pool.close()
    return found


def main() -> None:
    """Measure, and write bench/results/first_query.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, S3Server(Path(name, "s3"), ("bench",)) as server:
        os.environ |= {
            f"{SECRET_PREFIX}BENCH__ACCESS_KEY_ID": server.access_key,
            f"{SECRET_PREFIX}BENCH__SECRET_ACCESS_KEY": server.secret_key,
        }
        figures = asyncio.run(measure(Path(name), server, arguments.rows, arguments.rounds))
    write("first_query", figures, data=f"{arguments.rows} rows in {FILES} files on SeaweedFS, each round others", threads=2)


if __name__ == "__main__":
    main()
