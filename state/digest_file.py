"""SHA-256 of files and bytes, in the one spelling that references record: 64 lowercase hex digits.

Refuses nothing; a file that cannot be read raises its OSError. Next: `objects.py`, which carries the digests.
"""

from __future__ import annotations

import hashlib
from os import PathLike

_PIECE = 256 * 1024


def sha256_file(path: str | PathLike[str]) -> str:
    """Blocking; constant memory; releases the GIL while it hashes."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  (the same call; a Path of each of ten thousand would cost more)
        # not `hashlib.file_digest`, which clears a buffer of this size first: of a small file that is most of the time
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


class GrowingFile:
    """The digest of a file that is appended to and never changed: taken while it grows, so that little is left to do at its end.

    Blocking; releases the GIL while it hashes. Not thread-safe.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        """path: of a file that is there. Raises OSError."""
        self._file = open(path, "rb", buffering=0)  # noqa: PTH123, SIM115  (as above; open until `close`)
        self._digest = hashlib.sha256()

    def follow(self) -> None:
        """Takes what was appended since. Raises OSError."""
        while piece := self._file.read(_PIECE):
            self._digest.update(piece)

    def close(self) -> str:
        """The digest of what was there when it was followed last."""
        self._file.close()
        return self._digest.hexdigest()


def sha256_bytes(data: bytes) -> str:
    """The same for bytes in memory."""
    return hashlib.sha256(data).hexdigest()
