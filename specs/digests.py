"""Digests of plain data: equal meaning, equal digest, whatever the order in which keys were written.

Defaults are left out before digesting (by the callers), so that a field added in a later version changes no digest and
rebuilds nothing.
"""

from __future__ import annotations

import hashlib
import json

DIGEST_CHARACTERS = 32


def canonical_json(data: object) -> bytes:
    """JSON as ASCII with sorted keys and no spaces. Raises ValueError for NaN and infinities, TypeError for other types."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def digest(data: object) -> str:
    """The first 32 hex characters of the SHA-256 over the canonical JSON."""
    return hashlib.sha256(canonical_json(data)).hexdigest()[:DIGEST_CHARACTERS]
