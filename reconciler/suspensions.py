"""Suspensions as operators ask for them: when one ends, and which are in force by the stream of requests alone; pure.

The catalog knows them; this is for who asks for one, and for the day that the catalog is lost.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import orjson

from specs.durations import parse_duration
from state.catalog.entry import Suspended
from state.timestamps import from_iso, iso


def end_of(payload: Mapping[str, Any], asked: datetime) -> str | None:
    """When a suspension asked for then ends by itself, None: when it is resumed. Raises DurationInvalid, ValueError, OverflowError."""
    if payload.get("for") is not None:
        return iso(asked + parse_duration(str(payload["for"])))
    return None if payload.get("until") is None else iso(from_iso(str(payload["until"])))


def in_force(requests: Iterable[Mapping[str, Any]], now: datetime) -> dict[str, Suspended]:
    """By object. requests: rows of the stream `requests`, oldest first."""
    found: dict[str, Suspended] = {}
    for row in requests:
        if row["outcome"] != "done":
            continue
        if row["verb"] == "resume":
            found.pop(row["object"], None)
        elif row["verb"] == "suspend":
            until = end_of(orjson.loads(row["payload"] or "{}"), from_iso(row["at"]))
            found[row["object"]] = Suspended(row["object"], row["actor"], row["reason"], until)
    return {object_: held for object_, held in found.items() if held.until is None or from_iso(held.until) > now}
