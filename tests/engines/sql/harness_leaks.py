"""Two lakes that differ in nothing but what a reader may not see, the policies that hide it, and statements made up at random.

What a reader is answered over the one must be what they are answered over the other: rows, their number, columns, and errors to the letter.
The order of rows that no ORDER BY asks for, and the last digits of sums of floats, hang on how rows lie in batches, and are not compared.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from engines.policies.governed import Governed, Mask, MaskKind, MaskRule, PolicyRules, RowRule
from engines.reading import Decision, Reader, TableName, decide
from engines.sql.hot import build
from engines.sql.hot_cache import HotCache
from engines.sql.hot_shown import ShownForms, show
from engines.sql.problems import QueryProblem
from engines.sql.session import Session
from engines.sql.shown import shown_as
from engines.sql.source import LakeTable, TableSource
from engines.sql.tables import CatalogTables
from tests.engines.sql.conftest import Lake

KEY = "5eed" * 16
COLUMNS = {"id": "string", "name": "string", "phone": "string", "salary": "int64", "status": "string", "born": "date", "score": "float64"}
SHOWN_TO = frozenset({"recruiter"})
_BORN = date(1970, 1, 1)


def row(number: int, **changes: Any) -> dict[str, Any]:
    """One that the policies leave."""
    shown = {"id": f"P{number:04d}", "name": str(number % 17), "phone": f"555{number:07d}", "salary": number % 40 + 1, "status": "active"}
    return {**shown, "born": _BORN + timedelta(days=number * 11), "score": number / 8, **changes}


def hidden(number: int, variant: int) -> dict[str, Any]:
    """One that is not to be seen; of each variant another."""
    if variant == 0:
        return row(number, id=f"H{number:04d}", name="secret", salary=999, status="do_not_call", score=float("nan"))
    values = {"name": f"other{number}", "salary": -(2**62), "score": None, "born": None, "phone": None}
    return row(number, id=f"X{number:04d}", status="do_not_call", **values)


def fill(lake: Lake, variant: int, case: Case) -> Lake:
    """Tables people (upserts, with deltas and deletions) and visits (appended), which differ between variants in what the case hides."""
    unlike = {name: _unlike(name, variant) for name in case.differs}
    for name, key in (("people", ["id"]), ("visits", [])):
        lake.create(name, COLUMNS, key)
        shown = [row(number, **unlike) for number in range(60)]
        secret = [hidden(number, variant) for number in range(0, 60 if variant == 0 else 24, 2) if case.hides_rows]
        lake.add(name, sorted((*shown, *secret), key=lambda one: str(one["name"])) if name == "visits" else [*secret, *shown])
        if key:
            changed = [row(3, **{"salary": 7, **unlike}), row(4, **{**hidden(4, variant), "id": "P0004", **unlike})]
            gone = [{**hidden(0, variant), "_deleted": True}, {**row(5, **unlike), "_deleted": True}]
            delta = [*({**one, "_deleted": False} for one in changed), *gone]
            lake.add(name, delta if case.hides_rows else [row(3, **{"salary": 7, **unlike})], "delta", deletes=2 if case.hides_rows else 0)
        else:
            lake.add(name, [row(90, **unlike), hidden(91, variant)][: 1 + case.hides_rows])
    return lake


def _unlike(name: str, variant: int) -> Any:
    kind = COLUMNS[name]
    if kind == "string":
        return ("1234567890", "x")[variant]
    return {"int64": (0, 999), "float64": (1.5, None), "date": (date(2001, 5, 6), date(1999, 1, 1))}[kind][variant]


@dataclass(frozen=True, slots=True)
class Case:
    """A policy. differs: the columns whose values it hides entirely, which differ between the lakes."""

    name: str
    rules: PolicyRules
    differs: tuple[str, ...] = ()
    hides_rows: bool = True

    @property
    def decision(self) -> Decision:
        """For the restricted role."""
        return decide(Reader(profile="p", role="recruiter", rules=_Rules(self.rules)), TableName("people"), "read")


class _Rules:
    def __init__(self, rules: PolicyRules) -> None:
        self._rules = rules

    def governed(self, dataset: str) -> Governed | None:
        return Governed((self._rules,))


def _masks(columns: Sequence[str], kind: MaskKind, argument: str | None = None) -> tuple[MaskRule, ...]:
    return (MaskRule(frozenset(columns), Mask(kind, argument), SHOWN_TO),)


_ROWS = (RowRule(SHOWN_TO, "status <> 'do_not_call'"),)
CASES = (
    Case("rows", PolicyRules("rows", _ROWS)),
    Case("rows by value", PolicyRules("by-value", (RowRule(SHOWN_TO, "status = CASE WHEN $role = 'recruiter' THEN 'active' END"),))),
    Case("no rows", PolicyRules("none", (RowRule(frozenset({"admin"}), "true"),))),
    Case("null", PolicyRules("null", _ROWS, _masks(("phone", "salary"), "null")), ("phone", "salary")),
    Case("redact", PolicyRules("redact", _ROWS, _masks(("name", "born"), "redact")), ("name", "born")),
    Case("constant", PolicyRules("constant", _ROWS, _masks(("salary",), "constant", "5")), ("salary",)),
    Case("masks alone", PolicyRules("alone", (), _masks(("salary", "phone"), "redact")), ("salary", "phone"), hides_rows=False),
    Case("expression", PolicyRules("expression", _ROWS, _masks(("phone",), "expression", "substr(id, 1, 1)")), ("phone",)),
    Case("failing filter", PolicyRules("failing", (RowRule(SHOWN_TO, "100 / (salary - 999) < 1000 AND status <> 'do_not_call'"),))),
    Case("failing cast", PolicyRules("cast", (RowRule(SHOWN_TO, "cast(name AS int) >= 0 AND status <> 'do_not_call'"),))),
    Case("kept part", PolicyRules("part", _ROWS, _masks(("phone",), "lastFour"))),
    Case("hash", PolicyRules("hash", _ROWS, _masks(("phone",), "hash"))),
    Case("year", PolicyRules("year", _ROWS, _masks(("born",), "year"))),
)

_NUMBERS = (
    "salary",
    "salary - 999",
    "cast(name AS int)",
    "length(phone)",
    "1 / (salary - 999)",
    "cast(phone AS bigint)",
    "salary % 7",
    "date_part('year', born)",
    "CASE WHEN salary = 999 THEN cast(name AS int) ELSE 1 END",
    "salary * 4611686018427387904",
)
_TEXTS = (
    *("name", "phone", "status", "id", "upper(name)", "substr(phone, 2, 3)"),
    "CASE WHEN status = 'do_not_call' THEN name ELSE 'x' END",
)
_TESTS = (
    *("salary = 999", "status = 'do_not_call'", "name = 'secret'", "1 / (salary - 999) = 0", "cast(name AS int) > 3"),
    *("phone LIKE '555%'", "id > 'P0030'", "born < DATE '1971-01-01'", "score IS NULL", "isnan(score)", "salary IN (3, 999)"),
)
_TOTALS = (
    *("count(*)", "count(DISTINCT name)", "max(salary)", "min(phone)", "sum(salary % 7)", "approx_distinct(phone)", "count(phone)"),
    *("bool_and(salary < 100)", "max(cast(name AS int))", "min(born)", "count(1 / (salary - 999))", "avg(salary)"),
)
_COUNTED = "SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 90 AND n < (SELECT count(*) FROM {table} WHERE {test})"


def statements(seed: int, count: int) -> Iterator[str]:
    """Over `people` and `visits`. Those without a total order are compared as sets."""
    rng = random.Random(seed)
    for _ in range(count):
        yield _statement(rng)


def _statement(rng: random.Random) -> str:
    table, other = rng.sample(["people", "visits"], 2)
    number, text, test = rng.choice(_NUMBERS), rng.choice(_TEXTS), rng.choice(_TESTS)
    test = rng.choice((test, f"{test} AND {rng.choice(_TESTS)}", f"{test} OR {rng.choice(_TESTS)}", f"NOT ({test})", "true"))
    joined = f"{table} a JOIN {other} b ON a.id = b.id"
    return rng.choice(
        (
            f"SELECT {number} AS n, {text} AS t FROM {table} WHERE {test}",
            f"SELECT status, {number} + salary AS n FROM {table}",
            f"SELECT {text} AS t, {rng.choice(_TOTALS)} AS n FROM {table} WHERE {test} GROUP BY {text} HAVING count(*) > 1",
            f"SELECT {rng.choice(_TOTALS)} AS n, {rng.choice(_TOTALS)} AS m FROM {table} WHERE {test}",
            f"SELECT id, row_number() OVER (PARTITION BY {text} ORDER BY {number}, id) AS n FROM {table} WHERE {test}",
            f"SELECT id, lag({number}) OVER (ORDER BY id) AS n FROM {table} ORDER BY id",
            f"SELECT id, {text} AS t FROM {table} ORDER BY {number}, phone, id LIMIT 5 OFFSET {rng.randrange(70)}",
            f"SELECT count(*) AS n FROM (SELECT * FROM {table} LIMIT 3 OFFSET {rng.randrange(80)})",
            f"SELECT count(*) AS n, max(a.salary) AS s FROM {joined} WHERE a.salary = b.salary AND {test.replace('salary', 'a.salary')}"
            if test in ("salary = 999", "1 / (salary - 999) = 0")
            else f"SELECT count(*) AS n FROM {joined} WHERE 1 / (b.salary - 999) = 0",
            f"SELECT id FROM {table} WHERE id IN (SELECT id FROM {other} WHERE {test})",
            f"SELECT id FROM {table} a WHERE EXISTS (SELECT 1 FROM {other} b WHERE b.id = a.id AND cast(b.name AS int) > a.salary)",
            f"SELECT (SELECT {rng.choice(_TOTALS)} FROM {other} WHERE {test}) AS n, id FROM {table} WHERE {test}",
            f"SELECT {text} AS t FROM {table} UNION SELECT {rng.choice(_TEXTS)} AS t FROM {other} WHERE {test}",
            f"SELECT {text} AS t FROM {table} EXCEPT SELECT {rng.choice(_TEXTS)} AS t FROM {other}",
            f"WITH RECURSIVE r AS ({_COUNTED.format(table=table, test=test)}) SELECT max(n) AS n FROM r",
            f"SELECT {number} AS n FROM {table} WHERE {test} LIMIT 0",
            f"DESCRIBE {table}",
            f"SELECT named_struct('a', {number}, 'b', {text})['a'] AS n FROM {table} WHERE {test}",
            f"SELECT array_agg({text} ORDER BY id) AS t FROM {table} WHERE {test}",
            f"SELECT a.id FROM {table} a LEFT JOIN {other} b ON a.id = b.id AND 1 / (b.salary - 999) = 0 WHERE b.id IS NULL",
        )
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reader has of a statement."""

    columns: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    problem: tuple[str, str, str | None] | None = None


