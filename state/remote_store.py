"""Every store that is not a local folder, through obstore: memory, and object services.

Translates obstore's errors into ours and tries again what may be tried again, after errors that say nothing about the request itself: a
bounded number of times, with growing waits, within the bucket's timeout in all. Refuses to hold credentials, and to repeat them from what a
server said. Next: `service_clients.py`, whose clients it uses; `buckets.py`, which opens; `reader.py`, which verifies.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

import obstore
from obstore import exceptions as sdk
from obstore.store import MemoryStore

from state.errors import BucketUnavailable, ObjectExists, ObjectMissing
from state.local_files import storage_error
from state.objects import PIECE, ObjectInfo, OpenObject, check_key, key_fault
from state.places import Service, ServiceKind
from state.secrets import Secrets
from state.service_clients import Client
from state.staging import Staging, discard

T = TypeVar("T")

LIST_CHUNK = 1000
WORTH_LISTING = 16
"""Objects of a folder from which on a listing of it is expected to cost less than asking for each."""
BULK = 4 * 1024 * 1024
BULK_SECONDS = 600.0
_PERMANENT = (
    sdk.NotSupportedError,
    sdk.InvalidPathError,
    sdk.UnknownConfigurationKeyError,
)


@dataclass(frozen=True, slots=True)
class Retry:
    """At most `attempts` calls, none of which begins later than `seconds` after the first; waits of `wait`, 2 `wait`, … between them."""

    attempts: int = 3
    wait: float = 0.1
    seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Clients:
    """Where a store gets its obstore client from, each time that it uses one.

    Args:
        quick: for requests that move a piece, within the bucket's timeout.
        upload: for what is large, however long it takes.
        download: for what is read piece by piece, however long it takes while bytes move.
        redact: takes the keys out of what a server said.
    """

    quick: Callable[[], Any]
    upload: Callable[[], Any]
    download: Callable[[], Any]
    redact: Callable[[str], str] = str

    @classmethod
    def of(cls, client: Any) -> Clients:
        """One client for everything."""
        return cls(lambda: client, lambda: client, lambda: client)


class ObstoreStore:
    """A bucket behind obstore as an ObjectStore. See `ObjectStore` for what the methods promise."""

    def __init__(
        self,
        clients: Clients,
        name: str,
        *,
        prefix: str = "",
        retry: Retry | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """prefix: put before every key, without slashes at its ends."""
        self._clients = clients
        self._name = name
        self._prefix = f"{prefix}/" if prefix else ""
        self._retry = retry or Retry()
        self._sleep = sleep
        self._clock = clock
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
            discard(staged)

    def get(self, key: str) -> bytes:
        """The whole object in memory."""
        return self._call("get", key, lambda path: bytes(obstore.get(self._clients.quick(), path).bytes()))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """One request; a second one where the range lies beyond the end."""

        def request(path: str) -> bytes:
            try:
                return bytes(obstore.get_range(self._clients.quick(), path, start=start, length=length))
            except sdk.BaseError:
                if obstore.head(self._clients.quick(), path)["size"] <= start:
                    return b""
                raise

        return self._call("get", key, request) if length > 0 else b""

    def open(self, key: str, start: int = 0, length: int | None = None) -> OpenObject:
        """One request for all of an object, two for a part of it. What breaks off is asked for again from there."""
        if start == 0 and length is None:
            answer = self._call("get", key, lambda path: obstore.get(self._clients.download(), path))
            info = self._info(answer.meta)
            return OpenObject(info, self._pieces(info, answer, 0, info.size))
        info = self.head(key)
        end = info.size if length is None else min(start + length, info.size)
        return OpenObject(info, self._pieces(info, None, start, end))

    def _pieces(self, info: ObjectInfo, answer: Any, at: int, end: int) -> Generator[bytes, None, None]:
        """From `at` to before `end`. answer: one that gives them already, or None."""
        failures, began = 0, self._clock()
        while at < end:
            try:
                if answer is None:
                    options: Any = {"range": (at, end), **({"if_match": info.etag} if info.etag else {})}
                    answer = self._call("get", info.key, lambda path: obstore.get(self._clients.download(), path, options=options))  # noqa: B023
                for piece in answer.stream(min_chunk_size=PIECE):
                    at += len(piece)
                    failures, began = 0, self._clock()
                    yield bytes(piece)
                return
            except (sdk.BaseError, OSError, ValueError) as error:
                failures += 1
                self._wait_or_raise("get", failures, began, error)
                answer = None

    def head(self, key: str) -> ObjectInfo:
        """One request."""
        return self._info(self._call("head", key, lambda path: obstore.head(self._clients.quick(), path)))

    def sizes(self, keys: Collection[str]) -> Mapping[str, int]:
        """Lists each folder of which many are asked for: 1000 a request, where they may be few among what else is there, and then it gives
        up after a quarter of the requests that `head` would take. Says nothing of folders of which few are asked for."""
        found: dict[str, int] = {}
        for folder, inside in _worth_listing(keys):
            most = LIST_CHUNK * (len(inside) // 4)
            listed = {info.key: info.size for info in islice(self._list(self._prefix + folder, None), most)}
            found.update((key, listed[key]) for key in inside & listed.keys())
        return found

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        """Pages of 1000; a listing that fails goes on from where its last page ended. All of it is asked for before the first is given.

        Some servers list folder by folder, so that `a/1` comes before `a.b`: order is made here, and the server is asked from a key on that
        is safe in either order.
        """
        folder = prefix.rpartition("/")[0]
        if folder:
            check_key(self._name, folder)
        begin = _safe_start(folder, after) if after else None
        start = None if begin is None else self._prefix + begin
        found = [info for info in self._list(self._prefix + folder, start) if info.key.startswith(prefix)]
        found.sort(key=lambda info: info.key)
        return iter(found if after is None else [info for info in found if info.key > after])

    def folders(self, prefix: str) -> Sequence[str]:
        """One request per 1000."""
        if prefix:
            check_key(self._name, prefix.rstrip("/"))

        path = (self._prefix + prefix).rstrip("/") or None
        found = self._tried("list", lambda: obstore.list_with_delimiter(self._clients.quick(), path)["common_prefixes"])
        return sorted(name.rstrip("/").rpartition("/")[2] for name in found)

    def delete(self, key: str) -> None:
        """One request."""
        try:
            self._call("delete", key, lambda path: obstore.delete(self._clients.quick(), path))
        except ObjectMissing:
            return

    def path(self, key: str) -> Path | None:
        """Always None."""
        check_key(self._name, key)
        return None

    def _put(self, key: str, content: bytes | Path, if_absent: bool) -> None:
        mode: Literal["create", "overwrite"] = "create" if if_absent else "overwrite"
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        client = self._clients.upload if size > BULK else self._clients.quick
        # Conditional puts of several parts do not exist, and a part's failure would leave the others behind unseen.
        parts = False if if_absent else None
        self._call("put", key, lambda path: obstore.put(client(), path, content, mode=mode, use_multipart=parts))

    def _list(self, folder: str, start: str | None) -> Iterator[ObjectInfo]:
        failures, began = 0, self._clock()
        while True:
            try:
                pages = obstore.list(self._clients.quick(), folder.rstrip("/") or None, offset=start, chunk_size=LIST_CHUNK)
                for page in pages:
                    for meta in page:
                        yield self._info(meta)
                        start = meta["path"]
                    failures, began = 0, self._clock()
                return
            except (sdk.BaseError, OSError, ValueError) as error:
                failures += 1
                self._wait_or_raise("list", failures, began, error)

    def _info(self, meta: Any) -> ObjectInfo:
        key = meta["path"].removeprefix(self._prefix)
        return ObjectInfo(key, meta["size"], meta["last_modified"].timestamp(), meta["e_tag"] or "")

    def _call(self, operation: str, key: str, request: Callable[[str], T]) -> T:
        check_key(self._name, key)
        try:
            return self._tried(operation, lambda: request(self._prefix + key))
        except sdk.AlreadyExistsError as error:
            raise ObjectExists(self._name, key) from error
        except (FileNotFoundError, sdk.NotFoundError) as error:
            raise ObjectMissing(self._name, key) from error

    def _tried(self, operation: str, request: Callable[[], T]) -> T:
        """Raises BucketUnavailable, and as they are the SDK's errors of one key: it exists, it does not."""
        failures, began = 0, self._clock()
        while True:
            try:
                return request()
            except (sdk.AlreadyExistsError, FileNotFoundError, sdk.NotFoundError) as error:
                if "NoSuchBucket" in str(error):
                    raise self._unavailable(operation, 1, error) from error
                raise
            except (sdk.BaseError, OSError, ValueError) as error:
                failures += 1
                self._wait_or_raise(operation, failures, began, error)

    def _wait_or_raise(self, operation: str, failures: int, began: float, error: Exception) -> None:
        """Waits before another attempt, or raises BucketUnavailable."""
        wait = self._retry.wait * 2 ** (failures - 1)
        late = self._clock() + wait >= began + self._retry.seconds
        if late or failures >= self._retry.attempts or isinstance(error, (*_PERMANENT, ValueError)) or _denied(error):
            raise self._unavailable(operation, failures, error) from error
        self._sleep(wait)

    def _unavailable(self, operation: str, failures: int, error: Exception) -> BucketUnavailable:
        remedy = "Check the bucket's `credentials`: the keys in that secret, and what they may do there." if _denied(error) else None
        if isinstance(error, sdk.InvalidPathError):
            remedy = "Remove or rename that object: no client that goes by paths can name it, and a listing that meets it ends there."
        return BucketUnavailable(self._name, operation, self._clients.redact(_reason(error)), attempts=failures, remedy=remedy)


