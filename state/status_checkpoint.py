"""Checkpoints of the status fold: every object's newest line up to an id, in one object, so that starting reads no history.

    status/checkpoints/<through>.jsonl      {"format", "through", "count", "crc32"} LF, then `object TAB event LF` each

`through` is an id: every event up to it is folded in, later ones are read from the stream. A checkpoint is a shortcut,
never the truth: one that is damaged is passed over for the one before, and without any the whole stream is folded.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from zlib import crc32

import orjson

from state.errors import ObjectExists, ObjectMissing
from state.failpoints import declare, hit
from state.objects import ObjectStore
from state.streams.ids import is_id

PREFIX = "status/checkpoints/"
FORMAT = 1
KEPT = 2

WRITTEN = declare("status.checkpoint-written")


@dataclass(frozen=True, slots=True)
class StatusCheckpoint:
    """`lines`: by object, the JSON of its newest status event with an id up to `through`."""

    through: str
    lines: Mapping[str, bytes]


def write(store: ObjectStore, checkpoint: StatusCheckpoint) -> None:
    """Puts the checkpoint and removes all but the newest few. One of the same `through` stays as it is. Blocking."""
    body = b"".join([b"%b\t%b\n" % (name.encode(), line) for name, line in checkpoint.lines.items()])
    head = {"format": FORMAT, "through": checkpoint.through, "count": len(checkpoint.lines), "crc32": crc32(body)}
    with suppress(ObjectExists):
        store.put(f"{PREFIX}{checkpoint.through}.jsonl", orjson.dumps(head) + b"\n" + body, if_absent=True)
    hit(WRITTEN)
    for key in _keys(store)[KEPT:]:
        store.delete(key)


def newest(store: ObjectStore) -> StatusCheckpoint | None:
    """The newest checkpoint that is whole, or None. Blocking."""
    return next((found for key in _keys(store) if (found := _read(store, key)) is not None), None)


def _read(store: ObjectStore, key: str) -> StatusCheckpoint | None:
    try:
        return _decode(store.get(key))
    except ObjectMissing:  # a writer has made newer ones since it was listed
        return None


def _keys(store: ObjectStore) -> list[str]:
    """Newest first."""
    return sorted((info.key for info in store.list(PREFIX)), reverse=True)


def _decode(data: bytes) -> StatusCheckpoint | None:
    first, _, body = data.partition(b"\n")
    try:
        head = orjson.loads(first)
    except orjson.JSONDecodeError:
        return None
    if (
        not isinstance(head, dict)
        or head.get("format") != FORMAT
        or not is_id(str(head.get("through")))
        or head.get("crc32") != crc32(body)
    ):
        return None
    pairs = [line.partition(b"\t") for line in body.split(b"\n")[:-1]]
    if head.get("count") != len(pairs):
        return None
    return StatusCheckpoint(head["through"], {name.decode(): line for name, _, line in pairs})
