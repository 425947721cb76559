"""The main job on real input: specs and data go into a new git repository, and the lakehouse follows it.

    python examples/demo.py [--keep] [--s3]        (`make demo`, `make demo KEEP=1`, `make demo S3=1`)

Everything happens in .demo/ beside this repository's files: specs and data of the examples, a daemon on a free port, one SQL answer, one
search answer, two readers who see different things, one commit and one data file that are followed, and rows that change in a PostgreSQL
server, which the demo starts. With --s3 the lake is on an S3 server that it starts as well, and mirrored to a folder, which answers when
the server is killed. Ends with 0 only if all of it was as expected. A former .demo/ is replaced. Next: `demo_lakehouse.py`.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from examples import demo_buckets, demo_knowledge_base, demo_readers
from examples.demo_lakehouse import (
    DEMO,
    EXAMPLES,
    LAKECTL,
    PATIENCE,
    Daemon,
    Unexpected,
    commit,
    console,
    heading,
    log_tail,
    run,
    seconds,
    show,
    until,
)  # fmt: skip
from examples.postgres_server import PREFIX

NEVER_PLACED = """
SELECT c.candidate_id AS id, c.first_name, c.last_name, c.title,
       count(*) AS calls
FROM candidates c JOIN call_log l ON l.candidate_id = c.candidate_id
WHERE c.title ILIKE '%java dev%' AND lower(trim(c.city)) = 'chicago'
  AND NOT EXISTS (SELECT 1 FROM placements p
                  WHERE p.candidate_id = c.candidate_id)
