"""What a response says when a bucket could not answer and its rescue bucket did, or nobody could.

Next: `state/reader.py`, where that happens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

USED, BUCKET = "X-Lakehouse-Rescue-Used", "X-Lakehouse-Rescue-Bucket"
LOST = "X-Lakehouse-Lost-Rows"

HEADERS: Mapping[str, str] = {
    USED: "`true` where a bucket could not give what was needed and its rescue bucket did.",
    BUCKET: "Then: the rescue buckets that answered.",
}
RESCUES = "Only where a bucket could not give what was needed: the rescue buckets that did."
"""What documents say the same by."""
LOST_HEADERS: Mapping[str, str] = {LOST: "Rows that no bucket has any more and the answer does without, as in `candidates=20000`."}


def rescue_headers(buckets: Sequence[str] | str | None) -> dict[str, str]:
    """buckets: that answered in another's place, if any did."""
    named = [buckets] if isinstance(buckets, str) else buckets
    return {USED: "true", BUCKET: ", ".join(named)} if named else {}


def lost_headers(lost: Mapping[str, int]) -> dict[str, str]:
    """lost: rows that the answer does without, by Dataset."""
    return {LOST: ", ".join(f"{name}={rows}" for name, rows in sorted(lost.items()))} if lost else {}
