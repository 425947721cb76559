"""The staffing workload at its full size, 2 467 000 rows in seven tables: six reference queries, ours against DuckDB, results compared.

    python -m bench.staffing [--rounds 15] [--rows 2467000]

The data is `examples/staffing` at a fixed seed, the lake is what `lakectl apply` makes of it, each table keyed and upserted. DuckDB has as
many threads as DataFusion: once with the tables in its memory, once on our Parquet files. Ours is the hot cache and the same Parquet, each
whole and as the engine alone (see `hot_lake.py`). Then a hundred files with one row each are added to every table, as pending deltas:
rows exported again, so that results stay what they were.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from bench.bars import Bar
from bench.daemon_process import ROOT
from bench.hot_lake import THREADS, Lake, Side, apply, geometric, most, peer, turns, whole
from bench.report import write
from bench.repository import BUCKET, HEAD, Repository

SEED = 7
DELTAS = 100
EXAMPLE = ROOT / "examples" / "staffing"
KEYS: Mapping[str, tuple[str, str]] = {
    "candidates": ("candidate_id", "*.csv"),
    "clients": ("client_id", '*.csv", encoding: latin-1, delimiter: ";'),
    "job_orders": ("job_id", "*.csv"),
    "placements": ("placement_id", "*.parquet"),
    "timesheets": ("timesheet_id", "*.csv"),
    "call_log": ("call_id", "*.csv"),
    "email_log": ("email_id", "*.ndjson"),
}
QUERIES: Mapping[str, str] = {
    "filter": """SELECT candidate_id, first_name, last_name, city, status, years_experience FROM candidates
        WHERE skills ILIKE '%python%' AND city = 'Chicago' AND status = 'active' ORDER BY candidate_id""",
    "timesheets": """SELECT p.client_id, count(*) AS n, sum(t.hours) AS hours, sum(t.hours * p.bill_rate) AS billed
        FROM timesheets t JOIN placements p ON p.placement_id = t.placement_id
        GROUP BY p.client_id ORDER BY billed DESC, p.client_id LIMIT 20""",
    "cold leads": """SELECT c.candidate_id, c.first_name, c.last_name, count(*) AS calls
        FROM candidates c JOIN call_log l ON l.candidate_id = c.candidate_id
        WHERE NOT EXISTS (SELECT 1 FROM placements p WHERE p.candidate_id = c.candidate_id)
        GROUP BY c.candidate_id, c.first_name, c.last_name HAVING count(*) >= 5 ORDER BY calls DESC, c.candidate_id LIMIT 100""",
    "triple join": """SELECT cl.industry, c.state, count(*) AS placements, avg(p.bill_rate - p.pay_rate) AS margin
        FROM placements p JOIN candidates c ON c.candidate_id = p.candidate_id JOIN clients cl ON cl.client_id = p.client_id
        GROUP BY cl.industry, c.state ORDER BY placements DESC, cl.industry, c.state""",
    "open rates": """SELECT subject, count(*) AS sent, sum(CASE WHEN opened THEN 1 ELSE 0 END) AS opened,
        avg(CASE WHEN opened THEN 1.0 ELSE 0.0 END) AS rate
        FROM email_log WHERE direction = 'out' GROUP BY subject ORDER BY rate DESC, subject""",
    "count all": " UNION ALL ".join(f"SELECT '{name}' AS name, count(*) AS n FROM {name}" for name in KEYS),
}


def repository(folder: Path, rows: int) -> Repository:
    """The example's data, with specs that key every table and fold what comes at first."""
    made = Repository(folder)
    command = (sys.executable, str(EXAMPLE / "generate.py"), str(folder), "--rows", str(rows), "--seed", str(SEED))
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    made.start([("README.md", "# Bench\n"), ("specs/primary.yaml", BUCKET), *specs("maxDeltas: 1")])
    return made


def specs(compaction: str) -> list[tuple[str, str]]:
    """The seven tables."""
    found = []
    for name, (key, files) in KEYS.items():
        spec = f'source: {{files: "data/{name}/{files}"}}, primaryKey: [{key}], write: upsert, compaction: {{{compaction}}}'
        text = f"{HEAD}kind: Dataset\nmetadata: {{name: {name.replace('_', '-')}}}\nspec: {{{spec}}}\n"
        found.append((f"specs/{name}.yaml", text))
    return found


def add_deltas(folder: Path) -> None:
    """Files of one row each, taken from the first file of each table."""
    for name in KEYS:
        first = min((folder / "data" / name).iterdir())
        rng = random.Random(f"{SEED}:{name}")
        for number, write_to in enumerate(_single_rows(first, rng)):
            write_to(first.with_name(f"zz-{number:03d}{first.suffix}"))


