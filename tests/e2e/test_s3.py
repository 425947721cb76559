"""Buckets on a real S3 server: the state and the data, keys that change, a server that goes away; and no secret in what was written."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from urllib.request import ProxyHandler, build_opener

import pytest
from harness_daemon import BUCKET, Daemon, Gone, Repository, lakectl, wait_for
from harness_secrets import keep_keys
from harness_shop import ITEMS, ROWS, Shop

from examples.s3_server import S3Server

PRIMARY = """
apiVersion: lakehouse/v1
kind: Bucket
metadata: {{name: primary}}
spec:
  s3: {{bucket: lake, endpoint: "{endpoint}", credentials: {{secret: lake-keys}}}}
  prefix: {prefix}
  timeout: 5s
  retention: 1s
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


MIRRORED = """
apiVersion: lakehouse/v1
kind: Bucket
metadata: {{name: archive}}
spec: {{local: {{path: archive}}, rescue: {{bucket: mirror, mirror: true}}}}
---
apiVersion: lakehouse/v1
kind: Bucket
metadata: {{name: mirror}}
spec: {{s3: {{bucket: lake, endpoint: "{endpoint}", credentials: {{secret: lake-keys}}}}, prefix: {prefix}}}
---
apiVersion: lakehouse/v1
kind: Dataset
metadata: {{name: far}}
spec: {{source: {{files: "data/far/*.csv"}}, bucket: archive}}
"""


def mirrored(daemon: Daemon, bucket: str, since: str) -> bool:
    """Whether a look at the bucket's mirror, later than that, found nothing lacking."""
    rows = daemon.request("GET", "/storage/bucket-health").document["buckets"]
    mirror = next(row["mirror"] for row in rows if row["name"] == bucket)
    return mirror is not None and mirror["objectsBehind"] == 0 and mirror["checkedAt"] > since


@pytest.fixture
def prefix() -> str:
    return f"e2e/{token_hex(8)}"


@pytest.fixture
def repository(tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, prefix: str) -> Repository:
    """State and data are to be on the server, below a prefix of their own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    keep_keys(s3_server.access_key, s3_server.secret_key)
    made = Repository(tmp_path / "repository")
    made.write("data/items/1.csv", ROWS)
    made.commit("first", bucket=PRIMARY.format(endpoint=s3_server.endpoint, prefix=prefix), items=ITEMS)
    return made


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """The state is to be in a local folder."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    made = Repository(tmp_path / "repository")
    made.commit("first", bucket=BUCKET)
    return made


@pytest.fixture
def shop(repository: Repository, tmp_path: Path) -> Iterator[Shop]:
    daemon = Daemon(repository, tmp_path / "log").up()
    yield Shop(repository, daemon)
    daemon.kill()


def test_everything_on_s3(shop: Shop, tmp_path: Path, s3_server: S3Server) -> None:
    repository, daemon = shop.repository, shop.daemon
    wait_for(shop.serves, "rows and hits")
    assert not repository.lake.exists()
    repository.write("data/items/2.csv", "id,title\n4,a yellow sofa\n")
    wait_for(lambda: daemon.value("SELECT count(*) FROM items") == 4, "another file is followed")
    assert daemon.stop() == 0
    again = Daemon(repository, tmp_path / "log").up()
    wait_for(lambda: again.value("SELECT count(*) FROM items") == 4, "a restart finds it all")
    assert again.stop() == 0
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name != "secrets.toml" and "s3" not in path.parts:
            content = path.read_bytes()
            assert s3_server.secret_key.encode() not in content, path
            assert s3_server.access_key.encode() not in content, path


def test_upkeep_and_repair_on_s3(shop: Shop, tmp_path: Path, s3_server: S3Server, prefix: str) -> None:
    """Streams are folded and verified, what nothing refers to goes, and a catalog that is lost is made again."""
    repository, daemon, store = shop.repository, shop.daemon, s3_server.client("lake")
    wait_for(shop.serves, "rows and hits")
    stray = f"{prefix}/datasets/items/stray.parquet"
    store.put(stray, b"rows")
    assert daemon.stop() == 0
    folded = [lakectl(repository, "compact", stream) for stream in ("events", "audit")]
    assert [code for code, _ in folded] == [0, 0]
    assert lakectl(repository, "audit", "verify")[0] == 0
    wait_for(lambda: lakectl(repository, "gc", "--yes")[1]["found"] != [], "the stray is older than the retention, and goes")
    assert lakectl(repository, "fsck", "--deep")[0] == 0
    store.delete([item["path"] for page in store.list(f"{prefix}/catalog/") for item in page])
    assert lakectl(repository, "rebuild", "--yes")[0] == 0
    again = Daemon(repository, tmp_path / "log").up()
    try:
        wait_for(Shop(repository, again).serves, "the rows are there, and an index is built over them again")
    finally:
        assert again.stop() == 0
    assert lakectl(repository, "audit", "verify")[0] == 0


