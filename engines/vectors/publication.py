"""Putting finished files into a bucket: staged on the store's own filesystem, hashed, moved, referred to. Next: `state/objects.py`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from state.digest_file import sha256_file
from state.local_files import storage_error
from state.objects import ObjectRef, ObjectStore


def publish(store: ObjectStore, key: str, staged: Path) -> ObjectRef:
    """Move a file made by store.stage() to its key, over whatever is there, and say what it is. Durable on return. Blocking."""
    size, digest = staged.stat().st_size, sha256_file(staged)
    store.put_file(key, staged)
    return ObjectRef(store.name, key, size, digest)


@contextmanager
def storing(bucket: str, path: Path) -> Iterator[None]:
    """Translates an OSError of writing below path into DiskFull or BucketUnavailable."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, bucket=bucket, operation="stage", path=path) from error
