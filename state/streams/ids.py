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
    since = at - _EPOCH  # not divided by a millisecond, which takes twice as long
    return min(max(since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000, 0), (1 << 48) - 1)


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


class Randomness:
    """Random bytes of the system, asked for many at a time: the call lets other threads run, who then all wait for the next id.

    Used under the lock of `Ulids`. A forked child begins anew, lest it gives the ids of its parent.
    """

    def __init__(self) -> None:
        self._bytes, self._at, self._process = b"", 0, 0

    def __call__(self, count: int) -> bytes:
        """The next ones."""
        if self._at + count > len(self._bytes) or self._process != os.getpid():
            self._bytes, self._at, self._process = os.urandom(4096), 0, os.getpid()
        self._at += count
        return self._bytes[self._at - count : self._at]


class Ulids:
    """A source of ids; thread-safe. `randomness(n)` gives n bytes."""

    def __init__(self, clock: Clock, randomness: Callable[[int], bytes] | None = None) -> None:
        self._clock = clock
        self._randomness = randomness or Randomness()
        self._last = 0
        self._high, self._prefix = -1, ""  # of the last id: its first 14 characters are seldom others
        self._lock = Lock()

    def __call__(self) -> str:
        """The next id, above every one given before and every floor."""
        milliseconds = _milliseconds(self._clock())
        with self._lock:
            if milliseconds > self._last >> 80:
                self._last = milliseconds << 80 | int.from_bytes(self._randomness(10)) >> 1
            else:
                self._last += 1 + int.from_bytes(self._randomness(4))
            return self._encoded(self._last)

    def floor(self, lowest: str) -> None:
        """From now on only ids above `lowest`."""
        with self._lock:
            self._last = max(self._last, decode(lowest))

    def _encoded(self, number: int) -> str:
        """As `encode`, in half the time."""
        if number >> 60 != self._high:
            text = encode(number)
            self._high, self._prefix = number >> 60, text[:14]
            return text
        return (
            f"{self._prefix}{_PAIRS[number >> 50 & 1023]}{_PAIRS[number >> 40 & 1023]}{_PAIRS[number >> 30 & 1023]}"
            f"{_PAIRS[number >> 20 & 1023]}{_PAIRS[number >> 10 & 1023]}{_PAIRS[number & 1023]}"
        )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = datetime.resolution * 1000
_LAST_MILLISECOND = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND
