"""Upkeep: every stream has its turn, whatever becomes of the others."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from small_lake import BUCKET, Bench

from reconciler.settings import load_settings
from reconciler.upkeep import Upkeep, tell
from state import reasons
from state.errors import LeaseLost
from state.streams.compaction import Compaction
from state.streams.retention import Retention


@pytest.fixture
def lake(bench: Bench) -> Bench:
    bench.commit(BUCKET)
    bench.settle()
    for _ in range(2):
        bench.streams.append("errors", {"bucket": "b"})
        bench.streams.append("jobs", {"job": "j"})
        bench.streams.flush()
    bench.clock.advance(60 * 24 * 3600)
    return bench


def upkeep(lake: Bench, check: Any = lambda: None, **keep: str) -> Upkeep:
    settings = load_settings(f"retention: {{{', '.join(f'{name}: {value}' for name, value in keep.items())}}}".encode(), {})
    retention = Retention(lake.streams, check, partial(tell, lake.statuses))
    return Upkeep(Compaction(lake.streams, check), retention, settings.retention.of)


def objects(lake: Bench, stream: str) -> int:
    return len(lake.streams.extent(stream).stored)


def test_past_months_are_folded_and_expired_ones_removed(lake: Bench) -> None:
    upkeep(lake, errors="20d").run(lambda: True)
    assert (objects(lake, "errors"), objects(lake, "jobs")) == (0, 1)
    (event,) = lake.streams.read("events", where={"reason": reasons.EVENTS_EXPIRED})
    assert event["message"].startswith("errors of 2026-01 is older than it is to be kept and is removed: 2 events in 2 objects, ")


def test_a_stream_that_cannot_be_read_holds_up_no_other(lake: Bench, caplog: pytest.LogCaptureFixture) -> None:
    (bad, _) = (lake.folder / "lake/streams/errors/2026-01").iterdir()
    bad.write_bytes(b"nonsense")
    with caplog.at_level(logging.WARNING):
        upkeep(lake).run(lambda: True)
    assert "stream errors is left as it is for now" in caplog.text
    assert (objects(lake, "errors"), objects(lake, "jobs")) == (2, 1)


def test_a_lost_lease_ends_it(lake: Bench) -> None:
    def check() -> None:
        raise LeaseLost("over", epoch=1)

    with pytest.raises(LeaseLost):
        upkeep(lake, check).run(lambda: True)
    assert objects(lake, "jobs") == 2


def test_what_is_not_wanted_is_not_begun(lake: Bench) -> None:
    upkeep(lake, errors="20d").run(lambda: False)
    assert objects(lake, "errors") == 2


def test_kept_for_ever_by_default() -> None:
    retention = load_settings(b"retention: {audit: 90d, toolCalls: 1h}", {}).retention
    assert (retention.of("audit"), retention.of("tool_calls"), retention.of("events"), retention.of("status")) == (
        timedelta(days=90), timedelta(hours=1), None, None,
    )  # fmt: skip
