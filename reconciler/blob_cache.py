"""Parsed spec files by blob id, so that a restart parses only what it never saw.

One file, rewritten whole and atomically when enough is new. It is a cache: a missing, torn or older one is an empty one.
"""

import contextlib
from pathlib import Path

import orjson

from specs.parse import ParsedFile

_FORMAT = 1


class BlobCache:
    """Used by one thread at a time. `version` names the code that parses: another version's entries are ignored."""

    def __init__(self, path: Path | None, version: str) -> None:
        self._path = path
        self._header = [_FORMAT, version]
        self._records: dict[str, list[object]] = self._load()
        self._used: dict[str, list[object]] = {}
        self._new = 0

    def get(self, path: str, blob: str) -> ParsedFile | None:
        """What the blob holds, if it was parsed before under this path."""
        name = f"{blob} {path}"
        record = self._used.get(name) or self._records.get(name)
        if record is None:
            return None
        try:
            found = ParsedFile.from_record(record, path)
        except (ValueError, TypeError, LookupError):
            # another's, or damaged: as good as none
            return None
        self._used[name] = record
        return found

    def put(self, blob: str, parsed: ParsedFile) -> None:
        """Remembers a parsed file."""
        self._used[f"{blob} {parsed.path}"] = parsed.to_record()
        self._new += 1

    def save(self) -> None:
        """Writes what this process used, if a tenth of that is new; a full disk costs the cache, nothing else. Blocking."""
        if self._path is None or self._new == 0 or self._new * 10 < len(self._used):
            return
        staged = self._path.with_suffix(".tmp")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            staged.write_bytes(orjson.dumps([self._header, self._used]))
            staged.replace(self._path)
            self._new = 0

    def _load(self) -> dict[str, list[object]]:
        if self._path is None:
            return {}
        try:
            header, records = orjson.loads(self._path.read_bytes())
        except (OSError, ValueError, TypeError):
            return {}
        return records if header == self._header and isinstance(records, dict) else {}
