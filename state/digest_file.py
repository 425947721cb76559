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


def sha256_bytes(data: bytes) -> str:
    """The same for bytes in memory."""
    return hashlib.sha256(data).hexdigest()
