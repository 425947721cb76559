"""SHA-256 of files and bytes, in the one spelling that references record: 64 lowercase hex digits.

Refuses nothing; a file that cannot be read raises its OSError. Next: `objects.py`, which carries the digests.
"""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256_file(path: Path) -> str:
    """Blocking; constant memory; releases the GIL while it hashes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_bytes(data: bytes) -> str:
    """The same for bytes in memory."""
    return hashlib.sha256(data).hexdigest()
