"""Ten thousand ways to go wrong, each by its seed: nothing acknowledged is lost or doubled, and nobody sees half of anything.

`make test` plays the first few hundred, `make soak` all. A seed that fails says so, with the turns that led there, and fails again when it
is played alone: `python -m bench.fault_schedules --first 4711 --count 1`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from harness_world import play, play_all

OFTEN = 300
ALL = 10_000
CHUNK = 500

FAULTS = {
    *(f"{operation}: {fault}" for operation in ("put", "delete", "get", "list") for fault in ("before", "after", "twice", "slow", "died")),
    *("put: late", "list: broke off", "killed", "killed after the operation", "killed by a power cut", "put to sleep", "fenced"),
    *("write: failed", "write: half done", "fsync: failed", "fdatasync: failed", "link: failed", "replace: failed", "unlink: failed"),
}
"""What has to come up among the first ones."""


def test_no_fault_breaks_an_invariant() -> None:
    counts, violations = play_all(range(OFTEN))
    assert not violations, violations[0]
    assert counts.keys() >= FAULTS


@pytest.mark.soak
@pytest.mark.parametrize("first", range(OFTEN, ALL, CHUNK))
def test_no_fault_breaks_an_invariant_for_long(first: int) -> None:
    _, violations = play_all(range(first, min(first + CHUNK, ALL)))
    assert not violations, violations[0]


def test_a_seed_tells_the_same_story_again(quick_path: Path) -> None:
    (quick_path / "deeper" / "there").mkdir(parents=True)
    for seed in range(8):
        assert play(seed, quick_path).story == play(seed, quick_path / "deeper" / "there").story
