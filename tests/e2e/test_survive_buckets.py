"""Buckets that die, lose what they had or refuse to write while a daemon works: said so, nothing lost, converged once they are well."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import pytest
from harness_daemon import Daemons, Gone, Repository, lakectl, wait_for
from harness_facts import doubled_events
from harness_proxy import Fault, Proxy
from harness_secrets import keep_keys
from harness_shop import ITEMS, ROWS, Shop, dataset

from examples.s3_server import S3Server
from state.buckets import open_store
from state.catalog.catalog import Catalog
from state.places import BucketConfig, Service

FILES, ROWS_EACH = 24, 2000
LAKE = """
apiVersion: lakehouse/v1
kind: Bucket
metadata: {{name: primary}}
spec: {{s3: {{bucket: lake, endpoint: "{endpoint}", credentials: {{secret: lake-keys}}}}, prefix: {prefix}, timeout: 2s}}
"""
ARCHIVE = """
apiVersion: lakehouse/v1
kind: Bucket
metadata: {{name: archive}}
spec: {{s3: {{bucket: lake, endpoint: "{endpoint}", credentials: {{secret: lake-keys}}}}, prefix: {prefix}, timeout: 2s}}
---
apiVersion: lakehouse/v1
kind: Dataset
metadata: {{name: far}}
spec: {{source: {{files: "data/far/*.csv"}}, bucket: archive}}
"""
LOCAL = """
apiVersion: lakehouse/v1
kind: Bucket
metadata: {name: primary}
spec: {local: {path: lake}}
"""


def known(server: S3Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """Daemons and tests have its keys."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    monkeypatch.setenv("LAKEHOUSE_SECRET__MINE__ACCESS_KEY_ID", server.access_key)
    monkeypatch.setenv("LAKEHOUSE_SECRET__MINE__SECRET_ACCESS_KEY", server.secret_key)
    keep_keys(server.access_key, server.secret_key)
    return server


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3"), ("lake",)) as running:
        yield running


