"""Copies objects to a mirror: the job behind `rescue: {mirror: true}`.

Each object is written aside, compared with what the catalog says of it, then put; one that is not what it should be is left out and named,
so that a damaged original never takes the place of a good copy. What was copied is there, so a job that is cut off is resumed by
copying what is still missing. Next: `state/mirrors.py`, which says what that is.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engines.jobs.job import Progress
from state.buckets import job_store
from state.errors import ObjectCorrupt, ObjectExists, ObjectMissing
from state.failures import failures_here
from state.local_files import storage_error
from state.mirrors import Copy
from state.objects import ObjectStore
from state.places import BucketConfig

AT_ONCE = 4

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MirrorTask:
    """What is copied, from where to where."""

    source: BucketConfig
    target: BucketConfig
    copies: tuple[Copy, ...]

    @property
    def size(self) -> int:
        """Bytes to be copied."""
        return sum(copy.size for copy in self.copies)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {"source": self.source.to_dict(), "target": self.target.to_dict(), "copies": [asdict(copy) for copy in self.copies]}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> MirrorTask:
        """Raises KeyError or TypeError for what `to_dict` does not make."""
        copies = tuple(Copy(**copy) for copy in document["copies"])
        return cls(BucketConfig.from_dict(document["source"]), BucketConfig.from_dict(document["target"]), copies)


def run(arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """A `MirrorTask` in; out come the keys that were `damaged`. progress: in bytes. Blocking.

    Raises BucketUnavailable and DiskFull; what was copied by then is there.
    """
    task = MirrorTask.from_dict(arguments)
    source, target, failures = job_store(task.source), job_store(task.target), failures_here()
    tally, lock = 0, threading.Lock()

    def copied(copy: Copy) -> str | None:
        nonlocal tally
        fault = _copy(source, target, copy)
        if fault is not None:
            failures.record(source.name, "get", copy.key, fault)
        with lock:
            tally += copy.size
            progress(tally, task.size)
        return None if fault is None else copy.key

    # What refers to others comes last, and not before they are there.
    with ThreadPoolExecutor(AT_ONCE) as threads:
        damaged = [key for key in threads.map(copied, [copy for copy in task.copies if not copy.refers]) if key is not None]
    damaged += [key for key in map(copied, [copy for copy in task.copies if copy.refers]) if key is not None]
    return {"damaged": damaged}


def _copy(source: ObjectStore, target: ObjectStore, copy: Copy) -> ObjectCorrupt | None:
    """What is wrong with the object; None if it was copied, or is gone meanwhile. Raises what the stores raise."""
    staged = target.stage()
    try:
        found = _fetch(source, copy.key, staged)
        if copy.sha256 not in (None, found):
            return ObjectCorrupt(source.name, copy.key, expected=f"sha256 {copy.sha256}", found=f"sha256 {found}")
        target.put_file(copy.key, staged, if_absent=not copy.replaces)
    except (ObjectMissing, ObjectExists) as error:
        _log.debug("nothing to copy any more: %s", error)
    except OSError as error:
        raise storage_error(error, bucket=target.name, operation="stage", path=staged) from error
    finally:
        staged.unlink(missing_ok=True)
    return None


def _fetch(source: ObjectStore, key: str, staged: Path) -> str:
    """Writes the object to a file; the SHA-256 of what came."""
    digest = hashlib.sha256()
    opened = source.open(key)
    with closing(opened.pieces), staged.open("wb") as file:
        for piece in opened.pieces:
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()
