"""PostgreSQL to Parquet: ours against ADBC and connectorx, at a million rows of 13 columns, and memory against rows.

    python -m bench.postgres [--rows 1000000] [--rounds 5]

All read one table from one server on a socket of this machine, in turns, and write Parquet (zstd). Peers are at their documented best:
ADBC streams record batches (COPY in binary); connectorx reads partitions of the id in parallel (2, and 4) and whole, in its arrow stream
where that is faster. Peers leave numeric(12,2) text or float64, and uuid and json as they like; ours has the exact types, checks the count
of rows, hashes each object and stores it durably, all of it measured. Each run is a process of its own, its start not counted.

The fastest peer is the one of the least median time; the ratio to it is the median over the rounds of both times in one round, since the
load of a shared machine differs more between rounds than between contenders. The ratio of the medians stands beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from bench import report
from bench.bars import Bar
from examples.postgres_server import PostgresServer

SEED = 0.42
TABLE = "team_runs"
_COLUMNS = """
SELECT i AS id, 'team-' || i % 500 AS team, md5(i::text)::uuid AS run, (random() * 100000)::numeric(12,2) AS cost,
    (random() * 1000)::int AS steps, random() AS score, random() < 0.5 AS passed, date '2020-01-01' + (i % 2000)::int AS day,
    timestamptz '2024-01-01 00:00+00' + i * interval '1.5 s' AS started, timestamp '2024-01-01' + i * interval '1.7 s' AS finished,
    CASE WHEN i % 3 > 0 THEN 'worked remotely, see ticket ' || i END AS note,
    jsonb_build_object('attempt', i % 10, 'host', 'node-' || i % 100) AS meta, CASE WHEN i % 7 > 0 THEN 'v' || i % 50 ELSE '' END AS label
FROM generate_series(1::bigint, {rows}) AS i
"""


def fill(dsn: str, rows: int) -> None:
    """The table, with a key, analysed."""
    import psycopg

    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"SELECT setseed({SEED})".encode())
        connection.execute(f"CREATE TABLE {TABLE} AS {_COLUMNS.format(rows=rows)}".encode())
        connection.execute(f"ALTER TABLE {TABLE} ADD PRIMARY KEY (id)".encode())
        connection.execute(f"VACUUM ANALYZE {TABLE}".encode())


def ours(dsn: str, folder: Path, query: str) -> int:
    """As a dataset reads it, but for the catalog's entry."""
    from engines.files.extract import ExtractTask
    from engines.files.ingest_task import IngestTask
    from engines.postgres.connection import Server
    from engines.postgres.extract import read
    from engines.postgres.task import PostgresTask
    from state.places import BucketConfig
    from state.secrets import Secret

    rows = IngestTask("runs", "", "postgres:runs", "0" * 32, "rows", BucketConfig("bench", "local", str(folder)), "datasets/runs", "t")
    made = read(PostgresTask(ExtractTask(rows), "bench", query, TABLE), Server(Secret("bench", {"dsn": dsn})), lambda done, total: None)
    return sum(part.rows for parts in made.rows.files.values() for part in parts)


def adbc(dsn: str, folder: Path, query: str) -> int:
    """A stream of record batches."""
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return _written(cursor.fetch_record_batch(), folder / "adbc.parquet")


def connectorx_stream(dsn: str, folder: Path, query: str) -> int:
    """Batches, whole."""
    import connectorx

    batches = connectorx.read_sql(_url(dsn), query, return_type="arrow_stream", batch_size=65_536)
    return _written(batches, folder / "connectorx.parquet")


def connectorx_2(dsn: str, folder: Path, query: str) -> int:
    """Two partitions."""
    return _partitioned(dsn, folder, query, 2)


def connectorx_4(dsn: str, folder: Path, query: str) -> int:
    """Four partitions."""
    return _partitioned(dsn, folder, query, 4)


def _partitioned(dsn: str, folder: Path, query: str, partitions: int) -> int:
    import connectorx

    table = connectorx.read_sql(_url(dsn), query, return_type="arrow", partition_on="id", partition_num=partitions)
    pq.write_table(table, folder / "connectorx.parquet", compression="zstd")
    return int(table.num_rows)


