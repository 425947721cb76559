"""What one catalog entry costs, as the log grows, and what opening one table costs in a large lake.

    python -m bench.catalog_entry [--entries 10000] [--rounds 200]

An entry changes one table and is durable when `commit` returns. Its peer is one bare conditional put of the same bytes: on the S3 server by
obstore, locally by our own durable writer, since obstore's never syncs. Both are called in turns, on logs of 10 entries and of many.
Opening reads what one table needs, from a lake of as many tables and entries, in a process that has all modules.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore

from bench.bars import Bar
from bench.percentiles import milliseconds
from bench.report import write
from examples.s3_server import REGION, S3Server
from state.buckets import open_store
from state.catalog.catalog import Catalog
from state.catalog.data_files import DataFile
from state.catalog.entry import TableCommit
from state.catalog.log import WriterId, log_key
from state.catalog.schemas import Column, Schema
from state.objects import ObjectRef, ObjectStore
from state.places import BucketConfig, Service
from state.secrets import SECRET_PREFIX

SCHEMA = Schema(1, tuple(Column(number, f"column_{number}", "string") for number in range(1, 13)))
Put = Callable[[str, bytes], object]


def change(number: int) -> TableCommit:
    """A new table with one file."""
    ref = ObjectRef("bench", f"datasets/t{number}/{number:064x}-0000.parquet", 4096, f"{number:064x}")
    name = f"Dataset/t{number}"
    return TableCommit(name, "t", "bench", schema=SCHEMA, add=(DataFile(ref, "base", 1, 20, f"{number:064x}", 0, 1, ("A",), ("Z",)),))


def commit(catalog: Catalog, number: int) -> None:
    """One entry."""
    catalog.commit((change(number),), actor="bench", reason="rows were added", revision="0" * 40)


def compare(store: ObjectStore, put: Put, entries: int, rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of `rounds` entries after `entries` others, and of as many bare puts, in turns."""
    catalog = Catalog.open(store, writer=WriterId("bench", 1))
    for number in range(catalog.seq + 1, entries + 1):
        commit(catalog, number)
    taken: dict[str, list[float]] = {"entry": [], "bare_put": []}
    for _ in range(rounds):
        number = catalog.seq + 1
        began = time.perf_counter()
        commit(catalog, number)
        taken["entry"].append(time.perf_counter() - began)
        data = store.get(log_key(number))
        began = time.perf_counter()
        put(f"bare/{number}", data)
        taken["bare_put"].append(time.perf_counter() - began)
    return {name: milliseconds(seconds) for name, seconds in taken.items()}


def opening(store: ObjectStore, rounds: int) -> dict[str, float]:
    """Milliseconds to open the catalog for one table and to have it, another table each time."""
    taken = []
    for number in range(1, rounds + 1):
        began = time.perf_counter()
        catalog = Catalog.open(store, only=(f"Dataset/t{number * 37}",))
        assert catalog.table(f"t{number * 37}") is not None
        taken.append(time.perf_counter() - began)
    return milliseconds(taken)


def local(folder: Path, entries: int, rounds: int) -> dict[str, Any]:
    """On a folder."""
    store = open_store(BucketConfig("bench", "local", str(folder)))

    def put(key: str, data: bytes) -> None:
        store.put(key, data, if_absent=True)

    few = compare(store, put, 10, rounds)
    many = compare(store, put, entries, rounds)
    Catalog.open(store, writer=WriterId("bench", 1)).checkpoint()
    return {"after_10": few, f"after_{entries}": many, "opening_one_table": opening(store, 50)}


def remote(server: S3Server, entries: int, rounds: int) -> dict[str, Any]:
    """On the S3 server."""
    service = Service("bench", server.endpoint, REGION, secret="bench")
    store = open_store(BucketConfig("bench", "s3", prefix="lake", service=service))
    bare = server.client("bench")

    def put(key: str, data: bytes) -> None:
        obstore.put(bare, key, data, mode="create")

    return {"after_10": compare(store, put, 10, rounds), f"after_{entries}": compare(store, put, entries, rounds)}


def judged(here: dict[str, Any], there: dict[str, Any], entries: int) -> list[Bar]:
    """The figures that have bars."""
    many, few = f"after_{entries}", "after_10"
    far = f"after_{entries // 10}"
    ratios = [
        there[far]["entry"]["p50_ms"] / there[far]["bare_put"]["p50_ms"],
        there[few]["entry"]["p50_ms"] / there[few]["bare_put"]["p50_ms"],
    ]
    return [
        Bar("catalog entry on a local bucket, p50", "ms", here[many]["entry"]["p50_ms"], must=2, scale="fdatasync_ms"),
        Bar("catalog entry over one bare conditional put, S3, p50", "x", max(ratios), must=1.5),
        Bar(
            f"catalog entry, {entries} entries over 10, local p50",
            "x",
            here[many]["entry"]["p50_ms"] / here[few]["entry"]["p50_ms"],
            must=1.25,
        ),
        Bar(
            "opening one of 10 000 tables after 10 000 entries, p50",
            "ms",
            here["opening_one_table"]["p50_ms"],
            must=50,
            scale="loop_cpu_seconds",
        ),
    ]


def main() -> None:
    """Measure, and write bench/results/catalog_entry.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, S3Server(Path(name, "s3"), ("bench",)) as server:
        os.environ |= {
            f"{SECRET_PREFIX}BENCH__ACCESS_KEY_ID": server.access_key,
            f"{SECRET_PREFIX}BENCH__SECRET_ACCESS_KEY": server.secret_key,
        }
        here = local(Path(name, "lake"), arguments.entries, arguments.rounds)
        there = remote(server, arguments.entries // 10, arguments.rounds)
    bars = judged(here, there, arguments.entries)
    write("catalog_entry", {"local": here, "s3": there}, bars=bars, data="entries of one table with one file and twelve columns", threads=1)


if __name__ == "__main__":
    main()
