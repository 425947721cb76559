"""Parsed spec files by blob id, so that a restart parses only what it never saw.

One file, rewritten whole and atomically by the one writer of the state when enough is new; others only read it. It is a
cache: a missing, torn or older one is an empty one.
"""

import contextlib
from pathlib import Path

import orjson

from specs.parse import ParsedFile

_FORMAT = 1
_KEPT = 21
"""Contents kept of one file: the newest, and the former ones in which `reconciler.world` looks for the last good one."""


class BlobCache:
    """Used by one thread at a time.

    Args:
        path: the file; None for a cache that nobody keeps.
        version: names the code that parses: another version's entries are ignored.
        writes: whether `save` may write it. A reader sees other files than the writer (a working tree), and would put them in their place.
    """

    def __init__(self, path: Path | None, version: str, *, writes: bool = True) -> None:
        self._path = path
        self._writes = writes and path is not None
        self._header = [_FORMAT, version]
        self._records: dict[str, list[object]] = self._load()
        self._used: dict[str, dict[str, list[object]]] = {}
        self._new = 0

    def get(self, path: str, blob: str) -> ParsedFile | None:
        """What the blob holds, if it was parsed before under this path."""
        record = self._used.get(path, {}).get(blob) or self._records.pop(_name(blob, path), None)
        if record is None:
            return None
        try:
            found = ParsedFile.from_record(record, path)
        except (ValueError, TypeError, LookupError):
            # another's, or damaged: as good as none
            return None
        self._use(path, blob, record)
        return found

    def put(self, blob: str, parsed: ParsedFile) -> None:
        """Remembers a parsed file."""
        self._use(parsed.path, blob, parsed.to_record())
        self._new += 1

    def forget(self, path: str) -> None:
        """Lets go of a file that is gone."""
        self._used.pop(path, None)

    def save(self) -> None:
        """Writes what this process used, if a tenth of that is new; a full disk costs the cache, nothing else. Blocking."""
        if self._path is None or not self._writes or self._new == 0 or self._new * 10 < sum(map(len, self._used.values())):
            return
        records = {_name(blob, path): record for path, blobs in self._used.items() for blob, record in blobs.items()}
        staged = self._path.with_suffix(".tmp")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            staged.write_bytes(orjson.dumps([self._header, records]))
            staged.replace(self._path)
            self._new = 0

    def _use(self, path: str, blob: str, record: list[object]) -> None:
        blobs = self._used.setdefault(path, {})
        blobs.pop(blob, None)
        blobs[blob] = record  # last: the one used latest
        if len(blobs) > _KEPT:
            del blobs[next(iter(blobs))]

    def _load(self) -> dict[str, list[object]]:
        if self._path is None:
            return {}
        try:
            header, records = orjson.loads(self._path.read_bytes())
        except (OSError, ValueError, TypeError):
            return {}
        return records if header == self._header and isinstance(records, dict) else {}


def _name(blob: str, path: str) -> str:
    return f"{blob} {path}"
