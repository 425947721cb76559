"""kill -9 at every named instant: after a restart the lake is what it would have been without.

Each case plays the whole life of a small lakehouse (`harness_scenario.py`) with a daemon that dies at one failpoint, and compares the lake
with that of an undisturbed life: the same rows, files, bindings and builds by their inputs, hits as near as the exact ones, no event
twice, no object that nothing refers to. Some deaths come always, several in a life; all of them with `make soak`, each in its own.
"""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from harness_daemon import ROOT, Daemons, Repository
from harness_facts import doubled_events, events, facts, leftovers, missing, recall, unreferred
from harness_scenario import Life, live

from state import failpoints

LEAST_RECALL = 0.97

OFTEN = (
    {"dataset.before-commit": 1, "tail.stored": 1, "migration.before-commit": 1},
    {"catalog.after-put": 6, "index.after-serve": 2, "discards.noted": 1},
    {"lexical.stored": 1, "jobs.result-written": 2, "local-store.linked": 20},
)
"""The lives of every `make test`: failpoints in the order of the deaths, and at which hit of a process."""

ONCE = frozenset(
    (
        "catalog.after-manifest",
        "catalog.before-manifest",
        "catalog.before-checkpoint-delete",
        "corpus.part-kept",
        "folding.after-commit",
        "folding.before-commit",
        "follow.before-inventory",
        "index.before-lexical-entry",
        "lease.claimed",
        "lexical.stored",
        "migration.after-commit",
        "migration.before-commit",
        "status.checkpoint-written",
        "streams.adopting",
    )
)
"""What one process of this life comes by at most once."""

LATER = {
    "catalog.after-put": 9,
    "catalog.before-put": 9,
    "lease.before-heartbeat": 2,
    "local-store.linked": 25,
    "local-store.staged": 25,
    "loop.after-status": 9,
    "loop.after-step": 6,
    "loop.before-observe": 12,
    "loop.before-status": 9,
    "loop.before-step": 6,
    "streams.wal-synced": 15,
    "streams.wal-written": 15,
}
"""The later hit; the second where nothing is said."""

ELSEWHERE = ("compaction.", "retention.", "garbage.", "restart.", "together.", "trial-budget.")
"""Steps that no life of a daemon comes by, or not this one: test_streams_compaction.py, test_streams_retention.py, test_repair.py,
test_repository.py, test_together.py and test_trial_budget.py die of these."""

OF_WORKERS = frozenset(("jobs.ended", "jobs.result-written"))
"""What happens only where jobs have processes of their own."""


def every_failpoint() -> tuple[str, ...]:
    """Names that the product declares."""
    for room in ("state", "engines", "controllers", "reconciler"):
        for path in sorted((ROOT / room).rglob("*.py")):
            if re.search(r"^\w+ = (failpoints\.)?declare\(", path.read_text(encoding="utf-8"), re.MULTILINE):
                importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    return tuple(name for name in failpoints.declared() if not name.startswith(("test.", *ELSEWHERE)))


@dataclass(frozen=True)
class Lake:
    """What one life left."""

    answers: dict[str, Any]
    facts: dict[str, Any]
    requests: list[tuple[str, str, str]]
    deaths: int


def life_of(folder: Path, *failpoints: str, long: bool, inline: bool) -> Lake:
    """Lives, and checks what needs no comparison."""
    daemons = Daemons(folder)
    repository = Repository(folder / "repository")
    life = Life(repository, daemons, failpoints)
    try:
        answers = live(life, long=long, inline=inline)
    finally:
        daemons.end()
    lake = repository.lake
    assert missing(lake) == []
    assert unreferred(lake) == []
    assert leftovers(lake, repository.cache) == []
    assert doubled_events(lake) == {}
    assert recall(lake, "resumes", answers.pop("hits")) >= LEAST_RECALL
    answered = sorted((row["request"], row["verb"], row["outcome"]) for row in events(lake, "requests"))
    return Lake(answers, facts(lake), answered, life.deaths)


@dataclass(frozen=True)
class Case:
    """A death: at which hit of which failpoint. inline: small jobs run in the daemon itself."""

    failpoint: str
    hit: int
    inline: bool

    def __str__(self) -> str:
        return f"{self.failpoint}@{self.hit}-{'inline' if self.inline else 'workers'}"


def every_case() -> list[Case]:
    cases = []
    for name in every_failpoint():
        hits = [1] if name in ONCE else [1, LATER.get(name, 2)]
        cases += [Case(name, hit, inline) for inline in (False, True) for hit in hits if not (inline and name in OF_WORKERS)]
    return cases


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool, bool], Lake]:
    """The life that nothing disturbed, lived once for each way."""

    @cache
    def lived(long: bool, inline: bool) -> Lake:
        lake = life_of(tmp_path_factory.mktemp("undisturbed"), long=long, inline=inline)
        assert not lake.deaths
        return lake

    return lived


def compare(deaths: Sequence[object], lake: Lake, expected: Lake) -> None:
    assert lake.deaths == len(deaths), f"{deaths[lake.deaths]} was never reached: this life has to come by it, or it is no longer declared"
    assert lake.answers == expected.answers
    assert lake.facts == expected.facts
    assert lake.requests == expected.requests


def test_every_often_killed_step_exists() -> None:
    assert {*chain.from_iterable(OFTEN), *ONCE, *LATER, *OF_WORKERS} <= {*every_failpoint()}


@pytest.mark.parametrize("deaths", OFTEN, ids="-".join)
def test_killed_daemons_converge_to_the_same_lake(
    tmp_path: Path, undisturbed: Callable[[bool, bool], Lake], deaths: Mapping[str, int]
) -> None:
    lake = life_of(tmp_path, *(f"{failpoint}=kill@{hit}" for failpoint, hit in deaths.items()), long=False, inline=False)
    compare([*deaths], lake, undisturbed(False, False))


@pytest.mark.soak
@pytest.mark.parametrize("case", every_case(), ids=str)
def test_a_daemon_killed_at_any_step_converges_to_the_same_lake(
    tmp_path: Path, undisturbed: Callable[[bool, bool], Lake], case: Case
) -> None:
    lake = life_of(tmp_path, f"{case.failpoint}=kill@{case.hit}", long=True, inline=case.inline)
    compare([case], lake, undisturbed(True, case.inline))
    shutil.rmtree(tmp_path)
