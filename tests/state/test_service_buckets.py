"""Buckets of a real S3 server: keys that are wrong, missing or rotated, servers that are not there, and what errors say."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from secrets import token_hex

import pytest
from harness_secrets import write_private

from examples.s3_server import S3Server
from state.buckets import open_store, probe
from state.errors import BucketUnavailable, ObjectMissing, SecretMissing
from state.objects import ObjectStore
from state.places import BucketConfig, Service


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This user's file of secrets."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("state.secrets.SYSTEM_FILE", tmp_path / "none")
    return write_private(tmp_path / "lakehouse" / "secrets.toml", "")


def keep(path: Path, access: str, secret: str) -> None:
    path.write_text(f'[keys]\naccess_key_id = "{access}"\nsecret_access_key = "{secret}"\n')


def bucket(endpoint: str, name: str = "lake", *, secret: str | None = "keys", timeout: float = 5.0) -> ObjectStore:
    prefix = f"services/{token_hex(8)}"  # a store of its own: one that is open knows where its keys are kept
    return open_store(BucketConfig(name, "s3", prefix=prefix, service=Service("lake", endpoint, secret=secret), timeout=timeout))


def test_it_keeps_its_promises(s3_server: S3Server, secrets: Path) -> None:
    keep(secrets, s3_server.access_key, s3_server.secret_key)
    found = probe(bucket(s3_server.endpoint))
    assert (found.reachable, found.writable, found.conditional_put, found.problem) == (True, True, True, None)


def test_keys_are_looked_up_again_when_they_change(s3_server: S3Server, secrets: Path) -> None:
    store = bucket(s3_server.endpoint)
    with pytest.raises(SecretMissing, match="There is no secret 'keys'") as missing:
        store.put("a", b"1")
    assert str(secrets) in missing.value.explain()
    keep(secrets, s3_server.access_key, "wrong")
    with pytest.raises(BucketUnavailable, match=r"403 Forbidden \(SignatureDoesNotMatch\)") as denied:
        store.put("a", b"1")
    assert denied.value.attempts == 1
    assert "credentials" in denied.value.explain()
    keep(secrets, s3_server.access_key, s3_server.secret_key)
    store.put("a", b"1")
    assert store.get("a") == b"1"
    keep(secrets, "nobody", "wrong")
    with pytest.raises(BucketUnavailable, match=r"403 Forbidden \(InvalidAccessKeyId\)"):
        store.get("a")


def test_unsigned_requests_are_denied_here(s3_server: S3Server) -> None:
    with pytest.raises(BucketUnavailable, match="403 Forbidden"):
        bucket(s3_server.endpoint, secret=None).get("a")


def test_the_services_own_variables_say_nothing(s3_server: S3Server, secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    monkeypatch.setenv("AWS_REGION", "mars-1")
    keep(secrets, s3_server.access_key, s3_server.secret_key)
    store = bucket(s3_server.endpoint)
    store.put("b", b"1")
    assert store.get("b") == b"1"


def test_no_error_repeats_a_key(s3_server: S3Server, secrets: Path) -> None:
    keep(secrets, "canary-id", "canary-key")
    with pytest.raises(BucketUnavailable) as caught:
        bucket(s3_server.endpoint).put("a", b"1")
    assert "canary" not in caught.value.explain()


def test_nobody_there(secrets: Path) -> None:
    keep(secrets, "a", "b")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound, and not listening
        endpoint = f"http://127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(
            BucketUnavailable, match=r"^Bucket lake did not answer \(get\) after 3 attempts: .*[Cc]onnection refused"
        ) as caught:
            bucket(endpoint).get("a")
    assert "Debug" not in str(caught.value)


def test_a_server_that_says_nothing_is_given_up_within_the_timeout(secrets: Path) -> None:
    keep(secrets, "a", "b")
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        store = bucket(f"http://127.0.0.1:{mute.getsockname()[1]}", timeout=0.5)
        with pytest.raises(BucketUnavailable, match="did not answer") as caught:
            store.get("a")
    assert caught.value.attempts == 1, "the first attempt takes all of the time there is"


def test_a_bucket_that_does_not_exist_is_not_a_missing_object(s3_server: S3Server, secrets: Path) -> None:
    keep(secrets, s3_server.access_key, s3_server.secret_key)
    store = open_store(BucketConfig("far", "s3", service=Service("nowhere", s3_server.endpoint, secret="keys"), timeout=5.0))
    with pytest.raises((BucketUnavailable, ObjectMissing)) as caught:
        store.get("a")
    assert isinstance(caught.value, BucketUnavailable), caught.value.explain()


def test_what_is_large_goes_up_in_parts(s3_server: S3Server, secrets: Path) -> None:
    keep(secrets, s3_server.access_key, s3_server.secret_key)
    store = bucket(s3_server.endpoint)
    content = bytes(range(256)) * 4096 * 24  # 24 MiB
    for if_absent in (False, True):
        staged = store.stage()
        staged.write_bytes(content)
        store.put_file(f"large-{if_absent}", staged, if_absent=if_absent)
        assert store.head(f"large-{if_absent}").size == len(content)
        assert store.get(f"large-{if_absent}") == content
        assert not staged.exists()


class Lists(BaseHTTPRequestHandler):
    """Lists one object, under a key that no path can be."""

    def do_GET(self) -> None:
        entry = "<Key>in/../x.csv</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>e</ETag><Size>1</Size>"
        facts = "<Name>lake</Name><KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>"
        body = f'<?xml version="1.0"?><ListBucketResult>{facts}<Contents>{entry}</Contents></ListBucketResult>'.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody wants to know."""


def test_a_key_that_no_path_can_be_is_named(secrets: Path) -> None:
    keep(secrets, "a", "b")
    with HTTPServer(("127.0.0.1", 0), Lists) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(BucketUnavailable, match=r'did not answer \(list\): .*"in/\.\./x\.csv"') as caught:
                list(bucket(f"http://127.0.0.1:{server.server_address[1]}").list("in/"))
        finally:
            server.shutdown()
            thread.join()
    assert (caught.value.attempts, str(caught.value.remedy).partition(":")[0]) == (1, "Remove or rename that object")
