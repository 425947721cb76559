"""The part of the demo with a PostgreSQL server: two of its tables are datasets, and rows that change there are fetched by a cursor.

Where the server cannot start, the demo says so and goes on without it. Next: `demo.py`, `knowledge-base/`.
"""

from __future__ import annotations

import secrets
import shutil
import textwrap
import time
from contextlib import ExitStack

import psycopg
from rich.markup import escape

from examples.demo_lakehouse import DEMO, ENVIRONMENT, EXAMPLES, Daemon, Unexpected, console, heading, run, seconds, show, until
from examples.postgres_server import NoServerError, PostgresServer

TEAMS = ("events", "secretsmanager", "sns")
READER = "lake_reader"
QUESTION = "send one message to many subscribers"
NEWS = "A run book for the night shift: how to page the keeper of a lighthouse whose lamp has gone out."
LAMP = "what to do when the lamp is out"

HOURS = """
SELECT team, sum(articles) AS articles, sum(hours) AS hours
FROM team_runs GROUP BY team ORDER BY hours DESC"""
CHANGED = """
SELECT entity, field, old, new, actor, at FROM system.journal
WHERE dataset = 'team-runs' AND field = 'hours' ORDER BY at"""
ORIGIN = """
SELECT dataset, split_part(origin, '"', 4) AS place FROM system.datasets
WHERE dataset IN ('articles', 'team-runs') ORDER BY dataset"""
ORIGINS = "SELECT string_agg(origin, ' ') FROM system.datasets"
REVIEWED = """UPDATE team_runs SET hours = hours + 1.5
WHERE team = 'sns' AND kind = 'operation'"""
WRITTEN = "INSERT INTO articles (id, team, kind, title, body) VALUES ('sns/night', 'sns', 'service', 'Night shift', %s)"


def serve(servers: ExitStack, *, outlives: bool) -> PostgresServer | None:
    """Starts a server, fills it, and adds its specs and its secret; None, and a sentence, where it cannot start."""
    try:
        server = servers.enter_context(PostgresServer(outlives=outlives))
    except NoServerError as error:
        said = f"The knowledge base is left out, since PostgreSQL does not start here: {error}"
        console.print(f"   [yellow]{escape(said)}[/]", soft_wrap=True)
        return None
    servers.callback((DEMO / "postgres.pid").unlink, missing_ok=True)
    (DEMO / "postgres.pid").write_text(f"{server.pid}\n")
    texts = DEMO / "texts"
    run("cloud-docs/generate.py", str(texts), *(word for team in TEAMS for word in ("--service", team)))
    filled = run("knowledge-base/fill.py", str(texts), server.dsn)
    rows = {line.split()[0]: int(line.split()[1]) for line in filled.splitlines()}
    console.print(f"   {'PostgreSQL':<12}{rows['articles']:>8,} articles, {rows['team_runs']} runs of teams that read them")
    shutil.copytree(EXAMPLES / "knowledge-base" / "specs", DEMO / "specs" / "knowledge-base", ignore=shutil.ignore_patterns("bucket.yaml"))
    password = secrets.token_hex(16)
    with psycopg.connect(server.dsn) as connection:
        connection.execute(f"CREATE ROLE {READER} LOGIN PASSWORD '{password}'".encode())
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER}".encode())
    # a secrets file (0600) would do as well; the spec names the secret and never holds it
    ENVIRONMENT["LAKEHOUSE_SECRET__KNOWLEDGE_BASE__DSN"] = server.dsn.replace("//postgres:@", f"//{READER}:{password}@")
    return server


def follow(daemon: Daemon, server: PostgresServer) -> None:
    """Rows change in PostgreSQL, and the next read brings what is new."""
    heading("Tables of a PostgreSQL database, read by a cursor in constant memory")
    show("query", HOURS)
    show("search", "articles", QUESTION, "-k", "2")
    if not daemon.search("articles", QUESTION)[1].startswith('["sns/'):
        raise Unexpected("the best hit is not about sns")

    heading("Rows change there; only these are asked for, and the journal tells old and new")
    with psycopg.connect(server.dsn) as connection:
        connection.execute(REVIEWED)
        connection.execute(WRITTEN, (NEWS,))
    console.print(f"[dim]{textwrap.indent(REVIEWED, '   ')}[/]", soft_wrap=True)
    began = time.monotonic()
    show("reconcile", "Dataset/team-runs")
    show("reconcile", "Dataset/articles")
    until("the journal tells of the change", lambda: daemon.one(f"SELECT count(*) FROM ({CHANGED})") == 1)
    until("search finds the new article", lambda: daemon.search("articles", LAMP)[1] == '["sns/night"]')
    console.print(f"   [green]✔[/] in SQL, journal and search after {seconds(began)}")
    show("query", CHANGED)
    show("query", ORIGIN)
    origins = daemon.one(ORIGINS)
    if READER in origins or "postgresql://" not in origins:
        raise Unexpected(f"the origin is {origins}")
    console.print("   [green]✔[/] where rows came from, without user and password")