def test_wrong_keys_are_told_and_right_ones_followed_without_a_restart(tmp_path: Path, s3_server: S3Server, here: Repository) -> None:
    keep_keys(s3_server.access_key, "wrong")
    daemon = Daemon(here, tmp_path / "log").up()
    try:
        here.write("data/far/1.csv", "a\n1\n")
        here.commit("far", archive=ARCHIVE.format(endpoint=s3_server.endpoint, prefix=f"e2e/{token_hex(8)}"))
        denied = daemon.wait_status("Bucket/archive", "BucketUnavailable")
        assert "403 Forbidden (SignatureDoesNotMatch)" in denied["message"]
        assert "credentials" in denied["message"]
        assert daemon.value("SELECT 1") == 1
        keep_keys(s3_server.access_key, s3_server.secret_key)
        daemon.wait_settled()
        assert daemon.value("SELECT count(*) FROM far") == 1
    finally:
        assert daemon.stop() == 0


def test_a_server_that_is_killed_and_comes_back(tmp_path: Path, here: Repository) -> None:
    with S3Server(tmp_path / "s3", ("lake",)) as server:
        keep_keys(server.access_key, server.secret_key)
        here.write("data/far/1.csv", "a\n1\n")
        here.commit("far", archive=ARCHIVE.format(endpoint=server.endpoint, prefix="x"))
        daemon = Daemon(here, tmp_path / "log").up()
        try:
            wait_for(lambda: daemon.value("SELECT count(*) FROM far") == 1, "it is there")
            server.stop(kill=True)
            assert daemon.value("SELECT count(*) FROM far") == 1, "what was read is in the cache"
            here.write("data/far/2.csv", "a\n2\n3\n")
            failed = daemon.wait_status("Dataset/far", "BucketUnavailable")
            assert "did not answer" in failed["message"]
            assert daemon.value("SELECT count(*) FROM far") == 1
            server.start()
            wait_for(lambda: daemon.value("SELECT count(*) FROM far") == 3, "it goes on")
            daemon.wait_settled()
        finally:
            assert daemon.stop() == 0


def test_a_mirror_answers_for_a_lake_that_is_gone(tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_SECRET__LAKE_KEYS__ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("LAKEHOUSE_SECRET__LAKE_KEYS__SECRET_ACCESS_KEY", s3_server.secret_key)
    repository = Repository(tmp_path / "repository")
    repository.write("data/far/1.csv", "a\n1\n")
    repository.commit("mirrored", primary=BUCKET, archive=MIRRORED.format(endpoint=s3_server.endpoint, prefix=f"e2e/{token_hex(8)}"))
    daemon = Daemon(repository, tmp_path / "log").up()
    try:
        since = daemon.wait_status("Dataset/far", "Succeeded")["observedAt"]
        wait_for(lambda: mirrored(daemon, "archive", since), "the mirror has what there is")
        (file,) = daemon.request("GET", "/catalog/datasets/far").document["files"]
        shutil.rmtree(repository.path / "archive")
        url = f"{daemon.url}/storage/buckets/archive/objects/{file['key']}"
        with build_opener(ProxyHandler({})).open(url, timeout=60) as answer:
            assert (answer.headers["X-Lakehouse-Rescue-Bucket"], len(answer.read())) == ("mirror", file["size"])
        assert daemon.value("SELECT count(*) FROM far") == 1
    finally:
        assert daemon.stop() == 0


def test_a_secrets_file_that_others_can_read_is_refused_at_the_start(repository: Repository, tmp_path: Path, s3_server: S3Server) -> None:
    path = keep_keys(s3_server.access_key, s3_server.secret_key)
    path.chmod(0o644)
    with pytest.raises(Gone) as gone:
        Daemon(repository, tmp_path / "log").up()
    assert f"chmod 600 {path}" in str(gone.value)
