"""The key of hashes: made once and kept, or taken from a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.policies.hash_key import HashKey
from state.buckets import Buckets
from state.errors import SecretFieldMissing
from state.objects import ObjectStore
from state.places import BucketConfig
from state.secrets import Secrets, SecretsFile


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    buckets = Buckets()
    buckets.attach(BucketConfig("primary", "local", str(tmp_path / "lake")))
    return buckets.store("primary")


def secrets(path: Path, text: str | None = None) -> Secrets:
    if text is not None:
        path.write_text(text)
        path.chmod(0o600)
    return Secrets([SecretsFile(path)])


def test_it_is_made_once_and_kept(store: ObjectStore, tmp_path: Path) -> None:
    none = secrets(tmp_path / "none.toml")
    first = HashKey(store, none)()
    assert len(bytes.fromhex(first)) == 32
    assert HashKey(store, none)() == first
    assert store.get("keys/policy-hash").hex() == first


def test_a_secret_is_preferred_and_followed(store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "secrets.toml"
    key = HashKey(store, secrets(path))
    kept = key()
    secrets(path, '[policy-hash]\nkey = "a word that several lakes share"\n')
    shared = key()
    assert shared != kept
    assert len(bytes.fromhex(shared)) == 32
    secrets(path, '[policy-hash]\nword = "misspelt"\n')
    with pytest.raises(SecretFieldMissing):
        key()
