"""When a source is due: slots of a schedule, honoured once each, at instants that a name decides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.dataset.refresh import CRON_JITTER, slot
from specs.kinds.dataset_rules import Refresh
from state.timestamps import from_iso, iso

NOW = datetime(2026, 3, 4, 2, 30, 0, tzinfo=UTC)
names = st.text("abc-", min_size=1, max_size=8)
instants = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds
schedules = st.sampled_from(
    [
        Refresh(every="1h"),
        Refresh(every="7s"),
        Refresh(cron="0 2 * * *"),
        Refresh(every="1d", cron="*/5 * * * 1-5"),
        Refresh(cron="0 0 29 2 *"),
    ]
)


@given(names, schedules, instants)
def test_a_slot_is_due_once_and_the_next_one_after_the_seconds_told(name: str, refresh: Refresh, now: datetime) -> None:
    first = slot(name, refresh, "", "", now)
    assert first.due
    assert from_iso(first.at) <= now
    assert not slot(name, refresh, first.at, "", now).due
    assert first.seconds is not None
    assert not slot(name, refresh, first.at, "", now + timedelta(seconds=first.seconds / 2)).due
    after = slot(name, refresh, first.at, "", now + timedelta(seconds=first.seconds, milliseconds=2))
    assert after.due
    assert after.at > first.at


@given(names, schedules, instants)
def test_what_was_missed_is_due_once(name: str, refresh: Refresh, now: datetime) -> None:
    first = slot(name, refresh, "", "", now)
    late = slot(name, refresh, first.at, "", now + timedelta(days=4000))
    assert late.due
    assert not slot(name, refresh, late.at, "", now + timedelta(days=4000)).due


def test_every_spreads_by_name_and_stays_for_a_name() -> None:
    found = {name: slot(name, Refresh(every="1h"), "", "", NOW) for name in ("a", "b", "c", "d")}
    assert len({one.at for one in found.values()}) == 4
    later = slot("a", Refresh(every="1h"), "", "", NOW + timedelta(hours=5))
    assert from_iso(later.at) - from_iso(found["a"].at) == timedelta(hours=5)


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_cron_is_late_by_its_jitter_at_most(name: str) -> None:
    at = from_iso(slot(name, Refresh(cron="0 2 * * *"), "", "", NOW).at)
    assert timedelta() <= at - NOW.replace(hour=2, minute=0) < CRON_JITTER


def test_nothing_is_due_by_itself_without_a_schedule() -> None:
    assert slot("a", Refresh(), "", "", NOW) == slot("a", Refresh(), "", "", NOW + timedelta(days=1))
    assert not slot("a", Refresh(), "", "", NOW).due


def test_an_operators_word_is_a_slot() -> None:
    asked = slot("a", Refresh(), "", iso(NOW), NOW)
    assert (asked.at, asked.due, asked.seconds) == (iso(NOW), True, None)
    assert not slot("a", Refresh(), iso(NOW), iso(NOW), NOW).due
    scheduled = slot("a", Refresh(every="1h"), iso(NOW), "", NOW)
    assert (scheduled.at, scheduled.due) == (iso(NOW), False)
