"""How long a failed key waits: exponential, jittered, capped. Only retries wait; changes never do."""

import random
from dataclasses import dataclass

from specs.resource import Key


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """First delay and cap in seconds; `jitter` is the share by which a delay may shrink, in [0, 1]."""

    first: float = 0.5
    cap: float = 300.0
    jitter: float = 0.5


class Backoff:
    """Counts failures a key; randomness is passed in so that tests are exact."""

    def __init__(self, policy: BackoffPolicy, random_source: random.Random) -> None:
        self._policy = policy
        self._random = random_source
        self._failures: dict[Key, int] = {}

    def next_delay(self, key: Key) -> float:
        """Notes one more failure; returns the seconds to wait."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        # the exponent is bounded so that a key that failed for a month does not overflow
        delay = min(self._policy.cap, self._policy.first * 2.0 ** min(failures - 1, 32))
        return delay * (1 - self._policy.jitter * self._random.random())

    def failures(self, key: Key) -> int:
        """Failures in a row."""
        return self._failures.get(key, 0)

    def forget(self, key: Key) -> None:
        """The key succeeded, or is gone."""
        self._failures.pop(key, None)
