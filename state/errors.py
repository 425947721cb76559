"""Errors of the state room: what can go wrong with what is kept.

    LakehouseError
    └── StateError
        ├── ObjectError                     one object of one bucket
        │   ├── ObjectMissing               nothing under this key
        │   ├── ObjectExists                put-if-absent lost: somebody was first
        │   ├── ObjectCorrupt               size or SHA-256 differ from what was recorded
        │   └── KeyInvalid                  a key that is absolute, has `..`, or leaves the root by a symlink
        ├── BucketError                     a whole bucket
        │   ├── BucketUnknown               no bucket of this name is attached
        │   ├── BucketInvalid               its configuration cannot be opened
        │   ├── BucketUnavailable           timeout, refused, no permission; retried before it is raised
        │   └── DiskFull                    no space (or quota) left under a path
        ├── SecretError
        │   ├── SecretMissing               no provider knows this name
        │   ├── SecretFieldMissing          it is known, without what is needed of it
        │   └── SecretsFileRefused          others could read or change it, or it is no table of strings
        ├── LeaseError
        │   ├── LeaseHeld                   another writer lives; names it
        │   └── LeaseLost                   a newer epoch exists: stop writing
        ├── CatalogCorrupt                  the log or a checkpoint cannot be folded
        ├── StreamCorrupt                   a segment of a stream cannot be read (torn tails are no error)
        ├── RequestInvalid                  an operator's request that cannot be one
        └── FailpointError                  raised on purpose by an armed failpoint (tests)

SDK and OS errors are translated where they arise, `raise ... from`; none of them crosses this room. Next: `objects.py`.
"""

from __future__ import annotations

import errno
from pathlib import Path

from specs.errors import LakehouseError


class StateError(LakehouseError):
    """Base of the room."""

    slug = "state-error"


