"""Of a value of which a part is shown nothing else is told, whether two lakes differ in every hidden digit; nor does time tell of a hidden
row that is dear to compute."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from engines.policies.governed import MaskKind
from engines.sql.session import Session
from engines.sql.source import TableSource
from tests.engines.sql.conftest import Lake
from tests.engines.sql.harness_leaks import CASES, COLUMNS, Case, asked, by_name, fill, held, hidden, parts, row, statements

_BY_NAME = {case.name: case for case in CASES}


def _phone(number: int, lake: int, kind: MaskKind) -> str:
    hidden_part, shown_part = f"{number * (lake + 3) % 1000:03}" * (1 + lake), f"{number % 40:04}"
    return hidden_part + shown_part if kind == "lastFour" else shown_part + hidden_part


def _born(number: int, lake: int) -> date:
    return date(1960 + number % 40, 1 + (number * (lake + 5)) % 12, 1 + (number * (lake + 3)) % 28)


_VALUES: dict[MaskKind, tuple[str, Callable[[int, int], Any]]] = {
    "lastFour": ("phone", lambda number, lake: _phone(number, lake, "lastFour")),
    "firstFour": ("phone", lambda number, lake: _phone(number, lake, "firstFour")),
    "year": ("born", _born),
}
_SHORT = {"lastFour": ("1234", "99"), "firstFour": ("1234", "99"), "year": (date(1999, 1, 1), date(1999, 12, 31))}
"""Of those a part would be all: they are shown alike."""


def _fill(lake: Lake, number: int, kind: MaskKind) -> Lake:
    column, value = _VALUES[kind]
    for name, key in (("people", ["id"]), ("visits", [])):
        lake.create(name, COLUMNS, key)
        rows = [row(n, **{column: value(n, number)}) for n in range(60)]
        lake.add(name, [*rows, row(60, **{column: _SHORT[kind][number]})])
        lake.add(name, [row(7, salary=3, **{column: value(7, number)})], "delta" if key else "base")
    return lake


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("kind", _VALUES)
def test_hidden_digits(tmp_path: Path, kind: MaskKind, copied: bool) -> None:
    column, _ = _VALUES[kind]
    rules = _masking(kind, column)
    lakes = [_fill(Lake(tmp_path / str(number)), number, kind) for number in (0, 1)]
    case = Case(kind, rules, hides_rows=False)
    if copied:
        sides = [by_name(held(lake, tmp_path / f"hot{number}", case.decision)) for number, lake in enumerate(lakes)]
    else:
        sides = [by_name(parts(lake, case.decision)) for lake in lakes]
    session = Session(tmp_path, partitions=2)
    asking = [f"SELECT id, {column} FROM {{}} ORDER BY {column}, id", f"SELECT count(DISTINCT {column}) AS n, min({column}) AS m FROM {{}}"]
    for sql in [*(text.format(name) for text in asking for name in sides[0]), *statements(11, 40)]:
        used = session.names(sql)
        one, other = (asked(session, sql, [side[name] for name in used], ordered=" ORDER BY " in sql and "(" not in sql) for side in sides)
        assert one == other, sql


@pytest.mark.parametrize("partitions", [1, 2])
def test_hashes_tell_who_is_alike_and_no_more(tmp_path: Path, partitions: int) -> None:
    """Values are others, and lie otherwise, but as many are equal: all that a hash says is which."""
    case = Case("hash", _masking("hash", "phone"), hides_rows=False)
    sides = []
    for number in (0, 1):
        lake = Lake(tmp_path / str(number))
        for name in ("people", "visits"):
            lake.create(name, COLUMNS, [])
            lake.add(name, [row(n, phone=("555", "x")[number] * (1 + number) + str((n % 9) * (7, -3)[number])) for n in range(60)])
        sides.append(by_name(parts(lake, case.decision)))
    session = Session(tmp_path, partitions=partitions)
    for sql in (
        "SELECT id, dense_rank() OVER (PARTITION BY phone ORDER BY id) AS n FROM people",
        "SELECT count(DISTINCT phone) AS n, max(length(phone)) AS m FROM people",
        "SELECT a.id, b.id AS other FROM people a JOIN visits b ON a.phone = b.phone",
        "SELECT count(*) AS n FROM people WHERE phone LIKE '555%' OR length(phone) < 60 OR phone IN ('5550', '555', 'xx')",
        "SELECT max(cast(phone AS bigint)) AS n FROM people WHERE length(phone) < 20",
        "SELECT count(*) AS n FROM people GROUP BY phone",
    ):
        one, other = (asked(session, sql, [side[name] for name in session.names(sql)], ordered=False) for side in sides)
        assert one == other, sql
        assert one.problem is None


def _masking(kind: MaskKind, column: str) -> Any:
    known = _BY_NAME["kept part"].rules
    (rule,) = known.masks
    return type(known)(kind, (), (type(rule)(frozenset({column}), type(rule.mask)(kind), rule.roles),))


_DEAR = (
    "SELECT count(*) AS n FROM visits WHERE regexp_like(name, '(a|aa)+(a|aa)+(a|b|ab)+c$')",
    "SELECT id, length(regexp_replace(name, '(a+)(a+)', 'b', 'g')) AS n FROM visits ORDER BY n, id LIMIT 3",
    "SELECT max(levenshtein(name, repeat('ab', 500))) AS n FROM visits",
    "SELECT a.id FROM visits a LEFT JOIN people b ON a.id = b.id AND levenshtein(a.name, repeat('ab', 500)) < 3 WHERE b.id IS NULL",
)
RUNS = 7
MOST = 3.0
"""Times that the dearer lake may take. A statement that computes the hidden texts takes some hundred times."""


def _seconds(session: Session, sql: str, sources: list[TableSource]) -> float:
    begun = time.process_time()
    assert asked(session, sql, sources, ordered=False).problem is None
    return time.process_time() - begun


def test_a_dear_hidden_row_takes_no_time(tmp_path: Path) -> None:
    """CPU of the process, of the runs of both in turn; and that the texts are dear, by who sees them."""
    case = _BY_NAME["rows"]
    sides, whole = [], []
    for number, secret in enumerate(("a" * 20, "a" * 120_000)):
        lake = fill(Lake(tmp_path / str(number)), 0, case)
        lake.add("visits", [hidden(n, 0) | {"name": secret} for n in range(100, 104)])
        sides.append(by_name(parts(lake, case.decision)))
        whole.append(by_name(parts(lake, _BY_NAME["masks alone"].decision)))
    session = Session(tmp_path, partitions=2)
    for sql in _DEAR:
        used = session.names(sql)
        taken: list[list[float]] = [[], []]
        for _ in range(RUNS):
            for number, side in enumerate(sides):
                taken[number].append(_seconds(session, sql, [side[name] for name in used]))
        cheap, dear = map(median, taken)
        assert dear < max(cheap, 0.005) * MOST, (sql, taken)
    seen = [_seconds(session, _DEAR[2], [side["visits"]]) for side in whole]
    assert seen[1] > max(seen[0], 0.005) * MOST * 3, seen
