"""A bucket on a real S3 server as a source: jobs in processes of their own, found at once by a notification, restarted without reading."""

from __future__ import annotations

from pathlib import Path
from secrets import token_hex

import pytest
from harness_daemon import BUCKET, Daemons, Repository, lakectl, wait_for
from harness_secrets import keep_keys

from examples.s3_server import S3Server
from state.buckets import open_store
from state.objects import ObjectStore
from state.places import BucketConfig, Service

LANDING = """apiVersion: lakehouse/v1
kind: Bucket
metadata: {{name: landing}}
spec: {{s3: {{bucket: lake, endpoint: "{endpoint}", credentials: {{secret: lake-keys}}}}, prefix: {prefix}, timeout: 5s}}
"""
ITEMS = """apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: items}
spec: {source: {bucket: landing, prefix: incoming/}, primaryKey: [id], write: upsert}
"""


@pytest.fixture
def prefix() -> str:
    return f"e2e/{token_hex(8)}"


@pytest.fixture
def landing(s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str) -> ObjectStore:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    keep_keys(s3_server.access_key, s3_server.secret_key)
    return open_store(BucketConfig("landing", "s3", prefix=prefix, service=Service("lake", s3_server.endpoint, secret="lake-keys")))


def test_objects_become_rows_at_once(tmp_path: Path, daemons: Daemons, s3_server: S3Server, landing: ObjectStore, prefix: str) -> None:
    repository = Repository(tmp_path / "repository")
    repository.write("lakehouse.yaml", "work: {inlineBytes: 1}\n")
    landing.put("incoming/a.csv", b"id,city\n1,Boston\n2,Chicago\n")
    repository.commit("items", bucket=BUCKET, landing=LANDING.format(endpoint=s3_server.endpoint, prefix=prefix), items=ITEMS)
    daemon = daemons.start(repository)
    daemon.wait_settled()
    assert daemon.status("Dataset/items")["message"] == "2 rows from 1 object, version 1"
    landing.put("incoming/b c.csv", b"id,city\n2,Austin\n")
    event = {"Records": [{"s3": {"bucket": {"name": "lake"}, "object": {"key": f"{prefix}/incoming/b+c.csv"}}}]}
    answer = daemon.request("POST", "/storage/buckets/landing/notify", event)
    assert (answer.status, answer.document) == (200, {"datasets": ["items"]})
    wait_for(lambda: daemon.value("SELECT city FROM items WHERE id = 2") == "Austin", "it is found long before the next resync")
    (change,) = daemon.query("SELECT old, new, source FROM system.journal WHERE dataset = 'items' AND op = 'update'")
    assert (change["old"], change["new"], change["source"]) == ("Chicago", "Austin", "landing/incoming/b c.csv")
    daemon.wait_settled()
    assert lakectl(repository, "plan")[0] == 0
    assert daemon.stop() == 0
    landing.put("incoming/d.csv", b"id,city\n3,Denver\n")
    code, plan = lakectl(repository, "plan")
    assert code == 1
    (step,) = next(one["steps"] for one in plan["objects"] if one["object"] == "Dataset/items")
    assert step["summary"] == "look into landing/incoming/d.csv", "what is known is not looked into again"
