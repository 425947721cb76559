"""Retries wait longer each time, exactly as policy and seed say."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.backoff import Backoff, BackoffPolicy
from specs.resource import Key

A, B = Key("Dataset", "a"), Key("Dataset", "b")


def test_doubles_to_the_cap_without_jitter() -> None:
    backoff = Backoff(BackoffPolicy(first=0.5, cap=10, jitter=0), random.Random(0))
    assert [backoff.next_delay(A) for _ in range(7)] == [0.5, 1, 2, 4, 8, 10, 10]
    assert backoff.failures(A) == 7


def test_is_exact_with_a_seed() -> None:
    backoff = Backoff(BackoffPolicy(), random.Random(7))
    expected = random.Random(7)
    assert [backoff.next_delay(A) for _ in range(4)] == [0.5 * 2**n * (1 - 0.5 * expected.random()) for n in range(4)]


def test_keys_are_counted_apart_and_forgotten() -> None:
    backoff = Backoff(BackoffPolicy(jitter=0), random.Random(0))
    backoff.next_delay(A)
    backoff.next_delay(A)
    assert backoff.next_delay(B) == 0.5
    backoff.forget(A)
    backoff.forget(A)
    assert backoff.failures(A) == 0
    assert backoff.next_delay(A) == 0.5


def test_a_key_that_failed_for_a_month_does_not_overflow() -> None:
    backoff = Backoff(BackoffPolicy(jitter=0), random.Random(0))
    for _ in range(5000):
        delay = backoff.next_delay(A)
    assert delay == 300


@given(first=st.floats(0.01, 5), cap=st.floats(5, 1000), jitter=st.floats(0, 1), seed=st.integers(0, 99), times=st.integers(1, 60))
def test_stays_within_its_bounds(first: float, cap: float, jitter: float, seed: int, times: int) -> None:
    backoff = Backoff(BackoffPolicy(first, cap, jitter), random.Random(seed))
    for number in range(times):
        whole = min(cap, first * 2.0 ** min(number, 32))
        assert whole * (1 - jitter) <= backoff.next_delay(A) <= whole == pytest.approx(whole)
