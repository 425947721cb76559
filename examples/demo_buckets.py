"""The part of the demo with an S3 server: the lake is on it, and a mirror answers while it is dead. Next: `demo.py`, `s3_server.py`."""

from __future__ import annotations

from contextlib import ExitStack

from rich.markup import escape

from examples.demo_lakehouse import DEMO, DIRECT, ENVIRONMENT, PATIENCE, Daemon, Unexpected, console, heading, show, until
from examples.s3_server import REGION, S3Server

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


def serve(servers: ExitStack) -> S3Server:
    """Starts an S3 server with its data in .demo/s3, and declares it as the place of the lake."""
    heading("An S3 server, and a folder that is kept as its mirror")
    (DEMO / "s3").mkdir()
    server = servers.enter_context(S3Server(DEMO / "s3", ("lake",)))
    servers.callback((DEMO / "s3.pid").unlink, missing_ok=True)
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