class ObjectError(StateError):
    """About one object. `bucket` is the bucket's name, or the root folder of a store opened without a name."""

    slug = "object-error"

    def __init__(self, message: str, *, bucket: str, key: str, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.bucket = bucket
        self.key = key


class ObjectMissing(ObjectError):
    """Nothing is stored under this key."""

    slug = "object-missing"
    remedy = "Restore it from a backup, or have its owner looked at by `lakectl apply` or a daemon: it is made again, or done without."

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__(f"{bucket}/{key} does not exist.", bucket=bucket, key=key)


class ObjectExists(ObjectError):
    """A put-if-absent found the key taken; what is there was not touched."""

    slug = "object-exists"

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__(f"{bucket}/{key} exists already.", bucket=bucket, key=key)


class ObjectCorrupt(ObjectError):
    """`expected` and `found` are what was compared, as text: "1024 bytes" or "sha256 9f86…"."""

    slug = "object-corrupt"
    remedy = ObjectMissing.remedy

    def __init__(self, bucket: str, key: str, *, expected: str, found: str) -> None:
        super().__init__(f"{bucket}/{key} is damaged: expected {expected}, found {found}.", bucket=bucket, key=key)
        self.expected = expected
        self.found = found


class KeyInvalid(ObjectError):
    """The key cannot name an object of this bucket; nothing was read or written."""

    slug = "key-invalid"

    def __init__(self, bucket: str, key: str, reason: str) -> None:
        super().__init__(f"{key!r} is no key of {bucket}: {reason}.", bucket=bucket, key=key)
        self.reason = reason


class BucketError(StateError):
    """About a whole bucket, named by `bucket`."""

    slug = "bucket-error"

    def __init__(self, message: str, *, bucket: str, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.bucket = bucket


class BucketUnknown(BucketError):
    """No bucket of this name is attached in this process."""

    slug = "bucket-unknown"

    def __init__(self, bucket: str) -> None:
        super().__init__(f"No bucket named {bucket!r} is attached.", bucket=bucket, remedy="Add a Bucket spec of this name and commit it.")


class BucketInvalid(BucketError):
    """The bucket's configuration cannot be opened: a missing root, a backend that is not built."""

    slug = "bucket-invalid"


class BucketUnavailable(BucketError):
    """`operation` is what was tried ("put", "list", …); `attempts` how often."""

    slug = "bucket-unavailable"

    def __init__(self, bucket: str, operation: str, reason: str, *, attempts: int = 1, remedy: str | None = None) -> None:
        tries = "" if attempts == 1 else f" after {attempts} attempts"
        super().__init__(f"Bucket {bucket} did not answer ({operation}){tries}: {reason}.", bucket=bucket, remedy=remedy)
        self.operation = operation
        self.attempts = attempts


NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the kernel says of a full disk, or a full share of one."""


class DiskFull(BucketError):
    """`path` is where there was no room."""

    slug = "disk-full"

    def __init__(self, bucket: str, path: str) -> None:
        remedy = "Free space there or move the bucket to a larger disk; nothing was lost, and the work is tried again."
        super().__init__(f"No space left on the disk of {path}.", bucket=bucket, remedy=remedy)
        self.path = path


class SecretError(StateError):
    """About a credential. Names secrets, fields and files; never repeats a value."""

    slug = "secret-error"


class SecretMissing(SecretError):
    """No provider knows a secret of this name."""

    slug = "secret-missing"

    def __init__(self, name: str, places: str) -> None:
        """places: where it may be put, for a person."""
        super().__init__(f"There is no secret {name!r}.", remedy=f"Put it into {places}.")


class SecretFieldMissing(SecretError):
    """The secret is known, but lacks a field."""

    slug = "secret-field-missing"

    def __init__(self, name: str, field: str) -> None:
        super().__init__(f"The secret {name!r} has no {field!r}.", remedy=f"Add {field} where the secret is kept.")


class SecretsFileRefused(SecretError):
    """`path` is there, and must not be trusted or cannot be read."""

    slug = "secrets-file-refused"

    def __init__(self, path: Path, reason: str, *, remedy: str | None = None) -> None:
        super().__init__(f"The secrets file {path} is refused: {reason}.", remedy=remedy)
        self.path = path


class LeaseError(StateError):
    """About who may write."""

    slug = "lease-error"


class LeaseHeld(LeaseError):
    """Another process writes to this state: on `host`, as `pid`, answering at `address` ("" if it does not listen)."""

    slug = "lease-held"

    def __init__(self, *, host: str, pid: int, address: str, epoch: int, seen: str) -> None:
        where = f" ({address})" if address else ""
        super().__init__(
            f"Another daemon holds this state: process {pid} on {host}{where}, epoch {epoch}, {seen}.",
            remedy=f"Use that one, stop it (on {host}: kill {pid}), or give this daemon another state bucket.",
        )
        self.host = host
        self.pid = pid
        self.address = address
        self.epoch = epoch


class LeaseLost(LeaseError):
    """A newer epoch exists; whoever holds `epoch` must stop writing at once."""

    slug = "lease-lost"

    def __init__(self, message: str, *, epoch: int, newer: int | None = None) -> None:
        super().__init__(message, remedy="Stop this process; the newer writer goes on with the same state.")
        self.epoch = epoch
        self.newer = newer


class CatalogCorrupt(StateError):
    """The log or a checkpoint cannot be folded: a gap, an unknown format, a damaged entry."""

    slug = "catalog-corrupt"


class StreamCorrupt(StateError):
    """A segment of a stream that is complete, yet unreadable."""

    slug = "stream-corrupt"


class RequestInvalid(StateError):
    """An operator's request with an unknown verb or without what its verb needs."""

    slug = "request-invalid"


class FailpointError(StateError):
    """Raised on purpose at a failpoint armed with "error"."""

    slug = "failpoint"


class ChangeRefused(StateError):
    """The change cannot follow the object's state; nothing was written. Observe again and decide anew."""

    slug = "change-refused"
    remedy = "Reconcile the object: it is observed again, and what is still missing is done."
