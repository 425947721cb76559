"""The key of masks that hash: whoever has it could find out by guesses what was hashed, so it stays with the state.

The secret `policy-hash` has it in its field `key` where somebody wants the same hashes in several lakes; else the state keeps one of its
own (`state/kept_keys.py`). Hashes of one key are comparable across tables, versions and restarts; with another key all of them change.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from threading import Lock

from state.errors import SecretMissing
from state.kept_keys import kept_key
from state.objects import ObjectStore
from state.secrets import Secrets

NAME, FIELD = "policy-hash", "key"


class HashKey:
    """Thread-safe, blocking."""

    def __init__(self, store: ObjectStore, secrets: Secrets) -> None:
        """store: of the state bucket."""
        self._store = store
        self._secrets = secrets
        self._lock = Lock()
        self._kept: str | None = None

    def __call__(self) -> str:
        """In hex. Raises SecretsFileRefused, SecretFieldMissing, and errors of the state bucket."""
        with suppress(SecretMissing):
            return hashlib.sha256(self._secrets.get(NAME).field(FIELD).encode()).hexdigest()
        with self._lock:
            if self._kept is None:
                kept = kept_key(self._store, NAME, create=True)
                assert kept is not None
                self._kept = kept.hex()
            return self._kept
