"""Object services: obstore clients for S3 and what speaks like it, for Google Cloud Storage and for Azure.

A client is made with the keys of the secret that its bucket names, and made anew when these change, so that rotated keys are followed.
Nothing is left to the environment variables that the services' own tools read: a bucket is where its spec says, in every process.
Google's and Azure's are obstore's own classes with their arguments filled in, and have never met their servers: untested.
Next: `remote_store.py`, which uses the clients; `places.py`, which says where buckets are; `secrets.py`, which knows the keys.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from obstore.store import AzureStore, GCSStore, S3Store

from state.places import Service, ServiceKind
from state.secrets import Secret, Secrets

REGION = "us-east-1"
"""Where no region is given: servers other than Amazon's sign with it whatever they are."""

_NO_RETRY = {"max_retries": 0}
"""Attempts are counted, told and bounded by `remote_store`."""


class Client:
    """An obstore client of one bucket. Thread-safe."""

    def __init__(self, kind: ServiceKind, service: Service, secrets: Secrets, options: Mapping[str, timedelta]) -> None:
        """options: timeouts, as obstore names them. Nothing is asked before `current`."""
        self._kind = kind
        self._service = service
        self._secrets = secrets
        self._options = {"allow_http": True, **options}
        self._lock = threading.Lock()
        self._made: tuple[Secret | None, Any] | None = None

    def current(self) -> Any:
        """The client that signs with today's keys. Raises what `Secrets.get` raises, and SecretFieldMissing."""
        secret = self.secret()
        with self._lock:
            if self._made is None or self._made[0] != secret:
                self._made = (secret, _OPENERS[self._kind](self._service, secret, self._options))
            return self._made[1]

    def secret(self) -> Secret | None:
        """The keys as they are now; None where requests are unsigned."""
        return None if self._service.secret is None else self._secrets.get(self._service.secret)


def _s3(service: Service, secret: Secret | None, options: dict[str, Any]) -> S3Store:
    region = service.region or REGION
    config: dict[str, Any] = {"region": region, "endpoint": service.endpoint or f"https://s3.{region}.amazonaws.com"}
    if secret is None:
        config["skip_signature"] = True
    else:
        config |= {"access_key_id": secret.field("access_key_id"), "secret_access_key": secret.field("secret_access_key")}
        token = secret.optional("session_token")
        config |= {} if token is None else {"token": token}
    return S3Store(service.bucket, config=config, client_options=options, retry_config=_NO_RETRY)  # type: ignore[arg-type]


def _gcs(service: Service, secret: Secret | None, options: dict[str, Any]) -> GCSStore:
    config: dict[str, Any] = {"skip_signature": True} if secret is None else {"service_account_key": secret.field("service_account_key")}
    if service.endpoint is not None:
        config["base_url"] = service.endpoint
    return GCSStore(service.bucket, config=config, client_options=options, retry_config=_NO_RETRY)  # type: ignore[arg-type]


def _azure(service: Service, secret: Secret | None, options: dict[str, Any]) -> AzureStore:
    config: dict[str, Any] = {"skip_signature": True} if secret is None else {"account_key": secret.field("account_key")}
    config["account_name"] = service.account
    if service.endpoint is not None:
        config["endpoint"] = service.endpoint
    return AzureStore(service.bucket, config=config, client_options=options, retry_config=_NO_RETRY)  # type: ignore[arg-type]


_OPENERS: dict[ServiceKind, Callable[[Service, Secret | None, dict[str, Any]], Any]] = {"s3": _s3, "gcs": _gcs, "azure": _azure}