def _single_rows(path: Path, rng: random.Random) -> Iterator[Any]:
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        for place in rng.sample(range(table.num_rows), DELTAS):
            yield lambda target, place=place: pq.write_table(table.slice(place, 1), target)
    elif path.suffix == ".ndjson":
        lines = path.read_text(encoding="utf-8").splitlines()
        for line in rng.sample(lines, DELTAS):
            yield lambda target, line=line: target.write_text(line + "\n", encoding="utf-8")
    else:
        encoding, delimiter = ("latin-1", ";") if "clients" in path.name else ("utf-8-sig", ",")
        with path.open(encoding=encoding, newline="") as file:
            header, *rows = csv.reader(file, delimiter=delimiter)
        for row in rng.sample(rows, DELTAS):

            def save(target: Path, row: list[str] = row) -> None:
                with target.open("w", encoding=encoding.removesuffix("-sig"), newline="") as file:
                    csv.writer(file, delimiter=delimiter).writerows((header, row))

            yield save


def in_memory(lake: Lake) -> Any:
    """DuckDB with the tables in memory."""
    return _peer(lake, "CREATE TABLE {} AS SELECT * FROM read_parquet({!r})")


def on_parquet(lake: Lake) -> Any:
    """DuckDB on our Parquet files."""
    return _peer(lake, "CREATE VIEW {} AS SELECT * FROM read_parquet({!r})")


def _peer(lake: Lake, statement: str) -> Any:
    connection = duckdb.connect()
    connection.execute(f"SET threads={THREADS}")
    for name in lake.tables:
        connection.execute(statement.format(name, lake.files(name)))
    return connection


async def measure(made: Repository, rounds: int) -> dict[str, Any]:
    """Without deltas and with them."""
    folder = made.folder
    lake = Lake(folder)
    memory, parquet = in_memory(lake), on_parquet(lake)
    figures: dict[str, Any] = {"rows": lake.rows}
    async with AsyncExitStack() as stack:
        hot = await stack.enter_async_context(lake.service(hot=True))
        cold = await stack.enter_async_context(lake.service(hot=False))
        sides: dict[str, Side] = {
            "hot": whole(hot),
            "hot engine": lake.engine(hot=True),
            "parquet": whole(cold),
            "parquet engine": lake.engine(hot=False),
            "duckdb": peer(memory),
            "duckdb parquet": peer(parquet),
        }
        figures["ms"] = await turns(sides, QUERIES, rounds, SEED)
        figures["hot_bytes"] = sum(held.bytes for held in lake.cache.held())
    add_deltas(folder)
    made.commit(dict(specs("maxDeltas: 100000")))
    await asyncio.to_thread(apply, folder)
    later = Lake(folder)
    async with later.service(hot=True) as hot, later.service(hot=False) as cold:
        sides = {
            "hot": whole(hot),
            "hot engine": later.engine(hot=True),
            "parquet": whole(cold),
            "parquet engine": later.engine(hot=False),
            "duckdb": peer(memory),
        }
        figures["ms_with_deltas"] = await turns(sides, QUERIES, rounds, SEED)
    figures["deltas"] = {name: sum(file.role == "delta" for file in table.files) for name, table in later.tables.items()}
    return figures


def main() -> None:
    """Measure, and write bench/results/staffing.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rows", type=int, default=2_467_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as scratch:
        made = repository(Path(scratch, "repository"), options.rows)
        apply(made.folder)
        figures = asyncio.run(measure(made, options.rounds))
    plain, changed = figures["ms"], figures["ms_with_deltas"]
    name = "six staffing queries"
    bars = [
        Bar(f"{name}, hot, engine over DuckDB in memory", "x", geometric(plain, "hot engine", "duckdb"), 0.7, 0.6),
        Bar(f"{name}, the slowest of them", "x", most(plain, "hot engine", "duckdb"), 1.0),
        Bar(f"{name}, hot, whole round trip over DuckDB in memory", "x", geometric(plain, "hot", "duckdb")),
        Bar(f"{name}, the slowest of them, whole", "x", most(plain, "hot", "duckdb")),
        Bar(
            f"{name}, hot, with 100 deltas a table over without",
            "x",
            geometric(changed, "hot engine", "duckdb") / geometric(plain, "hot engine", "duckdb"),
            1.3,
        ),
        Bar(f"{name}, Parquet, engine over DuckDB on it", "x", geometric(plain, "parquet engine", "duckdb parquet"), 0.7),
        Bar(f"{name}, Parquet, whole round trip over DuckDB on it", "x", geometric(plain, "parquet", "duckdb parquet")),
    ]
    write("staffing", figures, bars=bars, seed=SEED, data=f"examples/staffing, {figures['rows']} rows", threads=THREADS)


if __name__ == "__main__":
    main()
