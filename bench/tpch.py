"""TPC-H at scale factor 1, its 22 queries from our tables against DuckDB on the Parquet files of `tpchgen-cli`, results compared.

    python -m bench.tpch [--rounds 5] [--scale 1]

The lake is what `lakectl apply` makes of the files, appended without keys as analysts load them. DuckDB has as many threads as DataFusion.
Ours is the engine's part of a query (see `hot_lake.py`): from the hot cache, which holds a table once it was asked twice, and from our
Parquet. The worst three are written with a profile: the five operators that took most.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from bench.bars import Bar
from bench.hot_lake import THREADS, Lake, Side, apply, geometric, peer, turns
from bench.report import write
from bench.repository import BUCKET, Repository, dataset

TABLES = ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier")
SEED = 1
_METRIC = re.compile(r"elapsed_compute=([\d.]+)(ns|µs|ms|s)")
_SECONDS = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}


def repository(folder: Path, scale: float) -> Repository:
    """Eight tables of Parquet files."""
    made = Repository(folder)
    tool = Path(sys.executable).with_name("tpchgen-cli")
    data = folder / "data"
    subprocess.run((str(tool), "parquet", "-s", f"{scale:g}", "--output-dir", str(data)), check=True, stdout=subprocess.DEVNULL)
    made.start([("README.md", "# Bench\n"), ("specs/primary.yaml", BUCKET), *((f"specs/{name}.yaml", _spec(name)) for name in TABLES)])
    return made


def _spec(name: str) -> str:
    return dataset(name, f"data/{name}.parquet", name)


def queries() -> dict[str, str]:
    """The 22 statements of `tpch_queries.sql`."""
    _, *parts = re.split(r"^-- (q\d\d)$", Path(__file__).with_name("tpch_queries.sql").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: text.strip().rstrip(";") for name, text in zip(parts[::2], parts[1::2], strict=True)}


async def measure(folder: Path, rounds: int) -> dict[str, Any]:
    """All queries, and profiles of those that are slowest against the peer."""
    lake = Lake(folder)
    connection = duckdb.connect()
    connection.execute(f"SET threads={THREADS}")
    for name in TABLES:
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{folder}/data/{name}.parquet')")
    async with lake.service(hot=True):
        sides: dict[str, Side] = {"parquet engine": lake.engine(hot=False), "hot engine": lake.engine(hot=True), "duckdb": peer(connection)}
        texts = queries()
        times = await turns(sides, texts, rounds, SEED)
        worst = sorted(times, key=lambda name: times[name]["hot engine"] / times[name]["duckdb"], reverse=True)[:3]
        return {"ms": times, "worst": {name: await profile(sides["hot engine"], texts[name]) for name in worst}}


async def profile(side: Side, sql: str) -> list[str]:
    """The five operators of a query that took most CPU seconds, with their lines of EXPLAIN ANALYZE."""
    plan = (await side(f"EXPLAIN ANALYZE {sql}"))["plan"].to_pylist()
    lines = [(line, metric) for line in "\n".join(plan).splitlines() if (metric := _METRIC.search(line)) is not None]
    found = [(float(metric[1]) * _SECONDS[metric[2]], line.strip()[:200]) for line, metric in lines]
    return [f"{seconds:.3f} s: {line}" for seconds, line in sorted(found, reverse=True)[:5]]


def main() -> None:
    """Measure, and write bench/results/tpch.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as scratch:
        made = repository(Path(scratch, "repository"), options.scale)
        apply(made.folder)
        figures = asyncio.run(measure(made.folder, options.rounds))
    times: Mapping[str, Mapping[str, float]] = figures["ms"]
    figures["over_duckdb"] = {name: round(taken["parquet engine"] / taken["duckdb"], 2) for name, taken in times.items()}
    figures["hot_over_duckdb"] = {name: round(taken["hot engine"] / taken["duckdb"], 2) for name, taken in times.items()}
    bars = [
        Bar("TPC-H, 22 queries from our tables, hot, over DuckDB on its Parquet", "x", geometric(times, "hot engine", "duckdb"), 1.3),
        Bar("TPC-H, 22 queries from our Parquet over DuckDB on its own", "x", geometric(times, "parquet engine", "duckdb")),
    ]
    write("tpch", figures, bars=bars, seed=SEED, data=f"TPC-H of tpchgen-cli, scale factor {options.scale:g}", threads=THREADS)


if __name__ == "__main__":
    main()
