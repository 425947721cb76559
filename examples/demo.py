"""The main job on real input: specs and data go into a new git repository, and the lakehouse follows it.

    python examples/demo.py [--keep] [--s3]        (`make demo`, `make demo KEEP=1`, `make demo S3=1`)

Everything happens in .demo/ beside this repository's files: specs and data of both examples, a daemon on a free port, one SQL answer, one
search answer, one commit and one data file that are followed. With --s3 the lake is on an S3 server that the demo starts, and mirrored to a
folder, which answers when the server is killed. Ends with 0 only if all of it was as expected. A former .demo/ is replaced.

It refuses to reach into the project: what it shows goes through `lakectl` and HTTP, as anybody's tools would.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pygit2
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from examples.s3_server import S3Server

EXAMPLES = Path(__file__).resolve().parent
DEMO = EXAMPLES.parent / ".demo"
LAKECTL = str(Path(sys.executable).parent / "lakectl")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("LAKEHOUSE_")}
"""Without settings that are meant for another lakehouse."""
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""The daemon is on this machine: a proxy for the rest of the world must not be asked for it."""
PATIENCE = 120.0
"""Seconds that anything may take before the demo gives up."""

NEVER_PLACED = """
SELECT c.candidate_id AS id, c.first_name, c.last_name, c.title,
       count(*) AS calls
FROM candidates c JOIN call_log l ON l.candidate_id = c.candidate_id
WHERE c.title ILIKE '%java dev%' AND lower(trim(c.city)) = 'chicago'
  AND NOT EXISTS (SELECT 1 FROM placements p
                  WHERE p.candidate_id = c.candidate_id)
GROUP BY 1, 2, 3, 4 HAVING count(*) >= 5
ORDER BY calls DESC, id LIMIT 8"""
QUESTION = "rotate an encryption key every year"

GENERATION = """\
apiVersion: lakehouse/v1
kind: IndexGeneration
metadata: {name: resumes-g2}
spec: {index: resumes, hnsw: {m: 24, efConstruction: 160, efSearch: 64}}
"""
MIRRORED = """\
apiVersion: lakehouse/v1
kind: Bucket
metadata: {{name: primary}}
spec:
  s3: {{bucket: lake, endpoint: "{endpoint}", region: {region}, credentials: {{secret: demo-keys}}}}
  rescue: {{bucket: mirror, mirror: true}}
  timeout: 5s
---
apiVersion: lakehouse/v1
kind: Bucket
metadata: {{name: mirror}}
spec: {{local: {{path: mirror}}}}
"""
NEWCOMER = {
    "candidate_id": "C-900001", "first_name": "Ada", "last_name": "Keeper", "city": "Chicago", "state": "IL", "zip": "60614",
    "title": "Java Developer", "skills": "Java;Kafka", "status": "active", "registered": "2025-06-01",
    "resume": "Kept the clocks of forty lighthouses in step with a Java service, and wrote down how.",
}  # fmt: skip
FAMILIAR = "synchronised the clocks of lighthouses"

console = Console(highlight=False)


class Unexpected(Exception):
    """Something was not as it should be; the text says what."""


def main() -> int:
    """Runs the demo; returns the exit code."""
    parser = argparse.ArgumentParser(description="Show Lakehouse at work, in .demo/.")
    parser.add_argument("--keep", action="store_true", help="leave the daemon running, and say where it answers")
    parser.add_argument("--s3", action="store_true", help="keep the lake on an S3 server, started here")
    asked = parser.parse_args()
    daemon: Daemon | None = None
    server: S3Server | None = None
    try:
        lay_out()
        if asked.s3:
            server = serve_objects()
        first = commit("The demo's lakehouse")
        daemon = Daemon()
        converge(daemon, first)
        look(daemon)
        change(daemon)
        if server is not None:
            lose(daemon, server)
        if asked.keep:
            stay(daemon)
            return 0
        stop(daemon)
    except Unexpected as problem:
        said = f"[red bold]The demo failed:[/] {escape(str(problem))}"
    except KeyboardInterrupt:
        said = "Interrupted; nothing is left running."
    else:
        end(server)
        return 0
    if daemon is not None:
        daemon.end()
    end(server)
    console.print(f"\n{said}", soft_wrap=True)
    return 1