def asked(session: Session, sql: str, sources: Sequence[TableSource], *, ordered: bool) -> Answer:
    """Through `Session.run`, as a worker does it for whoever is no operator."""
    try:
        found: pa.Table = session.run(sql, {}, sources, lambda frame: frame.to_arrow_table())
    except QueryProblem as problem:
        return Answer(problem=(problem.problem, problem.message, problem.remedy))
    rows = [repr([_rounded(value) for value in one.values()]) for one in found.to_pylist()]
    return Answer(tuple(f"{field.name} {field.type}" for field in found.schema), tuple(rows if ordered else sorted(rows)))


def _rounded(value: Any) -> Any:
    return f"{value:.9g}" if isinstance(value, float) else value


def parts(lake: Lake, decision: Decision, cache: HotCache | None = None) -> list[TableSource]:
    """The tables as they are shown; with what a daemon would hold of them where there is a cache."""
    tables = CatalogTables(lake, lake.reader, lake, lake.views, hot=cache)
    found: list[TableSource] = []
    for name in lake.tables:
        source = tables.resolve(TableName(name))
        assert isinstance(source, LakeTable)
        found.append(replace(source, shown=shown_as(decision, None, KEY)))
    return found


def held(lake: Lake, folder: Path, decision: Decision) -> list[TableSource]:
    """The same, each read from what was made of it."""
    cache = HotCache(folder, 1 << 30, lambda dataset: True)
    for source in parts(lake, decision, cache):
        bare = replace(source, shown=None)
        assert isinstance(bare, LakeTable)
        Session().merge(bare)
    while (chosen := cache.build()) is not None:
        build(chosen[0])
        cache.done(chosen[0])
    forms, found = ShownForms(cache), []
    for source in parts(lake, decision, cache):
        assert isinstance(source, LakeTable)
        task = forms.missing(source)
        assert task is not None
        forms.done(task, show(task))
        found.append(forms.found(source))
    assert all(source.shown is not None and source.shown.held is not None for source in found)
    return list[TableSource](found)


def by_name(sources: Sequence[TableSource]) -> Mapping[str, TableSource]:
    """Of sources."""
    return {source.name: source for source in sources}
