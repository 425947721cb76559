"""Statements made up at random are answered alike over lakes that differ in what is hidden: behind the barrier, and from copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.sql.session import Session
from tests.engines.sql.conftest import Lake
from tests.engines.sql.harness_leaks import CASES, COLUMNS, Case, asked, by_name, fill, held, hidden, parts, row, statements

_IDS = [case.name for case in CASES]
_EACH = 20


@pytest.fixture
def lakes(tmp_path: Path) -> tuple[Lake, Lake]:
    return Lake(tmp_path / "one"), Lake(tmp_path / "other")


@pytest.mark.parametrize("partitions", [1, 2])
@pytest.mark.parametrize("case", CASES, ids=_IDS)
def test_behind_the_barrier(lakes: tuple[Lake, Lake], case: Case, partitions: int, tmp_path: Path) -> None:
    one, other = (by_name(parts(fill(lake, variant, case), case.decision)) for variant, lake in enumerate(lakes))
    _compare(case, one, other, Session(tmp_path, partitions=partitions), seed=partitions)


@pytest.mark.parametrize("case", CASES, ids=_IDS)
def test_from_copies_beside_the_hot_table(lakes: tuple[Lake, Lake], case: Case, tmp_path: Path) -> None:
    sides = []
    for variant, lake in enumerate(lakes):
        fill(lake, variant, case)
        sides.append(by_name(held(lake, tmp_path / f"hot{variant}", case.decision)))
    _compare(case, sides[0], sides[1], Session(tmp_path, partitions=2), seed=3)


@pytest.mark.parametrize("case", CASES, ids=_IDS)
def test_a_copy_has_what_the_barrier_shows(lakes: tuple[Lake, Lake], case: Case, tmp_path: Path) -> None:
    fill(lakes[0], 0, case)
    behind, copied = by_name(parts(lakes[0], case.decision)), by_name(held(lakes[0], tmp_path / "hot", case.decision))
    session = Session(tmp_path)
    for name in behind:
        sql = f"SELECT * FROM {name} ORDER BY id"
        assert asked(session, sql, [behind[name]], ordered=True) == asked(session, sql, [copied[name]], ordered=True)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 / (salary - 3) AS x, cast(name AS int) AS y FROM visits",
        "SELECT max(1 / (salary - 3)) AS x, max(cast(name AS int)) AS y FROM visits",
        "SELECT cast(name AS int) AS y FROM visits WHERE 1 / (salary - 3) < 9",
    ],
)
def test_of_two_rows_that_fail_nobody_learns_which_came_first(lakes: tuple[Lake, Lake], sql: str, tmp_path: Path) -> None:
    """Within one batch of rows a division comes before a cast; whether both rows are in one depends on how many are hidden between them."""
    sides = []
    for lake, between in zip(lakes, (0, 40_000), strict=True):
        lake.create("visits", COLUMNS, [])
        rows = [
            row(1, name="x", salary=9),
            *([row(5, name="1", salary=7)] * 9_000),
            *([hidden(2, 0)] * between),
            row(2, name="5", salary=3),
        ]
        lake.add("visits", rows)
        sides.append(parts(lake, CASES[0].decision))
    session = Session(tmp_path, partitions=1)
    one, other = (asked(session, sql, side, ordered=True) for side in sides)
    assert one == other
    assert one.problem is not None


def _compare(case: Case, one: dict, other: dict, session: Session, seed: int) -> None:  # type: ignore[type-arg]
    failed = 0
    for sql in statements(seed, _EACH):
        used = session.names(sql)
        ordered = " ORDER BY id" in sql and "OVER" not in sql
        here, there = (asked(session, sql, [side[name] for name in used], ordered=ordered) for side in (one, other))
        assert here == there, (case.name, sql)
        failed += here.problem is not None
    assert failed < _EACH * 3 // 4, "most statements fail, which probes little"