def open_memory(name: str, prefix: str = "") -> ObstoreStore:
    """A bucket that ends with the process; each call makes another."""
    return ObstoreStore(Clients.of(MemoryStore()), name, prefix=prefix)


def open_service(kind: ServiceKind, service: Service, name: str, *, prefix: str, timeout: float, secrets: Secrets) -> ObstoreStore:
    """A bucket of an object service. Nothing is asked yet, so that an unreachable one is opened as well.

    timeout: seconds of one operation, its retries included; uploads of more than 4 MiB have at least ten minutes.
    """
    one, all_of_it = timedelta(seconds=timeout), timedelta(seconds=max(timeout, BULK_SECONDS))
    quick = Client(kind, service, secrets, {"connect_timeout": one, "timeout": one})
    upload = Client(kind, service, secrets, {"connect_timeout": one, "timeout": all_of_it})
    download = Client(kind, service, secrets, {"connect_timeout": one, "read_timeout": one, "timeout": all_of_it})

    def redact(text: str) -> str:
        secret = quick.secret()
        return text if secret is None else secret.redact(text)

    retry = Retry(wait=min(0.1, timeout / 10), seconds=timeout)
    return ObstoreStore(Clients(quick.current, upload.current, download.current, redact), name, prefix=prefix, retry=retry)