@pytest.fixture
def server(victim: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """One to be killed and emptied, by one test after the other."""
    if victim.process is None:
        victim.start()  # the test before this one failed
    return known(victim, tmp_path, monkeypatch)


@pytest.fixture
def lasting(s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The one that all tests share."""
    return known(s3_server, tmp_path, monkeypatch)


@pytest.fixture
def prefix() -> str:
    return f"survive/{token_hex(8)}"


def whole(server: S3Server, prefix: str) -> None:
    """Everything that the catalog refers to is there, no event is there twice, and the checkpoints can be used."""
    store = open_store(BucketConfig("primary", "s3", prefix=prefix, service=Service("lake", server.endpoint, secret="mine"), timeout=20.0))
    assert Catalog.open(store).damaged == ()
    there = {info.key: info.size for info in store.list()}
    tables = [state.table for state in Catalog.open(store).objects("Dataset").values() if state.table is not None]
    assert tables
    assert all(there.get(file.key) == file.ref.size for table in tables for file in table.files)
    lines = [line for info in store.list("streams/") if info.key.endswith(".jsonl") for line in store.get(info.key).splitlines()]
    ids = [json.loads(line)["id"] for line in lines]
    assert ids
    assert len(set(ids)) == len(ids)


def grow(repository: Repository) -> None:
    """Many files to ingest, one after the other."""
    for number in range(FILES):
        rows = "".join(f"{number * ROWS_EACH + row},thing number {row}\n" for row in range(ROWS_EACH))
        repository.write(f"data/many/{number:02}.csv", f"id,title\n{rows}")


def test_a_server_that_is_killed_while_it_takes_state_and_data(server: S3Server, prefix: str, tmp_path: Path, daemons: Daemons) -> None:
    repository = Repository(tmp_path / "repository")
    repository.write("lakehouse.yaml", "work: {inlineBytes: 1, jobWorkers: 1}\n")
    repository.write("data/items/1.csv", ROWS)
    repository.commit("first", bucket=LAKE.format(endpoint=server.endpoint, prefix=prefix), items=ITEMS)
    daemon = daemons.start(repository)
    shop = Shop(repository, daemon)
    wait_for(shop.serves, "rows and hits")
    grow(repository)
    repository.commit("many", many=dataset("many"))
    wait_for(lambda: daemon.status("Dataset/many").get("reason") == "Ingesting", "the ingest is under way")
    server.stop(kill=True)
    wait_for(lambda: "did not answer" in daemon.said or "did not answer" in str(daemon.status()), "it is told")
    assert daemon.alive
    assert shop.serves(), "what was read is in the cache"
    server.start()
    wait_for(lambda: daemon.value("SELECT count(*) FROM many") == FILES * ROWS_EACH, "it goes on")
    daemon.wait_settled()
    assert daemon.value("SELECT count(DISTINCT id) FROM many") == FILES * ROWS_EACH
    assert daemon.stop() == 0
    whole(server, prefix)


def test_a_server_whose_disk_is_emptied(server: S3Server, prefix: str, tmp_path: Path, daemons: Daemons) -> None:
    """What has its source is made again; what has none is Stalled, and says which object is missing."""
    repository = Repository(tmp_path / "repository")
    repository.write("data/far/1.csv", "a\n1\n")
    repository.write("data/lost/1.csv", "a\n1\n")
    lost = dataset("lost", bucket="archive")
    repository.commit("first", bucket=LOCAL, far=ARCHIVE.format(endpoint=server.endpoint, prefix=prefix), lost=lost)
    daemon = daemons.start(repository)
    daemon.wait_settled()
    assert daemon.value("SELECT count(*) FROM far") == daemon.value("SELECT count(*) FROM lost") == 1
    assert daemon.stop() == 0
    (repository.path / "data/lost/1.csv").unlink()
    server.stop(kill=True)
    shutil.rmtree(server.folder / "data")
    shutil.rmtree(repository.cache / "objects")
    server.start()
    again = daemons.start(repository)
    wait_for(lambda: again.value("SELECT count(*) FROM far") == 1, "it is made again")
    row = again.wait_status("Dataset/lost", "ObjectMissing", "datasets/lost/", ready="False")
    assert row["message"]
    repository.write("data/lost/1.csv", "a\n1\n")
    wait_for(lambda: again.value("SELECT count(*) FROM lost") == 1, "so is what comes back")
    again.wait_settled()
    assert again.stop() == 0
    assert doubled_events(repository.lake) == {}


def test_wrong_keys_of_the_state_refuse_the_start_and_do_not_end_a_daemon(
    lasting: S3Server, prefix: str, tmp_path: Path, daemons: Daemons
) -> None:
    repository = Repository(tmp_path / "repository")
    repository.write("data/items/1.csv", ROWS)
    repository.commit("first", bucket=LAKE.format(endpoint=lasting.endpoint, prefix=prefix), items=ITEMS)
    keep_keys(lasting.access_key, "wrong")
    refused = daemons.begin(repository)
    with pytest.raises(Gone) as gone:
        refused.up()
    assert gone.value.code == 1
    for words in ("bucket-unavailable", "403 Forbidden", "credentials"):
        assert words in refused.said
    assert "Traceback" not in refused.said
    keep_keys(lasting.access_key, lasting.secret_key)
    daemon = daemons.start(repository)
    daemon.wait_settled()
    keep_keys(lasting.access_key, "wrong")
    repository.write("data/items/2.csv", "id,title\n4,a white door\n")
    wait_for(lambda: "403 Forbidden" in daemon.said, "it is told")
    assert daemon.alive
    assert daemon.value("SELECT count(*) FROM items") == 3
    keep_keys(lasting.access_key, lasting.secret_key)
    wait_for(lambda: daemon.value("SELECT count(*) FROM items") == 4, "it goes on")
    daemon.wait_settled()
    assert daemon.stop() == 0
    whole(lasting, prefix)


def test_a_service_that_lets_nobody_write(lasting: S3Server, prefix: str, tmp_path: Path, daemons: Daemons) -> None:
    repository = Repository(tmp_path / "repository")
    repository.write("data/far/1.csv", "a\n1\n")
    with Proxy(lasting.endpoint) as proxy:
        repository.commit("first", bucket=LOCAL, far=ARCHIVE.format(endpoint=proxy.endpoint, prefix=prefix))
        daemon = daemons.start(repository)
        daemon.wait_settled()
        for method in ("PUT", "POST", "DELETE"):
            proxy.on(method, "", Fault.DENY)
        repository.write("data/far/2.csv", "a\n2\n")
        row = daemon.wait_status("Dataset/far", "BucketUnavailable", "403 Forbidden (AccessDenied)", ready="False")
        assert "what they may do there" in row["message"]
        assert daemon.value("SELECT count(*) FROM far") == 1
        proxy.heal()
        wait_for(lambda: daemon.value("SELECT count(*) FROM far") == 2, "it goes on")
        daemon.wait_settled()
        assert daemon.stop() == 0


@pytest.fixture
def stop_writing(shop: Shop) -> Iterator[list[str]]:
    """Mounts the lake over itself, for reading only; the command that ends it is in the list."""
    lake = str(shop.repository.lake)
    for command in (["mount", "--bind", lake, lake], ["mount", "-o", "remount,ro,bind", lake]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            subprocess.run(["umount", "--lazy", lake], capture_output=True, check=False)
            pytest.skip(f"a folder for reading only needs the right to mount one: {done.stderr.strip()}")
    undo = ["umount", "--lazy", lake]
    yield undo
    if undo:
        subprocess.run(undo, check=True)


def test_a_folder_that_lets_nobody_write(shop: Shop, stop_writing: list[str]) -> None:
    shop.repository.write("data/items/2.csv", "id,title\n4,a white door\n")
    row = shop.daemon.wait_status("Dataset/items", "BucketUnavailable", "Read-only file system", ready="False")
    assert "Mount the file system for writing" in row["message"]
    assert shop.daemon.alive
    assert shop.serves()
    subprocess.run(stop_writing, check=True)
    stop_writing.clear()
    wait_for(lambda: shop.daemon.value("SELECT count(*) FROM items") == 4, "it goes on")
    shop.daemon.wait_settled()
    assert shop.daemon.stop() == 0


def test_a_server_that_loses_the_state(server: S3Server, prefix: str, tmp_path: Path, daemons: Daemons) -> None:
    """The daemon puts nothing on top of nothing, nor does the next one; after a rebuild all that has its source is made again."""
    repository = Repository(tmp_path / "repository")
    repository.write("data/items/1.csv", ROWS)
    repository.commit("first", bucket=LAKE.format(endpoint=server.endpoint, prefix=prefix), items=ITEMS)
    daemon = daemons.start(repository)
    daemon.wait_settled()
    server.stop(kill=True)
    shutil.rmtree(server.folder / "data")
    server.start()
    repository.write("data/items/2.csv", "id,title\n4,a white door\n")
    row = wait_for(
        lambda: "is gone: somebody emptied the state bucket" in (row := daemon.status("Dataset/items"))["message"] and row, "told"
    )
    assert row["ready"] == "False"
    assert "Restore the state bucket" in row["message"]
    assert daemon.stop() == 0
    with pytest.raises(Gone, match="lakectl rebuild"):
        daemons.start(repository)
    code, document = lakectl(repository, "rebuild", "--yes")
    assert (code, document["done"]) == (0, True)
    again = daemons.start(repository)
    again.wait_settled()
    assert again.value("SELECT count(*) FROM items") == 4
    assert again.stop() == 0
    whole(server, prefix)
