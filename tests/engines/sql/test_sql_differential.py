"""Generated queries over tables with deltas, deletes and former versions, from Parquet and from the hot cache, against DuckDB."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from engines.at import table_at
from engines.files.types import arrow_type
from engines.row_keys import DELETED_COLUMN
from engines.sql.hot import build
from engines.sql.hot_cache import HotCache
from engines.sql.session import Session
from engines.sql.source import LakeTable
from engines.sql.tables import CatalogTables, sql_name
from engines.sql.views import make_view
from state.catalog.tables import Former

duckdb = pytest.importorskip("duckdb")

Row = dict[str, Any]
SEED = 4
QUERIES = 500
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "candidates": {"id": "string", "city": "string", "age": "int64", "rate": "decimal(9,2)", "joined": "date", "active": "bool"},
    "jobs": {"job": "int64", "city": "string", "pay": "float64", "opened": "date"},
    "calls": {"id": "string", "job": "int64", "seconds": "int64", "outcome": "string"},
}
KEYS = {"candidates": ("id",), "jobs": ("job",), "calls": ("id", "job")}
WORDS = ("Austin", "Boston", "Chicago", "Łódź", "", "a longer name than fits in a view")


@dataclass
class History:
    """Tables that changed: `rows` is what each holds, by version."""

    lake: Any
    rng: random.Random
    rows: dict[str, dict[int, dict[tuple[Any, ...], Row]]] = field(default_factory=dict)

    def make(self, name: str, count: int, changes: int) -> None:
        self.lake.create(name, COLUMNS[name], KEYS[name])
        held: dict[tuple[Any, ...], Row] = {}
        self.rows[name] = {}
        keys = sorted({self._key(name) for _ in range(count)})
        middle = len(keys) // 2
        for part in (keys[:middle], keys[middle:]):
            self._commit(name, held, {key: self._row(name, key) for key in part}, "base")
        for _ in range(changes):
            some = {key: self._row(name, key) for key in (self._key(name) for _ in range(self.rng.randint(1, 8)))}
            gone = {key: {**self._row(name, key), DELETED_COLUMN: True} for key in self.rng.sample(sorted(held), self.rng.randint(0, 3))}
            self._commit(name, held, some | gone, "delta")

    def _commit(self, name: str, held: dict[tuple[Any, ...], Row], rows: Mapping[tuple[Any, ...], Row], role: str) -> None:
        before = self.lake.tables[name]
        deletes = sum(DELETED_COLUMN in row for row in rows.values())
        file = self.lake.add(name, [row for _, row in sorted(rows.items())], role, deletes)
        former = (*before.former, Former(before.version, f"{before.version:04d}", 1, KEYS[name], (file.key,)))
        self.lake.tables[name] = replace(self.lake.tables[name], former=former, at=f"{before.version + 1:04d}")
        for key, row in rows.items():
            held.pop(key, None)
            if DELETED_COLUMN not in row:
                held[key] = row
        self.rows[name][before.version + 1] = dict(held)

    def _key(self, name: str) -> tuple[Any, ...]:
        person, job = f"C-{self.rng.randint(1, 250):04d}", self.rng.randint(1, 60)
        return {"candidates": (person,), "jobs": (job,), "calls": (person, job)}[name]

    def _row(self, name: str, key: tuple[Any, ...]) -> Row:
        values = {column: self._value(kind) for column, kind in COLUMNS[name].items()}
        return values | dict(zip(KEYS[name], key, strict=True))

    def _value(self, kind: str) -> Any:
        rng = self.rng
        if rng.random() < 0.15:
            return None
        match kind:
            case "string":
                return rng.choice(WORDS)
            case "int64":
                return rng.randint(-5, 60)
            case "float64":
                return rng.randint(-400, 4000) / 8
            case "bool":
                return rng.random() < 0.5
            case "date":
                return date(2024, 1, 1) + timedelta(days=rng.randint(0, 800))
            case _:
                return Decimal(rng.randint(-100, 99_999)).scaleb(-2)


class Generator:
    """Statements that DuckDB and DataFusion read alike. `{candidates}` stands for the table."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._forms: Sequence[Callable[[], str]] = (
            self.filtered, self.grouped, self.joined, self.absent, self.windowed, self.together, self.nested, self.topmost,
        )  # fmt: skip

    def statement(self) -> str:
        return self._rng.choice(self._forms)()

    def filtered(self) -> str:
        name = self._table()
        shown = ", ".join(self._rng.sample(sorted(COLUMNS[name]), 3))
        distinct = self._rng.choice(["", "DISTINCT "])
        return f"SELECT {distinct}{shown} FROM {{{name}}} t WHERE {self._condition(name)}"

    def grouped(self) -> str:
        name = self._table()
        by = self._rng.sample(sorted(COLUMNS[name]), self._rng.randint(1, 2))
        having = self._rng.choice(["", " HAVING count(*) > 1", " HAVING count(*) BETWEEN 1 AND 3"])
        read = f"FROM {{{name}}} t WHERE {self._condition(name)}"
        return f"SELECT {', '.join(by)}, {self._aggregates(name)} {read} GROUP BY {', '.join(by)}{having}"

    def joined(self) -> str:
        kind = self._rng.choice(["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
        other = self._rng.choice(["JOIN", "LEFT JOIN"])
        where = self._rng.choice(["", f" WHERE {self._condition('calls', 'l')}", " WHERE c.city = j.city"])
        return (
            "SELECT c.city, j.city AS place, count(*) AS n, sum(l.seconds) AS s, min(j.opened) AS o"
            f" FROM {{calls}} l {kind} {{candidates}} c ON c.id = l.id {other} {{jobs}} j ON j.job = l.job{where} GROUP BY c.city, j.city"
        )

    def absent(self) -> str:
        word = self._rng.choice(["EXISTS", "NOT EXISTS"])
        inner = f"SELECT 1 FROM {{calls}} l WHERE l.id = t.id AND {self._condition('calls', 'l')}"
        return f"SELECT id, city, rate FROM {{candidates}} t WHERE {self._condition('candidates')} AND {word} ({inner})"

    def windowed(self) -> str:
        name = self._table()
        order = ", ".join(f"{key} {self._rng.choice(['ASC', 'DESC'])}" for key in KEYS[name])
        part = self._rng.choice(sorted(COLUMNS[name]))
        number = self._number(name)
        shown = self._rng.choice(
            [
                f"row_number() OVER (PARTITION BY {part} ORDER BY {order})",
                f"sum({number}) OVER (PARTITION BY {part} ORDER BY {order} ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)",
                f"lag({number}) OVER (ORDER BY {order})",
                f"max({number}) OVER (PARTITION BY {part})",
            ]
        )
        return f"SELECT {', '.join(KEYS[name])}, {shown} AS w FROM {{{name}}} t"

    def together(self) -> str:
        word = self._rng.choice(["UNION", "UNION ALL", "EXCEPT", "INTERSECT"])
        one, other = self._condition("candidates"), self._condition("jobs")
        return f"SELECT city FROM {{candidates}} t WHERE {one} {word} SELECT city FROM {{jobs}} t WHERE {other}"

    def nested(self) -> str:
        name = self._rng.choice(["candidates", "jobs"])
        (key,) = KEYS[name]
        few = f"WITH few AS (SELECT {key} FROM {{calls}} t WHERE {self._condition('calls')})"
        word = self._rng.choice(["IN", "NOT IN"])
        return f"{few} SELECT {self._aggregates(name)} FROM {{{name}}} t WHERE {key} {word} (SELECT {key} FROM few)"

    def topmost(self) -> str:
        name = self._table()
        column = self._rng.choice(sorted(COLUMNS[name]))
        order = f"{column} {self._rng.choice(['ASC', 'DESC'])} NULLS {self._rng.choice(['FIRST', 'LAST'])}, {', '.join(KEYS[name])}"
        return f"SELECT * FROM {{{name}}} t ORDER BY {order} LIMIT {self._rng.randint(1, 40)} OFFSET {self._rng.randint(0, 20)}"

    def _table(self) -> str:
        return self._rng.choice(sorted(COLUMNS))

    def _number(self, name: str) -> str:
        return {"candidates": "age", "jobs": "pay", "calls": "seconds"}[name]

    def _aggregates(self, name: str) -> str:
        number, column = self._number(name), self._rng.choice(sorted(COLUMNS[name]))
        every = (
            "count(*)",
            f"sum({number})",
            f"avg({number})",
            f"min({column})",
            f"max({column})",
            f"count(DISTINCT {column})",
            f"count({column})",
        )
        return ", ".join(f"{text} AS a{at}" for at, text in enumerate(self._rng.sample(every, 3)))

    def _condition(self, name: str, alias: str = "t", depth: int = 2) -> str:
        if depth and self._rng.random() < 0.5:
            one, other = (self._condition(name, alias, depth - 1) for _ in range(2))
            return self._rng.choice([f"({one} AND {other})", f"({one} OR {other})", f"NOT ({one})"])
        column = self._rng.choice(sorted(COLUMNS[name]))
        return self._test(f"{alias}.{column}", COLUMNS[name][column])

    def _test(self, column: str, kind: str) -> str:
        rng = self._rng
        sign = rng.choice(["=", "<>", "<", "<=", ">", ">="])
        if rng.random() < 0.1:
            return f"{column} IS {rng.choice(['', 'NOT '])}NULL"
        match kind:
            case "string":
                word = rng.choice((*WORDS[:5], f"C-{rng.randint(1, 250):04d}"))
                texts = (
                    f"{column} {sign} '{word}'",
                    f"{column} LIKE '%o%'",
                    f"coalesce({column}, 'x') IN ('x', '{word}')",
                    f"length({column}) > 4",
                )
                return rng.choice(texts)
            case "int64":
                return rng.choice(
                    [f"{column} {sign} {rng.randint(0, 60)}", f"{column} BETWEEN 3 AND {rng.randint(3, 60)}", f"{column} % 3 = 1"]
                )
            case "float64":
                return f"{column} * 2 {sign} {rng.randint(0, 900)}"
            case "bool":
                return rng.choice([column, f"NOT {column}", f"CASE WHEN {column} THEN 1 ELSE 0 END = 1"])
            case "date":
                day = date(2024, 1, 1) + timedelta(days=rng.randint(0, 800))
                return rng.choice([f"{column} {sign} DATE '{day}'", f"extract(year FROM {column}) = 2025"])
            case _:
                return f"{column} {sign} {rng.randint(0, 1000)}.5"


@dataclass(frozen=True)
class Sides:
    history: History
    tables: CatalogTables
    cache: HotCache
    session: Session
    peer: Any

    def ours(self, statement: str, versions: Mapping[str, int], *, hot: bool) -> pa.Table:
        sources = [self._source(name, version, hot=hot) for name, version in versions.items()]
        with self.session.frame(statement.format(**{name: name for name in versions}), {}, sources) as frame:
            return frame.to_arrow_table()

    def theirs(self, statement: str, versions: Mapping[str, int]) -> pa.Table:
        return self.peer.sql(statement.format(**{name: f"{name}_{version}" for name, version in versions.items()})).to_arrow_table()

    def _source(self, name: str, version: int, *, hot: bool) -> LakeTable:
        lake = self.history.lake
        table = table_at(lake.tables[name], version)
        source = make_view(table, lake.views, lake.reader, sql_name(name)).table
        if hot:
            source = self.cache.choose(table, source, present=False)
            assert source.hot is not None
        return source


@pytest.fixture(scope="module")
def sides(new_lake: Any, tmp_path_factory: pytest.TempPathFactory) -> Sides:
    """Each version is held in the hot cache as it comes, made from the one before where it can be."""
    rng = random.Random(SEED)
    history = History(new_lake(tmp_path_factory.mktemp("lake")), rng)
    folder = tmp_path_factory.mktemp("hot")
    cache, peer = HotCache(folder, 1 << 30, lambda dataset: True), duckdb.connect()
    for name, count, changes in (("candidates", 260, 40), ("jobs", 60, 6), ("calls", 700, 25)):
        history.make(name, count, changes)
        for version, rows in history.rows[name].items():
            types = pa.schema([(column, arrow_type(kind)) for column, kind in COLUMNS[name].items()])
            peer.register("held", pa.Table.from_pylist(list(rows.values()), types))
            peer.execute(f"CREATE TABLE {name}_{version} AS SELECT * FROM held")
            hold(history, cache, folder, name, version)
    return Sides(history, history.lake.resolver, cache, Session(partitions=2), peer)


def hold(history: History, cache: HotCache, folder: Path, name: str, version: int) -> None:
    """As the daemon does after a commit; former snapshots stay, which the daemon would remove."""
    table = table_at(history.lake.tables[name], version)
    source = cache.choose(table, make_view(table, history.lake.views, history.lake.reader, name).table, present=True)
    task = cache.refresh(source)
    if task is None:
        found = cache.build()
        assert found is not None
        task = found[0]
        if source.merged is not None:
            Session().merge(source)
    build(task)
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    cache.done(task)
    for file, data in kept.items():
        if not (folder / file).exists():
            (folder / file).write_bytes(data)


def canonical(table: pa.Table) -> Counter[tuple[Any, ...]]:
    """Rows without their order, numbers by value to nine digits."""
    return Counter(tuple(map(_plain, row.values())) for row in table.rename_columns([str(n) for n in range(table.num_columns)]).to_pylist())


def _plain(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return value
    number = float(value)
    return number if number == 0 or not math.isfinite(number) else float(f"{number:.9g}")


def compare(sides: Sides, seed: int, count: int) -> None:
    rng = random.Random(seed)
    generator = Generator(rng)
    full = 0
    for number in range(count):
        statement = generator.statement()
        newest = rng.random() < 0.5
        versions = {name: max(rows) if newest else rng.choice(sorted(rows)) for name, rows in sides.history.rows.items()}
        wanted = canonical(sides.theirs(statement, versions))
        full += bool(wanted)
        for hot in (False, True):
            found = canonical(sides.ours(statement, versions, hot=hot))
            assert found == wanted, f"query {number} of seed {seed}, {'hot' if hot else 'Parquet'}, {versions}:\n{statement}"
    assert full > count / 2


def test_generated_queries_agree_with_duckdb(sides: Sides) -> None:
    compare(sides, SEED, QUERIES)


@pytest.mark.soak
def test_all_generated_queries_agree_with_duckdb(sides: Sides) -> None:
    for seed in range(SEED, SEED + 4):
        compare(sides, seed, QUERIES)
