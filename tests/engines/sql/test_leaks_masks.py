"""Every mask of every type of column, under every kind of row rule, to every role: lakes that differ in what these hide answer alike.

Lists, lists of lists and objects, which a table keeps as JSON, are among the columns: a mask that has no word for a type shows nothing of
it, whatever part a statement asks for.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest

from engines.policies.governed import Governed, Mask, MaskKind, MaskRule, PolicyRules, RowRule
from engines.reading import Decision, Reader, TableName, decide
from engines.sql.session import Session
from tests.engines.sql.conftest import Lake
from tests.engines.sql.harness_leaks import asked, by_name, held, parts

COLUMNS = {
    "id": "string", "shown": "bool", "part": "string", "word": "string", "tags": "list<string>", "deep": "list<list<int64>>",
    "moments": "list<timestamp>", "doc": "string", "n": "int64", "ratio": "float64", "flag": "bool", "born": "date", "seen": "timestamp",
    "paid": "decimal(12,2)", "raw": "binary",
}  # fmt: skip
OPEN = frozenset({"id", "shown", "part"})
"""Columns that no rule masks."""

ROLES = ("masked", "filtered", "chief", "stranger", None)
"""Of them, the first has columns masked and rows hidden, the second rows hidden, the third columns masked."""
ARGUMENTS: Mapping[MaskKind, str] = {"constant": '"none"', "expression": "upper(part)"}
FILTERS = {
    "a column": "shown",
    "masked values": "n < 500 AND NOT array_has(tags, 'secret')",
    "one that fails": "100 / (n - 999) < 1000 AND cast(word AS int) >= 0",
    "no rule": None,
}
DAY = date(2001, 2, 3)
_NOON = datetime.combine(DAY, time(12))


def _values(number: int, lake: int, kind: MaskKind | None) -> Mapping[str, Any]:
    """Of a row that the filters leave: what a mask hides of it is another one in each lake. kind: None where nothing is masked."""
    other = lake * (number % 5 + 1) if kind is not None else 0
    ends = {"lastFour": f"{number % 9 + other * 11:03}{1000 + number % 7}", "firstFour": f"{1000 + number % 7}{number % 9 + other * 11:03}"}
    texts = {**ends, "hash": str(number % 11)}  # of hashes equal texts are equal, see `test_leaks_parts.py`
    word = texts.get(kind or "null", str(number % 11 + other))
    doc = word if kind in texts else f'{{"a": {number % 3}, "b": [{other}]}}'
    day = DAY.replace(month=1 + (number + other) % 12, year=2001 + number % 4 + (0 if kind == "year" else other))
    return {
        "word": word, "tags": [f"t{number % 3}", f"u{other}"][: 1 + (number + other) % 2], "deep": [[number % 4, other], [other]],
        "moments": [_NOON + timedelta(days=other)] * (1 + other % 3), "doc": doc, "n": number % 13 + other,
        "ratio": (number % 5 + other) / 4, "flag": (number + other) % 2 == 0, "born": day,
        "seen": datetime.combine(day, time(other)), "paid": Decimal(number % 6 + other), "raw": bytes([number % 8, other]),
    }  # fmt: skip


def _hidden(number: int, lake: int) -> Mapping[str, Any]:
    """Of a row that each of the filters hides."""
    other = {"word": "secret" * (1 + lake), "tags": ["secret"] * (1 + lake), "deep": [[999] * lake, []], "moments": [], "doc": '{"a": 1}'}
    figures = {"n": 999, "ratio": float("nan"), "flag": None, "born": None, "seen": _NOON - timedelta(days=lake)}
    return {"id": f"{'HX'[lake]}{number}", "shown": False, "part": "secret", **other, **figures, "paid": Decimal(-lake), "raw": b"x" * lake}


def _lake(root: Path, lake: int, kind: MaskKind | None, *, hides_rows: bool) -> Lake:
    made = Lake(root)
    rows = [{"id": f"P{n:03}", "shown": True, "part": f"p{n % 4}", **_values(n, lake, kind)} for n in range(40)]
    rows += [dict(_hidden(n, lake)) for n in range(40 - 26 * lake) if hides_rows]
    for name, key in (("things", ["id"]), ("loose", [])):
        made.create(name, COLUMNS, key)
        made.add(name, sorted(rows, key=lambda one: str(one["id"])[1:]))
    return made


class _Rules:
    def __init__(self, kind: MaskKind, condition: str | None, *, rows: bool = True) -> None:
        mask = Mask(kind, ARGUMENTS.get(kind))
        masks = (MaskRule(frozenset(COLUMNS) - OPEN, mask, excepted=frozenset({"filtered"})),)
        everything = RowRule(frozenset({"chief"}), "true")
        part = (RowRule(frozenset({"masked", "filtered"}), condition),) if condition is not None else ()
        self.known = Governed((PolicyRules("matrix", (everything, *part) if rows else (), masks),))

    def governed(self, dataset: str) -> Governed | None:
        return self.known


_LISTS = ("tags", "deep", "moments")
_OF_LISTS = (
    "{l}[1]", "{l}[2]", "array_length({l})", "cardinality({l})", "array_to_string({l}, ',')", "array_concat({l}, {l})", "array_sort({l})",
    "array_position(tags, 'secret')", "array_has(tags, 'secret')", "deep[1][1]", "flatten(deep)", "cast({l} AS varchar)", "{l} = {l}",
    "1 / (array_length({l}) - 1)", "cast(tags[1] AS int)", "array_distinct({l})", "make_array({l}, {l})[1]",
)  # fmt: skip
_OF_VALUES = (
    "named_struct('a', {c}, 'b', {l})['b']", "coalesce({c}, {c})", "cast({c} AS varchar)", "cast(cast({c} AS varchar) AS int)",
    "{c} IS NULL", "nullif({c}, {c})", "length(cast({c} AS varchar))", "md5(cast({c} AS varchar))", "1 / (n - 999)", "paid + 1",
    "CASE WHEN {c} IS NULL THEN 1 ELSE cast(word AS int) END", "make_array({c})[1]", "map(['k'], [{c}])['k']", "1 / (length(doc) - 3)",
    "ratio * 2",
)  # fmt: skip
_SHAPES = (
    "SELECT {e} AS x, id FROM {t}", "SELECT {e} AS x, count(*) AS n FROM {t} GROUP BY 1", "SELECT count(DISTINCT {e}) AS n FROM {t}",
    "SELECT id FROM {t} WHERE cast({e} AS varchar) LIKE '%1%'", "SELECT count(*) AS n FROM {t} WHERE {e} IS NOT NULL",
    "SELECT id, unnest({l}) AS x FROM {t}", "SELECT unnest(array_agg({l})) AS x FROM {t}",
    "SELECT {l} AS x, count(*) AS n FROM {t} GROUP BY {l}", "SELECT id, row_number() OVER (ORDER BY {e}, id) AS n FROM {t}",
    "SELECT min({c}) AS a, max({c}) AS b, count({c}) AS c FROM {t}",
    "SELECT a.id FROM {t} a JOIN {o} b ON a.{l} = b.{l} AND a.id < b.id", "SELECT id FROM {t} ORDER BY {c}, id LIMIT 7 OFFSET {k}",
    "SELECT id FROM {t} WHERE {c} IN (SELECT {c} FROM {o} WHERE cast({e} AS varchar) > '1')", "DESCRIBE {t}", "SELECT * FROM {t}",
    "SELECT array_agg({e} ORDER BY id) AS x FROM {t}", "SELECT {l} AS x FROM {t} EXCEPT SELECT {l} FROM {o} WHERE n > 3",
)  # fmt: skip


def _statements(rng: random.Random, count: int) -> Iterator[str]:
    for _ in range(count):
        names = {"l": rng.choice(_LISTS), "c": rng.choice(sorted(COLUMNS)), "k": rng.randrange(60)}
        table, other = rng.sample(["things", "loose"], 2)
        expression = rng.choice(_OF_LISTS + _OF_VALUES).format(**names)
        yield rng.choice(_SHAPES).format(e=expression, t=table, o=other, **names)


def _decided(rules: _Rules, role: str | None) -> Decision:
    return decide(Reader(profile="p", role=role, rules=rules), TableName("things"), "read")


def _hiding(kind: MaskKind) -> Iterator[tuple[bool, bool, Decision]]:
    """Whether lakes differ in hidden rows, and in masked values, and what hides all of that."""
    for (rows, masks), name, role in product(((True, True), (True, False), (False, True)), FILTERS, ROLES):
        decision = _decided(_Rules(kind, FILTERS[name], rows=rows or name != "a column"), role)
        if (decision.row_filter is not None or not rows) and (decision.masks or not masks):
            yield rows, masks, decision


def _compare(kind: MaskKind, root: Path, seed: int, decisions: int | None, count: int) -> None:
    """decisions: how many are tried, by `count` statements each; None for all."""
    rng, session = random.Random(f"{kind} {seed}"), Session(root, partitions=1 + seed % 2)
    every = list(_hiding(kind))
    made: dict[tuple[bool, bool], list[Lake]] = {}
    answered = asked_for = 0
    for rows, masks, decision in rng.sample(every, decisions or len(every)):
        if (rows, masks) not in made:
            made[rows, masks] = [_lake(root / f"{rows}{masks}{lake}", lake, kind if masks else None, hides_rows=rows) for lake in (0, 1)]
        sides = [by_name(parts(lake, decision)) for lake in made[rows, masks]]
        for sql in _statements(rng, count):
            used = session.names(sql)
            one, other = (asked(session, sql, [side[table] for table in used], ordered="LIMIT" in sql) for side in sides)
            assert one == other, (rows, masks, decision, sql)
            assert "secret" not in str(one.rows), sql
            answered, asked_for = answered + (one.problem is None), asked_for + 1
    assert answered > asked_for // 4, "most statements fail, which probes little"


@pytest.mark.parametrize("kind", get_args(MaskKind))
def test_masks_of_every_type_for_every_role(kind: MaskKind, tmp_path: Path) -> None:
    _compare(kind, tmp_path, seed=0, decisions=3, count=4)


@pytest.mark.soak
@pytest.mark.parametrize("kind", get_args(MaskKind))
@pytest.mark.parametrize("seed", [1, 2])
def test_many_more_of_them(kind: MaskKind, seed: int, tmp_path: Path) -> None:
    _compare(kind, tmp_path, seed, decisions=None, count=12)


@pytest.mark.parametrize("kind", ["redact", "hash", "year"])
def test_a_copy_shows_no_more_of_lists_than_the_barrier(kind: MaskKind, tmp_path: Path) -> None:
    lake = _lake(tmp_path / "lake", 0, kind, hides_rows=True)
    decision = _decided(_Rules(kind, FILTERS["one that fails"]), "masked")
    behind, copied = by_name(parts(lake, decision)), by_name(held(lake, tmp_path / "hot", decision))
    session = Session(tmp_path)
    for table in behind:
        sql = f"SELECT * FROM {table} ORDER BY id"
        assert asked(session, sql, [behind[table]], ordered=True) == asked(session, sql, [copied[table]], ordered=True)