def _written(batches: pa.RecordBatchReader, path: Path) -> int:
    rows = 0
    with pq.ParquetWriter(path, batches.schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _url(dsn: str) -> str:
    """The socket's folder as connectorx wants it."""
    user, _, folder = dsn.removeprefix("postgresql://").partition("@/postgres?host=")
    return f"postgresql://{user.rstrip(':')}@{folder.replace('/', '%2F')}/postgres"


CONTENDERS = {
    "ours": ours,
    "adbc": adbc,
    "connectorx_stream": connectorx_stream,
    "connectorx_2_partitions": connectorx_2,
    "connectorx_4_partitions": connectorx_4,
}


def one(name: str, dsn: str, query: str) -> dict[str, Any]:
    """One contender, once to warm up on few rows, then measured."""
    with tempfile.TemporaryDirectory() as folder:
        CONTENDERS[name](dsn, Path(folder), f"SELECT * FROM ({query}) q WHERE id < 1000")
        with report.Stopwatch() as watch:
            rows = CONTENDERS[name](dsn, Path(folder), query)
    return {"rows": rows, "wall": watch.wall, "cpu": watch.cpu, "peak_rss_mib": report.peak_rss_mib()}


def run(name: str, dsn: str, query: str) -> dict[str, Any]:
    """`one` in a process of its own, with the CPU seconds that the server took meanwhile."""
    before = _server_cpu(dsn)
    command = [sys.executable, "-m", "bench.postgres", "--one", name, "--dsn", dsn, "--query", query]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return {**found, "server_cpu": _server_cpu(dsn) - before}


def _server_cpu(dsn: str) -> float:
    """Of the postmaster's children that ended: sessions that were closed, once they are, a moment after their clients."""
    pid = int((Path(dsn.partition("host=")[2]) / "postmaster.pid").read_text().splitlines()[0])
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(_is_session(child) for child in psutil.Process(pid).children()):
        time.sleep(0.01)
    times = psutil.Process(pid).cpu_times()
    return float(times.children_user + times.children_system)


def _is_session(process: psutil.Process) -> bool:
    try:
        return "[local]" in " ".join(process.cmdline())
    except psutil.Error:  # it ended meanwhile
        return False


def compare(dsn: str, rounds: int) -> dict[str, Any]:
    """All contenders in turns; medians."""
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name in CONTENDERS:
            taken[name].append(run(name, dsn, f"SELECT * FROM {TABLE}"))
    rows = {found["rows"] for runs in taken.values() for found in runs}
    assert len(rows) == 1, rows
    medians = {name: {fact: statistics.median(found[fact] for found in runs) for fact in runs[0]} for name, runs in taken.items()}
    fastest = min((name for name in CONTENDERS if name != "ours"), key=lambda name: medians[name]["wall"])
    paired = [peer["wall"] / mine["wall"] for mine, peer in zip(taken["ours"], taken[fastest], strict=True)]
    return {
        "rows": rows.pop(),
        "rounds": rounds,
        "rows_per_second": {name: round(facts["rows"] / facts["wall"]) for name, facts in medians.items()},
        "cpu_seconds": {name: round(facts["cpu"], 2) for name, facts in medians.items()},
        "server_cpu_seconds": {name: round(facts["server_cpu"], 2) for name, facts in medians.items()},
        "peak_rss_mib": {name: facts["peak_rss_mib"] for name, facts in medians.items()},
        "fastest_peer": fastest,
        "rate_over_fastest": round(statistics.median(paired), 3),
        "rate_over_fastest_by_medians": round(medians[fastest]["wall"] / medians["ours"]["wall"], 3),
        "rate_over_fastest_by_round": [round(ratio, 3) for ratio in paired],
    }


def memory(dsn: str, rows: int) -> dict[str, float]:
    """Peak RSS in MiB of a read of a quarter of the rows, of all, and of four times as many."""
    sizes = {"quarter": f"SELECT * FROM {TABLE} WHERE id <= {rows // 4}", "all": f"SELECT * FROM {TABLE}"}
    sizes["four_times"] = f"SELECT r.* FROM {TABLE} r CROSS JOIN generate_series(1, 4)"
    return {name: run("ours", dsn, query)["peak_rss_mib"] for name, query in sizes.items()}


def main() -> None:
    """Runs everything, or, for `run`, one contender."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--dsn", help=argparse.SUPPRESS)
    parser.add_argument("--query", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one(arguments.one, arguments.dsn, arguments.query)))
        return
    with PostgresServer() as server:
        fill(server.dsn, arguments.rows)
        figures = {"read": compare(server.dsn, arguments.rounds), "peak_rss_mib": memory(server.dsn, arguments.rows)}
    peaks = figures["peak_rss_mib"]
    bars = [
        Bar("PostgreSQL to Parquet, rate over the fastest peer's", "x", figures["read"]["rate_over_fastest"], 1.0, at_least=True),
        Bar("peak memory of four times the rows over all", "x", peaks["four_times"] / peaks["all"], 1.25),
    ]
    data = f"{TABLE}: {arguments.rows} rows of 13 columns (bigint, text, uuid, numeric, int, float8, bool, date, timestamps, jsonb)"
    report.write("postgres", figures, bars=bars, data=data, threads=os.cpu_count())


if __name__ == "__main__":
    main()
