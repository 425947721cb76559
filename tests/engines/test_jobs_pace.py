"""How fast a job is, and when it ends: by its own progress, from where it began this time."""

from __future__ import annotations

from datetime import UTC, datetime

from engines.jobs.entry import Entry
from engines.jobs.job import Job, Queued, Running

JOB = Job("j", "embed", "m:f", {}, 1, "Index/i")


def entry(*reports: tuple[int, float], total: int = 1000) -> Entry:
    made = Entry(JOB, "{}")
    made.start(datetime(2026, 1, 1, tzinfo=UTC), 100.0)
    for done, at in reports:
        made.progress(done, total, at)
    return made


def state(made: Entry, now: float, estimate: float | None = None) -> Running:
    found = made.state(0, now, estimate)
    assert isinstance(found, Running)
    return found


def test_a_job_that_goes_on_from_a_former_run_is_as_fast_as_it_is_now() -> None:
    running = state(entry((900, 101.0), (920, 103.0)), 103.0)
    assert (running.rate, running.eta, running.share) == (10.0, 8.0, 0.92)


def test_a_first_report_tells_no_rate_since_it_may_be_what_a_former_run_has_done() -> None:
    running = state(entry((900, 101.0)), 105.0)
    assert (running.rate, running.eta, running.share) == (None, None, 0.9)
    assert state(entry((900, 101.0)), 105.0, estimate=20.0).eta == 15.0


def test_before_any_report_others_say_how_long_it_takes() -> None:
    assert state(entry(), 104.0, estimate=10.0).eta == 6.0
    running = state(entry((0, 101.0)), 104.0, estimate=2.0)
    assert (running.rate, running.eta) == (None, 0.0)


def test_a_message_tells_the_rate_where_there_is_a_unit() -> None:
    running = state(entry((0, 100.0), (420, 102.0)), 102.0)
    assert running.describe() == "42 %, about 3 s left"
    assert running.describe("texts") == "42 %, 210 texts/s, about 3 s left"
    assert state(entry(), 101.0).describe("texts") == "running"
    assert Queued(1).describe("texts") == "queued behind 1 job"
