"""Writes the staffing example: seven tables as a staffing agency's systems would export them, mess included.

    python examples/staffing/generate.py OUT [--rows 20000 | --full] [--seed 7]

writes OUT/data/<table>/*. The same arguments give the same bytes. Memory does not grow with the number of rows.

The mess, on purpose: dates in three formats, blank cells, rows exported twice, candidates exported again with a newer status, cells with
line breaks and quotes, one file with a byte order mark, one table in Latin-1 with semicolons, cities in capitals or with a leading blank,
one table as NDJSON whose absent values are left out, one as Parquet.

Next: `rows.py` for what the rows say, `specs/` for how Lakehouse is told about them.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import rows
from rows import COLUMNS, Row, World

DEFAULT_ROWS = 20_000
FULL_ROWS = 2_467_000
LEAST_ROWS = 500
REPEAT_EVERY = 97  # in tables with repeats, each 97th row is the one before it again
QUARTERS = ("2025-q1", "2025-q2", "2025-q3", "2025-q4")


@dataclass(frozen=True, slots=True)
class Table:
    """How one table is exported. full: rows of it among FULL_ROWS; parts: one file each, in lexical order."""

    generate: Callable[[World, random.Random, int], Iterator[Row]]
    full: int
    parts: tuple[str, ...]
    suffix: str = "csv"
    encoding: str = "utf-8"
    delimiter: str = ","
    line_end: str = "\n"
    repeats: bool = True
    bom: str | None = None


TABLES: Mapping[str, Table] = {
    "candidates": Table(rows.candidates, 100_000, ("2021", "2022", "2023", "2024")),
    "clients": Table(rows.clients, 5_000, ("americas", "europe"), encoding="latin-1", delimiter=";", repeats=False),
    "job_orders": Table(rows.job_orders, 62_000, ("2025-h1", "2025-h2"), bom="2025-h1"),
    "placements": Table(rows.placements, 50_000, ("2025-h1", "2025-h2"), suffix="parquet"),
    "timesheets": Table(rows.timesheets, 1_000_000, QUARTERS),
    "call_log": Table(rows.call_log, 800_000, QUARTERS, line_end="\r\n"),
    "email_log": Table(rows.email_log, 450_000, QUARTERS, suffix="ndjson"),
}


def shares(total: int) -> dict[str, int]:
    """Rows of each table, in proportion to the full set, at least 4; they add up to total."""
    counts = {name: max(4, table.full * total // FULL_ROWS) for name, table in TABLES.items()}
    counts["timesheets"] += total - sum(counts.values())
    return counts


def distinct(name: str, count: int) -> int:
    """How many of the table's rows are no repetition of the row before."""
    return count - count // REPEAT_EVERY if TABLES[name].repeats else count


def world(seed: int, counts: Mapping[str, int]) -> World:
    """One in fifty rows of candidates is an older candidate exported again."""
    exported = distinct("candidates", counts["candidates"])
    return World(
        seed=seed,
        candidates=exported - exported // 50,
        clients=counts["clients"],
        job_orders=distinct("job_orders", counts["job_orders"]),
        placements=distinct("placements", counts["placements"]),
    )


def repeated(source: Iterator[Row], count: int) -> Iterator[Row]:
    """`count` rows, of which each 97th is the row before it once more."""
    previous: Row = ()
    for index in range(count):
        if index % REPEAT_EVERY != REPEAT_EVERY - 1:
            previous = next(source)
        yield previous


def write_csv(path: Path, name: str, content: Iterator[Row]) -> None:
    """None becomes an empty cell."""
    table = TABLES[name]
    encoding = "utf-8-sig" if table.bom is not None and path.stem.endswith(table.bom) else table.encoding
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=table.delimiter, lineterminator=table.line_end)
        writer.writerow(COLUMNS[name])
        writer.writerows(content)


def write_ndjson(path: Path, name: str, content: Iterator[Row]) -> None:
    """One object a line; what is absent is left out rather than null."""
    columns = COLUMNS[name]
    encode = json.JSONEncoder(ensure_ascii=False).encode
    with path.open("w", encoding="utf-8", newline="") as file:
        for row in content:
            file.write(encode({column: value for column, value in zip(columns, row, strict=True) if value is not None}) + "\n")


def write_parquet(path: Path, name: str, content: Iterator[Row]) -> None:
    """Typed by the values; 20 000 rows at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"start_date": pa.date32(), "end_date": pa.date32(), "pay_rate": pa.float64(), "bill_rate": pa.float64()}
    schema = pa.schema([(column, types.get(column, pa.string())) for column in COLUMNS[name]])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while batch := list(itertools.islice(content, 20_000)):
            arrays = [pa.array(values, field.type) for values, field in zip(zip(*batch, strict=True), schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


WRITERS: Mapping[str, Callable[[Path, str, Iterator[Row]], None]] = {"csv": write_csv, "ndjson": write_ndjson, "parquet": write_parquet}


def generate(out: Path, total: int, seed: int) -> dict[str, int]:
    """Writes every table below out/data and returns the rows of each. Files that exist already are written again."""
    counts = shares(total)
    here = world(seed, counts)
    for name, table in TABLES.items():
        folder = out / "data" / name
        folder.mkdir(parents=True, exist_ok=True)
        count = counts[name]
        source = table.generate(here, random.Random(f"{seed}:{name}"), distinct(name, count))
        content = repeated(source, count) if table.repeats else source
        parts = len(table.parts)
        for number, part in enumerate(table.parts):
            size = count * (number + 1) // parts - count * number // parts
            WRITERS[table.suffix](folder / f"{name}-{part}.{table.suffix}", name, itertools.islice(content, size))
    return counts


def main() -> None:
    """Reads the command line; prints one line a table."""
    parser = argparse.ArgumentParser(description="Write the staffing example's data files.")
    parser.add_argument("out", type=Path, help="the folder that gets data/<table>/*")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--rows", type=int, default=DEFAULT_ROWS, help=f"rows of all tables together (default {DEFAULT_ROWS})")
    size.add_argument("--full", action="store_true", help=f"the full size: {FULL_ROWS} rows")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    total = FULL_ROWS if arguments.full else arguments.rows
    if total < LEAST_ROWS:
        parser.error(f"--rows must be at least {LEAST_ROWS}: fewer cannot hold seven related tables")
    for name, count in generate(arguments.out, total, arguments.seed).items():
        print(f"{name:<12}{count:>10}")


if __name__ == "__main__":
    main()