GROUP BY 1, 2, 3, 4 HAVING count(*) >= 5
ORDER BY calls DESC, id LIMIT 8"""
QUESTION = "rotate encryption keys yearly"

GENERATION = """\
apiVersion: lakehouse/v1
kind: IndexGeneration
metadata: {name: resumes-g2}
spec: {index: resumes, hnsw: {m: 24, efConstruction: 160, efSearch: 64}}
"""
NEWCOMER = {
    "candidate_id": "C-900001", "first_name": "Ada", "last_name": "Keeper", "city": "Chicago", "state": "IL", "zip": "60614",
    "title": "Java Developer", "skills": "Java;Kafka", "status": "active", "registered": "2025-06-01",
    "resume": "Kept the clocks of forty lighthouses in step with a Java service, and wrote down how.",
}  # fmt: skip
FAMILIAR = "synchronised the clocks of lighthouses"


def main() -> int:
    """Runs the demo; returns the exit code."""
    parser = argparse.ArgumentParser(description="Show Lakehouse at work, in .demo/.")
    parser.add_argument("--keep", action="store_true", help="leave the daemon running, and say where it answers")
    parser.add_argument("--s3", action="store_true", help="keep the lake on an S3 server, started here")
    asked = parser.parse_args()
    daemon: Daemon | None = None
    with ExitStack() as servers:
        try:
            lay_out()
            knowledge = demo_knowledge_base.serve(servers, outlives=asked.keep)
            objects = demo_buckets.serve(servers) if asked.s3 else None
            first = commit("The demo's lakehouse")
            daemon = Daemon()
            converge(daemon, first)
            look(daemon)
            demo_readers.meet(QUESTION)
            change(daemon)
            if knowledge is not None:
                demo_knowledge_base.follow(daemon, knowledge)
            if objects is not None:
                demo_buckets.lose(daemon, objects)
            if asked.keep:
                stay(daemon)
                servers.pop_all()
            else:
                stop(daemon)
            return 0
        except Unexpected as problem:
            said = f"[red bold]The demo failed:[/] {escape(str(problem))}"
        except KeyboardInterrupt:
            said = "Interrupted; nothing is left running."
        if daemon is not None:
            daemon.end()
    console.print(f"\n{said}", soft_wrap=True)
    return 1


def lay_out() -> None:
    """Replaces .demo/ by a new repository with specs and data of two examples."""
    stop_former()
    shutil.rmtree(DEMO, ignore_errors=True)
    heading("Specs in a new git repository, and data as real systems export it")
    shutil.copytree(EXAMPLES / "staffing" / "specs", DEMO / "specs" / "staffing")
    # both examples declare the same bucket; once is enough
    shutil.copytree(EXAMPLES / "cloud-docs" / "specs", DEMO / "specs" / "cloud-docs", ignore=shutil.ignore_patterns("bucket.yaml"))
    shutil.copy(EXAMPLES / "staffing" / "lakehouse.yaml", DEMO)
    (DEMO / ".gitignore").write_text("lake/\nmirror/\ns3/\ntexts/\n.lakehouse/\ndata/\n*.log\n*.pid\n")
    for example, what in (("staffing", "rows in seven tables"), ("cloud-docs", "texts of cloud documentation")):
        made = run(f"{example}/generate.py", str(DEMO))
        rows = sum(int(line.split()[1]) for line in made.splitlines() if not line.startswith("all "))
        console.print(f"   {example:<12}{rows:>8,} {what}")


def converge(daemon: Daemon, revision: str) -> None:
    """Shows how objects become ready, until all are."""
    heading("A daemon follows the repository")
    wanted = sum(path.read_text().count("\nkind: ") for path in (DEMO / "specs").rglob("*.yaml"))
    columns = (TextColumn("  "), BarColumn(28), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    bar = Progress(*columns, console=console, transient=True)
    began = time.monotonic()
    daemon.answering()
    with bar:
        task = bar.add_task("objects ready", total=wanted)

        def ready() -> bool:
            status = daemon.ask("/status")
            done = sum(row["ready"] == "True" for row in status["objects"])
            bar.update(task, completed=done)
            stuck = [row for row in status["objects"] if row["reason"] in ("InvalidSpec", "FileRefused", "NotSupported", "Failed")]
            if stuck:
                raise Unexpected(f"{stuck[0]['kind']}/{stuck[0]['name']}: {stuck[0]['message']}")
            return bool(status["revision"] == revision and done == wanted == len(status["objects"]))

        until("all objects are ready", ready)
    console.print(f"   [green]✔[/] {wanted} of {wanted} objects ready after {seconds(began)}")
    show("status")


def look(daemon: Daemon) -> None:
    """One answer of SQL, one of search."""
    heading("Every Java developer in Chicago, called 5+ times but never placed")
    show("query", NEVER_PLACED)
    if not daemon.one(NEVER_PLACED):
        raise Unexpected("nobody was found")
    heading("Six thousand texts of documentation, by meaning")
    show("search", "docs", QUESTION, "-k", "3")
    if "kms/" not in daemon.search("docs", QUESTION)[1]:
        raise Unexpected("the best hit is not about keys")


def change(daemon: Daemon) -> None:
    """A commit and a data file, each until readers see it."""
    heading("A commit is followed: a better index, built beside the one that serves")
    (DEMO / "specs" / "staffing" / "resumes-g2.yaml").write_text(GENERATION)
    began = time.monotonic()
    commit("Build resumes with more links")
    until("resumes-g2 serves", lambda: daemon.search("resumes", FAMILIAR)[0] == "resumes-g2")
    console.print(f"   [green]✔[/] built, and answering searches after {seconds(began)}")

    heading("So is a new data file, without any commit")
    folder = DEMO / "data" / "candidates"
    with next(folder.glob("*.csv")).open(newline="", encoding="utf-8-sig") as known:
        columns = next(csv.reader(known))
    staged = folder / "candidates-2025.tmp"
    with staged.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerow(NEWCOMER)
    began = time.monotonic()
    staged.rename(staged.with_suffix(".csv"))
    console.print("   [dim]data/candidates/candidates-2025.csv[/]  one candidate")
    key = NEWCOMER["candidate_id"]
    until("SQL sees the new row", lambda: daemon.one(f"SELECT count(*) FROM candidates WHERE candidate_id = '{key}'") == 1)
    console.print(f"   [green]✔[/] in SQL after {seconds(began)}")
    until("search finds the new row", lambda: key in daemon.search("resumes", FAMILIAR)[1])
    console.print(f"   [green]✔[/] embedded, indexed and found by its meaning after {seconds(began)}")


def stop(daemon: Daemon) -> None:
    """SIGTERM, and a clean end."""
    heading("Stop")
    began = time.monotonic()
    code = daemon.end()
    if code != 0:
        raise Unexpected(f"the daemon ended with {code}\n{log_tail()}")
    (DEMO / "daemon.pid").unlink()
    console.print(f"   [green]✔[/] the daemon ended in good order after {seconds(began)}")
    console.print("\n`make demo KEEP=1` leaves it running, to be asked more.")


def stay(daemon: Daemon) -> None:
    """Leaves the daemon running, and says how to use and to stop it."""
    heading("It goes on")
    for path, what in (("/status", "every object"), ("/openapi.json", "the API, described"), ("/metrics", "figures for Prometheus")):
        console.print(f"   {daemon.url}{path:<16}{what}")
    console.print(f"\n   {os.path.relpath(LAKECTL)} --repo {os.path.relpath(DEMO)} status --watch", soft_wrap=True)
    processes = [path.read_text().strip() for path in sorted(DEMO.glob("*.pid"))]
    console.print(f"   kill {' '.join(processes)}    [dim]stops it[/]")


def stop_former() -> None:
    """Ends the daemon and the servers that an earlier run with --keep left, if the pid files still name them."""
    for name, what, mark in (("daemon", "daemon", str(DEMO)), ("s3", "S3 server", str(DEMO)), ("postgres", "PostgreSQL server", PREFIX)):
        try:
            former = psutil.Process(int((DEMO / f"{name}.pid").read_text()))
            words = [word for word in former.cmdline() if mark in word]
        except (OSError, ValueError, psutil.Error):
            continue
        if not words:
            continue
        console.print(f"[dim]Stopping the {what} of the former demo (process {former.pid}).[/]")
        former.terminate()
        try:
            former.wait(PATIENCE)
        except psutil.TimeoutExpired:
            raise Unexpected(f"the {what} of the former demo, process {former.pid}, did not end on SIGTERM") from None
        if name == "postgres":  # its folder is not in .demo/
            shutil.rmtree(Path(words[0]).parent, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
