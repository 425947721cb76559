"""Event ids: ULIDs that never go backwards in one process, so that order by id is order of appending.

The first 48 bits are milliseconds since 1970, the other 80 are random; within one millisecond, or while the clock is
behind an id already seen (`floor`), the next id is the last one plus a small random step. The fold of statuses needs
that: the newest id of an object is its newest state, whatever the clock does. `ulid` is not imported: it takes its
own time and 40 ms of start-up.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock

from state.timestamps import Clock

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 26
LOWEST = "0" * LENGTH
HIGHEST = "7" + "Z" * (LENGTH - 1)
ABOVE = "8"
"""Sorts after every id."""

_SHAPE = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_PAIRS = tuple(a + b for a in ALPHABET for b in ALPHABET)
_VALUES = {character: value for value, character in enumerate(ALPHABET)}


def is_id(text: str) -> bool:
    """Whether `text` is a ULID in capitals, as this module writes them."""
    return _SHAPE.fullmatch(text) is not None


def encode(number: int) -> str:
    """A 128-bit number as 26 characters of Crockford's base 32."""
    pairs = [_PAIRS[(number >> shift) & 1023] for shift in range(120, -1, -10)]
    return "".join(pairs)


def decode(text: str) -> int:
    """The number behind an id; `text` must satisfy `is_id`."""
    number = 0
    for character in text:
        number = number << 5 | _VALUES[character]
    return number


def first_at(at: datetime) -> str:
    """The lowest id of the millisecond of `at`: ids from then on are not below it."""
    return encode(_milliseconds(at) << 80)


def _milliseconds(at: datetime) -> int:
    return min(max((at - _EPOCH) // _MILLISECOND, 0), (1 << 48) - 1)


def instant(text: str) -> datetime:
    """The millisecond an id was made in; the calendar's last one for an id of later, which anybody can write."""
    return _EPOCH + min(decode(text) >> 80, _LAST_MILLISECOND) * _MILLISECOND


def month(text: str) -> str:
    """`yyyy-mm` of an id, in UTC."""
    return instant(text).strftime("%Y-%m")


def month_bounds(text: str) -> tuple[str, str]:
    """The first and the last id of a month `yyyy-mm`."""
    year, number = int(text[:4]), int(text[5:])
    following = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return first_at(datetime(year, number, 1, tzinfo=UTC)), encode(decode(first_at(following)) - 1)


def following(text: str) -> str:
    """The id after `text`: as `since` it means "after this one"."""
    return encode(decode(text) + 1)


def preceding(text: str) -> str:
    """The id before `text`."""
    return encode(max(decode(text) - 1, 0))


class Ulids:
    """A source of ids; thread-safe. `randomness(n)` gives n bytes."""

    def __init__(self, clock: Clock, randomness: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock
        self._randomness = randomness
        self._last = 0
        self._lock = Lock()

    def __call__(self) -> str:
        """The next id, above every one given before and every floor."""
        milliseconds = _milliseconds(self._clock())
        with self._lock:
            if milliseconds > self._last >> 80:
                self._last = milliseconds << 80 | int.from_bytes(self._randomness(10)) >> 1
            else:
                self._last += 1 + int.from_bytes(self._randomness(4))
            return encode(self._last)

    def floor(self, lowest: str) -> None:
        """From now on only ids above `lowest`."""
        with self._lock:
            self._last = max(self._last, decode(lowest))


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = datetime.resolution * 1000
_LAST_MILLISECOND = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND
