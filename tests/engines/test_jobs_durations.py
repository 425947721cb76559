"""What jobs took is remembered per kind, and is a hint: damage costs the memory, nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.jobs.durations import FLOOR, SAMPLES, Durations


def test_an_estimate_is_the_median_per_byte_times_the_bytes(tmp_path: Path) -> None:
    durations = Durations(tmp_path)
    assert durations.estimate("ingest", 10**6) is None
    for seconds in (1.0, 2.0, 100.0):
        durations.record("ingest", 10**6, seconds)
    assert durations.estimate("ingest", 2 * 10**6) == pytest.approx(4.0)
    assert durations.estimate("build", 10**6) is None


def test_small_jobs_cost_the_same_whatever_their_size(tmp_path: Path) -> None:
    durations = Durations(tmp_path)
    durations.record("ingest", 200, 0.004)
    assert durations.estimate("ingest", 0) == durations.estimate("ingest", FLOOR) == pytest.approx(0.004)


def test_they_outlive_the_process_and_old_ones_fade(tmp_path: Path) -> None:
    durations = Durations(tmp_path / "jobs")
    for _ in range(SAMPLES):
        durations.record("ingest", FLOOR, 1.0)
    for _ in range(SAMPLES):
        durations.record("ingest", FLOOR, 3.0)
    durations.save()
    assert Durations(tmp_path / "jobs").estimate("ingest", FLOOR) == pytest.approx(3.0)


@pytest.mark.parametrize("damage", ["", "[]", '{"ingest": 3}', '{"ingest": [[1]]}', "\x00"])
def test_damage_is_ignored(tmp_path: Path, damage: str) -> None:
    (tmp_path / "durations.json").write_text(damage)
    assert Durations(tmp_path).estimate("ingest", 1) is None
