"""Results of jobs on disk, one file each, so that what a former process finished is not done again.

Written durably by the worker before it reports, kept until the caller has used it and forgets it. A file that cannot be read is no
result: the job runs again. Refuses to keep failures: they end with the process. Next: `state/local_store.py`, which writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from state.local_store import LocalStore

FORMAT = 1
_PREFIX = "result-"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Stored:
    """A result that was found; `value` may be None."""

    value: Any


class JobResults:
    """The results below one folder. Thread-safe; blocking; any number of processes."""

    def __init__(self, directory: Path) -> None:
        """directory: made by the first write."""
        self._directory = directory
        self._store = LocalStore(directory, "job results")

    def write(self, job_id: str, value: Any) -> None:
        """Durable on return. Raises TypeError or ValueError if JSON cannot hold the value, DiskFull and the like."""
        self._store.put(_name(job_id), json.dumps({"format": FORMAT, "result": value}, allow_nan=False).encode())

    def read(self, job_id: str) -> Stored | None:
        """None if there is none."""
        path = self._path(job_id)
        try:
            document = json.loads(path.read_bytes())
            return Stored(document["result"]) if document["format"] == FORMAT else None
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
            return None

    def values(self) -> Iterator[Any]:
        """Every result that waits for its caller, of whatever process. One that cannot be read is none."""
        for info in self._store.list(_PREFIX):
            stored = self.read(info.key.removeprefix(_PREFIX).removesuffix(".json"))
            if stored is not None:
                yield stored.value

    def forget(self, job_id: str) -> None:
        """No error if there is none. Not durable: a result that reappears is only found again."""
        self._path(job_id).unlink(missing_ok=True)

    def sweep(self, older_than: float, clock: Callable[[], float]) -> int:
        """Remove results that nobody has asked for in `older_than` seconds, and leftovers of dead processes; returns how many results."""
        self._store.sweep_staging()
        old = [info.key for info in self._store.list(_PREFIX) if info.modified < clock() - older_than]
        for key in old:
            self._store.delete(key)
        return len(old)

    def _path(self, job_id: str) -> Path:
        return self._directory / _name(job_id)


def _name(job_id: str) -> str:
    """Raises ValueError: an id that is no digest would name a file elsewhere."""
    if not _ID.fullmatch(job_id):
        message = f"{job_id!r} is no job id: letters, digits, `.`, `_` and `-` only."
        raise ValueError(message)
    return f"{_PREFIX}{job_id}.json"
