"""Every store that is not a local folder, through obstore: memory now, S3 later.

Translates obstore's errors into ours and tries again what may be tried again: a bounded number of times with growing waits, after
errors that say nothing about the request itself. How long one attempt may take is the client's own timeout, given by whoever
opens the obstore client. Refuses to hold credentials. Next: `buckets.py`, which opens; `reader.py`, which verifies.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import obstore
from obstore import exceptions as sdk
from obstore.store import MemoryStore

from state.errors import BucketUnavailable, ObjectExists, ObjectMissing
from state.local_store import storage_error
from state.objects import ObjectInfo, check_key
from state.staging import Staging

T = TypeVar("T")

LIST_CHUNK = 1000
_PERMANENT = (
    sdk.PermissionDeniedError,
    sdk.UnauthenticatedError,
    sdk.NotSupportedError,
    sdk.InvalidPathError,
    sdk.UnknownConfigurationKeyError,
)


@dataclass(frozen=True, slots=True)
class Retry:
    """At most `attempts` calls; waits of `wait`, 2 `wait`, 4 `wait`, … seconds between them."""

    attempts: int = 3
    wait: float = 0.1


class ObstoreStore:
    """One obstore client as an ObjectStore. See `ObjectStore` for what the methods promise."""

    def __init__(
        self, client: Any, name: str, *, prefix: str = "", retry: Retry | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """client: an obstore store. prefix: put before every key, without slashes at its ends."""
        self._client = client
        self._name = name
        self._prefix = f"{prefix}/" if prefix else ""
        self._retry = retry or Retry()
        self._sleep = sleep
        # of this user's own: the folder of another may not be written
        self._staging_folder = Path(tempfile.gettempdir(), f"lakehouse-staging-{os.getuid()}")
        self._staging = Staging(self._staging_folder)

    @property
    def name(self) -> str:
        """The bucket's name."""
        return self._name

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        """One request; a multipart upload where the client thinks it large."""
        self._put(key, data, if_absent)

    def stage(self) -> Path:
        """A file in the machine's temporary folder."""
        try:
            staged = self._staging.new()
            staged.touch(exist_ok=False)
        except OSError as error:
            self._staging.reopen()
            raise storage_error(error, bucket=self._name, operation="stage", path=self._staging_folder) from error
        return staged

    def put_file(self, key: str, staged: Path, *, if_absent: bool = False) -> None:
        """Uploads, then removes the local file."""
        try:
            self._put(key, staged, if_absent)
        finally:
            staged.unlink(missing_ok=True)

    def get(self, key: str) -> bytes:
        """The whole object in memory."""
        return self._call("get", key, lambda path: bytes(obstore.get(self._client, path).bytes()))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """One request; a second one where the range lies beyond the end."""

        def request(path: str) -> bytes:
            try:
                return bytes(obstore.get_range(self._client, path, start=start, length=length))
            except sdk.BaseError:
                if obstore.head(self._client, path)["size"] <= start:
                    return b""
                raise

        return self._call("get", key, request) if length > 0 else b""

    def head(self, key: str) -> ObjectInfo:
        """One request."""
        return self._info(self._call("head", key, lambda path: obstore.head(self._client, path)))

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        """Pages of 1000. A page that fails is asked for again from where the last one ended."""
        folder = prefix.rpartition("/")[0]
        if folder:
            check_key(self._name, folder)
        return self._list(self._prefix + folder, prefix, after)

    def delete(self, key: str) -> None:
        """One request."""
        try:
            self._call("delete", key, lambda path: obstore.delete(self._client, path))
        except ObjectMissing:
            return

    def path(self, key: str) -> Path | None:
        """Always None."""
        check_key(self._name, key)
        return None

    def _put(self, key: str, content: bytes | Path, if_absent: bool) -> None:
        mode: Literal["create", "overwrite"] = "create" if if_absent else "overwrite"
        # Conditional puts of several parts do not exist, and a part's failure would leave the others behind unseen.
        self._call("put", key, lambda path: obstore.put(self._client, path, content, mode=mode, use_multipart=False if if_absent else None))

    def _list(self, folder: str, prefix: str, after: str | None) -> Iterator[ObjectInfo]:
        start = None if after is None else self._prefix + after
        failures = 0
        while True:
            try:
                pages = obstore.list(self._client, folder.rstrip("/") or None, offset=start, chunk_size=LIST_CHUNK)
                for page in pages:
                    for meta in page:
                        info = self._info(meta)
                        if info.key.startswith(prefix):
                            yield info
                        start = meta["path"]
                return
            except (sdk.BaseError, OSError, ValueError) as error:
                failures += 1
                self._wait_or_raise("list", failures, error)

    def _info(self, meta: Any) -> ObjectInfo:
        key = meta["path"].removeprefix(self._prefix)
        return ObjectInfo(key, meta["size"], meta["last_modified"].timestamp(), meta["e_tag"] or "")

    def _call(self, operation: str, key: str, request: Callable[[str], T]) -> T:
        check_key(self._name, key)
        failures = 0
        while True:
            try:
                return request(self._prefix + key)
            except sdk.AlreadyExistsError as error:
                raise ObjectExists(self._name, key) from error
            except (FileNotFoundError, sdk.NotFoundError) as error:
                raise ObjectMissing(self._name, key) from error
            except (sdk.BaseError, OSError, ValueError) as error:
                failures += 1
                self._wait_or_raise(operation, failures, error)

    def _wait_or_raise(self, operation: str, failures: int, error: Exception) -> None:
        """Waits before another attempt, or raises BucketUnavailable. Only the first line: what follows is the SDK's debug dump."""
        if failures >= self._retry.attempts or isinstance(error, (*_PERMANENT, ValueError)):
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise BucketUnavailable(self._name, operation, reason, attempts=failures) from error
        self._sleep(self._retry.wait * 2 ** (failures - 1))


def open_memory(name: str, prefix: str = "") -> ObstoreStore:
    """A bucket that ends with the process; each call makes another."""
    return ObstoreStore(MemoryStore(), name, prefix=prefix)