def _worth_listing(keys: Iterable[str]) -> Iterator[tuple[str, set[str]]]:
    """Folders, none below another, and the keys at any depth of each."""
    below: dict[str, set[str]] = defaultdict(set)
    for key in keys:
        if key_fault(key) is None:
            below[key.rpartition("/")[0]].add(key)
    listed: list[str] = []
    for folder in sorted(folder for folder, inside in below.items() if folder and len(inside) >= WORTH_LISTING):
        if not any(folder.startswith(f"{above}/") for above in listed):
            listed.append(folder)
            yield folder, set().union(*(inside for other, inside in below.items() if f"{other}/".startswith(f"{folder}/")))


def _safe_start(folder: str, after: str) -> str | None:
    """A beginning of `after` that every server lists everything behind that is behind `after`; None where that is the whole folder.

    Listing folder by folder, a server gives `a/1` before `a.b`; from `a` on, it leaves all of `a/` out. What is safe therefore ends before
    the first character that comes before a slash, and where the next one comes after it.
    """
    shared = len(folder) + 1 if folder and after.startswith(f"{folder}/") else 0
    end = next((n for n in range(shared, len(after)) if after[n] < "/"), len(after)) - 1
    while end > shared and after[end] <= "/":
        end -= 1
    name = after[:end].rpartition("/")[2]
    return after[:end] if end > shared and name not in ("", ".", "..") else None


def _denied(error: Exception) -> bool:
    """Of listings, the SDK tells the status in its text only."""
    return isinstance(error, (sdk.PermissionDeniedError, sdk.UnauthenticatedError)) or bool(re.search("status code: 40[13]", str(error)))


def _reason(error: Exception) -> str:
    """What went wrong, for people: a server's status and code, or the last of the causes; never the SDK's debug dump."""
    text = str(error)
    status = re.search(r"status code: (\d{3}[^:\n]*)", text)
    if status is not None:
        code = re.search(r"<Code>([A-Za-z0-9.]+)</Code>", text)
        return f"{status[1].strip()} ({code[1]})" if code else status[1].strip()
    first = (text.splitlines() or [type(error).__name__])[0].rstrip(".")
    if not first.startswith("Generic"):
        return first
    causes = re.findall(r'message: "([^"]+)"', text)
    told = first.rpartition(" - ")[2]
    return f"{told}: {causes[-1]}" if causes and causes[-1] not in told else told
