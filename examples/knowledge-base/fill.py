"""Fills a PostgreSQL database with the knowledge-base example: articles with real texts, and runs of the teams that read them.

    python examples/cloud-docs/generate.py OUT --service sns --service events
    python examples/knowledge-base/fill.py OUT postgresql://postgres@localhost/kb

The texts are those that the cloud-docs example writes, a team a service. Tables of these names must not be there yet. Next: `tables.sql`,
`runs.sql`, and `specs/` for how Lakehouse is told about them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import psycopg

HERE = Path(__file__).parent


def articles(folder: Path) -> Iterator[tuple[str, str, str, str, str]]:
    """Of the files that cloud-docs wrote below the folder: id, team, kind, title, body."""
    for path in sorted((folder / "data" / "docs").glob("*.ndjson")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            title = f"{row['name']}.{row['member']}" if row["member"] else row["name"]
            yield row["id"], row["service"], row["kind"], title, row["text"]


def fill(folder: Path, dsn: str) -> dict[str, int]:
    """Makes the tables in one transaction; how many rows each has. Raises psycopg.Error."""
    with psycopg.connect(dsn) as connection:
        connection.execute((HERE / "tables.sql").read_bytes())
        with connection.cursor() as cursor, cursor.copy("COPY articles (id, team, kind, title, body) FROM STDIN") as copy:
            count = 0
            for row in articles(folder):
                copy.write_row(row)
                count += 1
        runs = connection.execute((HERE / "runs.sql").read_bytes()).rowcount
    return {"articles": count, "team_runs": runs}


def main() -> None:
    """Reads the command line; prints one line a table."""
    parser = argparse.ArgumentParser(description="Fill a PostgreSQL database with the knowledge-base example.")
    parser.add_argument("folder", type=Path, help="what cloud-docs/generate.py wrote to")
    parser.add_argument("dsn", help="connection string of a database where tables may be made")
    arguments = parser.parse_args()
    if next(articles(arguments.folder), None) is None:
        parser.error(f"{arguments.folder} has no data/docs/*.ndjson; run cloud-docs/generate.py first")
    for table, count in fill(arguments.folder, arguments.dsn).items():
        print(f"{table:<40}{count:>8}")


if __name__ == "__main__":
    main()
