"""What a response says when a bucket could not answer and its rescue bucket did. Next: `state/reader.py`, where that happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

USED, BUCKET = "X-Lakehouse-Rescue-Used", "X-Lakehouse-Rescue-Bucket"

HEADERS: Mapping[str, str] = {
    USED: "`true` where a bucket could not give what was needed and its rescue bucket did.",
    BUCKET: "Then: the rescue buckets that answered.",
}


def rescue_headers(buckets: Sequence[str] | str | None) -> dict[str, str]:
    """buckets: that answered in another's place, if any did."""
    named = [buckets] if isinstance(buckets, str) else buckets
    return {USED: "true", BUCKET: ", ".join(named)} if named else {}
