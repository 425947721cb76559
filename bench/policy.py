"""A policy on a table of a million rows, against the same filter written by hand by the operator, who sees all.

    python -m bench.policy [--rows 1000000] [--rounds 20]

The policy leaves three rows of four and masks a column. Both sides are `QueryService.run` to the same warm worker, and take turns: hot,
where what the reader is shown was made before, and cold, from Parquet and behind the barrier. The first query of a reader over a hot table,
which waits until that is made, is reported.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.bars import Bar
from bench.hot_lake import Lake, Side, apply, turns
from bench.report import write
from bench.repository import BUCKET, Repository, dataset
from engines.policies.governed import Governed, Mask, MaskRule, PolicyRules, RowRule
from engines.reading import ANONYMOUS, Binding, Reader
from engines.sql.query_request import QueryRequest
from engines.sql.service import QueryService

SEED = 7
FILTER = "status <> 'do_not_call'"
ROLE = frozenset({"recruiter"})
POLICY = PolicyRules("candidates-access", (RowRule(ROLE, FILTER),), (MaskRule(frozenset({"phone"}), Mask("lastFour"), ROLE),))
QUERIES = {
    "aggregate": "SELECT status, region, count(*) AS n, avg(rate) AS rate, max(score) AS s FROM candidates {where} GROUP BY status, region",
    "count": "SELECT count(*) AS n FROM candidates {where}",
    "top_k": "SELECT id, name, score FROM candidates {where} ORDER BY score DESC, id LIMIT 20",
    "point_lookup": "SELECT id, name, status, score FROM candidates WHERE id = 'C{middle}' {also}",
}
BARS = {"aggregate": 1.15, "count": 1.15, "top_k": 1.3, "point_lookup": 1.5}


class _Rules:
    def governed(self, dataset: str) -> Governed | None:
        return Governed((POLICY,)) if dataset == "candidates" else None


READER = Reader(profile="recruiter", role="recruiter", binding=Binding(frozenset({"candidates"})), rules=_Rules())


def table(rows: int) -> pa.Table:
    """Candidates, a quarter of them not to be called."""
    rng = np.random.default_rng(SEED)
    number = np.arange(rows)
    return pa.table(
        {
            "id": [f"C{one:08d}" for one in number],
            "name": [f"Name {one % 50_000}" for one in number],
            "phone": [f"+1 555 {one % 10_000_000:07d}" for one in number],
            "status": np.array(["active", "placed", "new", "do_not_call"])[rng.integers(0, 4, rows)],
            "region": np.array(["north", "south", "east", "west"])[rng.integers(0, 4, rows)],
            "rate": rng.integers(20, 200, rows),
            "score": rng.random(rows),
        }
    )


def lake(folder: Path, rows: int) -> Lake:
    """With the one table."""
    made = Repository(folder)
    made.data("data/README", "made by the benchmark\n")
    pq.write_table(table(rows), folder / "data" / "candidates.parquet")
    spec = dataset("candidates", "data/candidates.parquet", "Candidates", ", primaryKey: [id]")
    made.start([("README.md", "# Bench\n"), ("specs/primary.yaml", BUCKET), ("specs/candidates.yaml", spec)])
    apply(folder)
    return Lake(folder)


def side(service: QueryService, reader: Reader, *, by_hand: bool) -> Side:
    """Runs a statement of QUERIES, with the policy's filter in it where that is not applied for the reader."""
    words = {"where": f"WHERE {FILTER}", "also": f"AND {FILTER}"} if by_hand else {"where": "", "also": ""}

    async def run(sql: str) -> pa.Table:
        return (await service.run(QueryRequest(sql.format(**words)), reader)).table()

    return run


async def compared(made: Lake, queries: Mapping[str, str], rounds: int, *, hot: bool) -> tuple[dict[str, Any], float]:
    """Median milliseconds of both sides, and seconds of the reader's first query."""
    async with made.service(hot=hot) as service:
        await service.run(QueryRequest("SELECT count(*) FROM candidates"))
        began = time.perf_counter()
        await service.run(QueryRequest("SELECT count(*) FROM candidates"), READER)
        first = time.perf_counter() - began
        sides = {"hand": side(service, ANONYMOUS, by_hand=True), "policy": side(service, READER, by_hand=False)}
        return await turns(sides, queries, rounds, SEED), first


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write bench/results/policy.json."""
    parser = argparse.ArgumentParser(prog="python -m bench.policy", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args(arguments)
    middle = {"middle": f"{asked.rows // 2:08d}", "where": "{where}", "also": "{also}"}
    queries = {name: sql.format(**middle) for name, sql in QUERIES.items()}
    with tempfile.TemporaryDirectory() as folder:
        made = lake(Path(folder), asked.rows)
        hot, first = asyncio.run(compared(made, queries, asked.rounds, hot=True))
        cold, _ = asyncio.run(compared(made, queries, asked.rounds, hot=False))
    bars = [Bar(f"policy over the filter by hand, hot: {name}", "x", ratio(hot, name), must=must) for name, must in BARS.items()]
    bars += [Bar(f"policy over the filter by hand, cold: {name}", "x", ratio(cold, name)) for name in BARS]
    figures = {"rows": asked.rows, "hot_ms": hot, "cold_ms": cold, "first_query_of_a_reader_hot_seconds": round(first, 3)}
    write("policy", figures, bars=bars, seed=SEED, data=f"{asked.rows} made candidates, three of four shown, one column of seven masked")


def ratio(found: Mapping[str, Mapping[str, float]], name: str) -> float:
    """Of the policy's time to that of the filter by hand."""
    return round(found[name]["policy"] / found[name]["hand"], 3)


if __name__ == "__main__":
    main()