def lay_out() -> None:
    """Replaces .demo/ by a new repository with specs and data of both examples."""
    stop_former()
    shutil.rmtree(DEMO, ignore_errors=True)
    heading("Specs in a new git repository, and data as real systems export it")
    shutil.copytree(EXAMPLES / "staffing" / "specs", DEMO / "specs" / "staffing")
    # both examples declare the same bucket; once is enough
    shutil.copytree(EXAMPLES / "cloud-docs" / "specs", DEMO / "specs" / "cloud-docs", ignore=shutil.ignore_patterns("bucket.yaml"))
    shutil.copy(EXAMPLES / "staffing" / "lakehouse.yaml", DEMO)
    (DEMO / ".gitignore").write_text("lake/\nmirror/\ns3/\n.lakehouse/\ndata/\ndaemon.*\ns3.*\n")
    for example, what in (("staffing", "rows in seven tables"), ("cloud-docs", "texts of cloud documentation")):
        generator = [sys.executable, str(EXAMPLES / example / "generate.py"), str(DEMO)]
        made = subprocess.run(generator, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise Unexpected(f"{example}/generate.py: {made.stderr.strip()}")
        rows = sum(int(line.split()[1]) for line in made.stdout.splitlines() if not line.startswith("all "))
        console.print(f"   {example:<12}{rows:>8,} {what}")


def serve_objects() -> S3Server:
    """Starts an S3 server with its data in .demo/s3, and declares it as the place of the lake."""
    from examples.s3_server import REGION, S3Server

    heading("An S3 server, and a folder that is kept as its mirror")
    (DEMO / "s3").mkdir()
    server = S3Server(DEMO / "s3", ("lake",)).__enter__()
    assert server.process is not None
    (DEMO / "s3.pid").write_text(f"{server.process.pid}\n")
    spec = MIRRORED.format(endpoint=server.endpoint, region=REGION)
    (DEMO / "specs" / "staffing" / "bucket.yaml").write_text(spec)
    # a secrets file (0600) would do as well; the spec names the secret and never holds it
    ENVIRONMENT["LAKEHOUSE_SECRET__DEMO_KEYS__ACCESS_KEY_ID"] = server.access_key
    ENVIRONMENT["LAKEHOUSE_SECRET__DEMO_KEYS__SECRET_ACCESS_KEY"] = server.secret_key
    console.print(escape(spec.partition("---")[0].rstrip()), style="dim")
    return server


def lose(daemon: Daemon, server: S3Server) -> None:
    """Kills the S3 server; its mirror answers, and the journal says so. Then it comes back."""
    heading("The S3 server is killed; what it held is read from the mirror")

    def mirrored() -> bool:
        primary = next(row for row in daemon.ask("/storage/bucket-health")["buckets"] if row["name"] == "primary")
        return primary["mirror"] is not None and not primary["mirror"]["objectsBehind"]

    until("the mirror has everything", mirrored)
    file = daemon.ask("/catalog/datasets/candidates")["files"][0]
    server.stop(kill=True)
    path = f"/storage/buckets/primary/objects/{file['key']}"
    with DIRECT.open(daemon.url + path, timeout=PATIENCE) as answer:
        size, rescue = len(answer.read()), answer.headers.get("X-Lakehouse-Rescue-Bucket")
    if (size, rescue) != (file["size"], "mirror"):
        raise Unexpected(f"{path} was answered with {size} bytes by {rescue}")
    console.print(f"   [green]✔[/] {size:,} bytes of candidates; [dim]X-Lakehouse-Rescue-Bucket:[/] {rescue}")
    until("the failure is in the journal", lambda: daemon.ask("/storage/errors?bucket=primary")["errors"])
    show("errors", "--group", "bucket,op,class")
    server.start()
    assert server.process is not None
    (DEMO / "s3.pid").write_text(f"{server.process.pid}\n")
    until("all objects are ready again", lambda: all(row["ready"] == "True" for row in daemon.ask("/status")["objects"]))
    console.print("\n   [green]✔[/] the server is back, and all objects are ready")


def end(server: S3Server | None) -> None:
    """Stops the S3 server, if there is one."""
    if server is not None:
        server.stop()
        (DEMO / "s3.pid").unlink(missing_ok=True)


def commit(message: str) -> str:
    """Commits everything that is not ignored; returns the revision."""
    repository = pygit2.init_repository(DEMO, initial_head="main")
    repository.index.add_all()
    repository.index.write()
    author = pygit2.Signature("Lakehouse demo", "demo@localhost")
    parents = [] if repository.head_is_unborn else [repository.head.target]
    revision = str(repository.create_commit("HEAD", author, author, message, repository.index.write_tree(), parents))
    console.print(f'   [dim]commit {revision[:7]}[/]  "{message}"')
    return revision


class Daemon:
    """`lakectl daemon` on .demo/, as a process of its own. The log is .demo/daemon.log, the pid file .demo/daemon.pid."""

    def __init__(self) -> None:
        command = [LAKECTL, "--repo", str(DEMO), "daemon", "--listen", "127.0.0.1:0"]
        with (DEMO / "daemon.log").open("wb") as log:
            self.process = subprocess.Popen(command, env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True)
        (DEMO / "daemon.pid").write_text(f"{self.process.pid}\n")
        self.url = ""

    def answering(self) -> None:
        """Waits until it does."""
        self.url = until("the daemon answers", self._address)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON that a GET, or a POST of `body`, is answered with; None while the answer is an error."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        try:
            with DIRECT.open(request, timeout=PATIENCE) as answer:
                return json.load(answer)
        except urllib.error.HTTPError:
            return None
        except OSError as error:
            raise Unexpected(f"the daemon does not answer: {error}\n{log_tail()}") from error

    def one(self, sql: str) -> Any:
        """The only value of a query's only row."""
        answer = self.ask("/query", {"sql": sql})
        return next(iter(answer["rows"][0].values())) if answer else None

    def search(self, index: str, text: str) -> tuple[str, str]:
        """Generation and key of the best hit; empty while nothing answers."""
        answer = self.ask("/search", {"index": index, "text": text, "k": 1})
        return (answer["generation"], answer["hits"][0]["key"]) if answer and answer["hits"] else ("", "")

    def end(self) -> int:
        """Sends SIGTERM and waits; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Unexpected("the daemon did not end on SIGTERM") from None

    def _address(self) -> str | None:
        if self.process.poll() is not None:
            raise Unexpected(f"the daemon ended with {self.process.returncode}\n{log_tail()}")
        try:
            left = json.loads((DEMO / ".lakehouse" / "daemon.json").read_text())
        except (OSError, ValueError):
            return None
        return str(left["url"]) if left["pid"] == self.process.pid else None


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
    processes = [path.read_text().strip() for path in (DEMO / "daemon.pid", DEMO / "s3.pid") if path.exists()]
    console.print(f"   kill {' '.join(processes)}    [dim]stops it[/]")


def stop_former() -> None:
    """Ends the daemon and the S3 server that an earlier run with --keep left, if the pid files still name them."""
    for name, what in (("daemon", "daemon"), ("s3", "S3 server")):
        try:
            former = psutil.Process(int((DEMO / f"{name}.pid").read_text()))
            ours = any(str(DEMO) in word for word in former.cmdline())
        except (OSError, ValueError, psutil.Error):
            continue
        if not ours:
            continue
        console.print(f"[dim]Stopping the {what} of the former demo (process {former.pid}).[/]")
        former.terminate()
        try:
            former.wait(PATIENCE)
        except psutil.TimeoutExpired:
            raise Unexpected(f"the {what} of the former demo, process {former.pid}, did not end on SIGTERM") from None


def show(*words: str) -> None:
    """Runs `lakectl` as it would be typed. Raises Unexpected if it does not end with 0."""
    typed = " ".join(word if word.replace("-", "").isalnum() else f'"{word}"' for word in words)
    console.print(f"\n[bold]$ lakectl {escape(typed)}[/]", soft_wrap=True)
    console.file.flush()
    code = subprocess.run([LAKECTL, "--repo", str(DEMO), *words], env=ENVIRONMENT, check=False).returncode
    if code != 0:
        raise Unexpected(f"lakectl {words[0]} ended with {code}")


def until(what: str, holds: Callable[[], Any]) -> Any:
    """Asks every few milliseconds until the answer is true, and returns it. Raises Unexpected when patience ends."""
    deadline = time.monotonic() + PATIENCE
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise Unexpected(f"not after {PATIENCE:.0f} seconds: {what}\n{log_tail()}")
        time.sleep(0.02)
    return found


def heading(text: str) -> None:
    """The title of a step."""
    console.print(f"\n[bold cyan]{text}[/]")


def seconds(began: float) -> str:
    """Since then, for people."""
    return f"{time.monotonic() - began:.2f} s"


def log_tail() -> str:
    """The end of the daemon's log."""
    return "\n".join((DEMO / "daemon.log").read_text(errors="replace").splitlines()[-15:])


if __name__ == "__main__":
    sys.exit(main())
