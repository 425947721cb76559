"""Durations as people write them: `30s`, `10m`, `1h30m`, `7d`, `250ms`.

A bare number is refused, because seconds and minutes look the same. Months and years are refused, because they have no
fixed length.
"""

from __future__ import annotations

import re
from datetime import timedelta

from specs.errors import SpecInvalid

PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d|w))+$"
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)")
_WHOLE = re.compile(PATTERN)
_MICROSECONDS = {"w": 604_800_000_000, "d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000}
_LONGEST = timedelta(days=36_500)


class DurationInvalid(SpecInvalid):
    """A text that is not a duration."""

    slug = "duration-invalid"


def parse_duration(text: str) -> timedelta:
    """The length of `text`, at most 100 years. Raises DurationInvalid."""
    if len(text) > 64 or not _WHOLE.fullmatch(text):
        raise DurationInvalid(f"`{text[:64]}` is not a duration.", remedy="Write it with a unit, as in 30s, 10m, 1h30m or 7d.")
    micros = sum(float(number) * _MICROSECONDS[unit] for number, unit in _PART.findall(text))
    if micros > _LONGEST / timedelta(microseconds=1):
        raise DurationInvalid(f"`{text}` is longer than 100 years.", remedy="Write a shorter duration.")
    return timedelta(microseconds=round(micros))


def format_duration(length: timedelta) -> str:
    """The shortest exact text of a length of at least 0, as in `1h30m`; what is under a millisecond is dropped."""
    rest = length // timedelta(microseconds=1)
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, _MICROSECONDS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
