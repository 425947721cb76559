"""Two lakes that differ in what policies hide now give every answer alike as of former versions and under former schemas, where columns had
other names, other types and other values, and some are gone since."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from small_lake import BUCKET, Bench, dataset

from engines.at import At
from engines.errors import LakehouseError
from engines.reading import Binding, Reader
from engines.sql.query_request import QueryRequest
from reconciler.reading import reading
from reconciler.settings import Settings
from state import reasons

KEYED = ", primaryKey: [id], write: upsert"
FIRST = "{from: 1, rename: {state: status, phone: mobile}, cast: {level: string}, expression: {age: 'age * 12'}, drop: [remark]}"
SECOND = "{from: 2, rename: {mobile: phone}, split: {name: {into: [first, rest], separator: ' '}}}"
POLICIES = {
    "status": "rows: [{roles: [clerk], where: \"status = 'open'\"}]",
    "level": "rows: [{roles: [clerk], where: \"level <> '7'\"}]",
    "text-level": "rows: [{roles: [clerk], where: \"level >= '1' AND level < '7'\"}]",
    "age": "rows: [{roles: [clerk], where: 'age < 600'}]",
    "first": "rows: [{roles: [clerk], where: \"first <> 'Mallory'\"}]",
    "not-first": "rows: [{roles: [clerk], where: \"first IS NULL OR first <> 'Mallory'\"}]",
    "rest": "rows: [{roles: [clerk], where: \"status = 'open'\"}]\n  columns: [{columns: [rest, phone], roles: [clerk], mask: 'null'}]",
    "masks": (
        "columns: [{columns: [level, age, phone], roles: [clerk], mask: redact}, {columns: [first, rest], roles: [clerk], mask: 'null'}]"
    ),
}
"""A hidden row is hidden by each of those of rows."""


def header(names: str, rows: Sequence[Sequence[Any]]) -> str:
    return names + "\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)


def row(number: int, **hidden: Any) -> list[Any]:
    shown = {"id": number, "state": "open", "phone": f"555{number:04}", "level": number % 6, "age": 20 + number % 20}
    return list({**shown, "name": f"Ada L{number % 4}", "remark": f"r{number % 3}", **hidden}.values())


def hidden(number: int, lake: int) -> list[Any]:
    values = {"phone": f"{777 + lake}{number:04}", "name": f"Mallory {'AB'[lake]}{number}", "remark": f"secret{lake}-{number}"}
    return row(number, state="closed", level=7, age=50 + number % 7 + 9 * lake, **values)


class Lakes:
    """Three versions, each with a schema of its own, under one policy."""

    def __init__(self, root: Path, policy: str) -> None:
        document = f"apiVersion: lakehouse/v1\nkind: Policy\nmetadata: {{name: p}}\nspec:\n  dataset: x\n  {policy}\n"
        self.policy = policy
        masked_only = policy.startswith("columns")
        self.benches = []
        for lake in (0, 1):
            bench = Bench(root / str(lake))
            self.benches.append(bench)
            rows = [row(number) for number in range(0, 30, 2)]
            if masked_only:
                rows = [row(n, phone=f"{lake}{n}", level=lake + n % 3, age=n + lake, name=f"N{lake} M{n + lake}") for n in range(0, 30, 2)]
                rows = [[*one[:-1], f"gone{lake}"] for one in rows]
            else:
                rows = sorted([*rows, *(hidden(number, lake) for number in range(1, 20 - 8 * lake, 2))])
            bench.write("data/x/a.csv", header("id,state,phone,level,age,name,remark", rows))
            for migrations in ((), (FIRST,), (FIRST, SECOND)):
                more = f", migrations: [{', '.join(migrations)}]" if migrations else ""
                bench.commit(BUCKET, dataset("x", KEYED + more), document)
                status = bench.settle()
                assert status["Dataset/x"].reason == reasons.SUCCEEDED, status["Dataset/x"]
                assert status["Policy/p"].reason == reasons.SUCCEEDED or migrations != (FIRST, SECOND), status["Policy/p"]

    def told(self, bench: Bench, asked: Sequence[tuple[str, At]]) -> list[Any]:
        who = Reader(profile="desk", role="clerk", binding=Binding(frozenset({"x"})), rules=bench.kinds.policy.book.now())

        async def run() -> list[Any]:
            found: list[Any] = []
            async with reading(bench.state, Settings()) as readers:
                for sql, at in asked:
                    try:
                        answer = await readers.queries.run(QueryRequest(sql, at=at), who)
                        found.append((answer.columns(), sorted(map(str, answer.rows()))))
                    except LakehouseError as error:
                        found.append((type(error).__name__, error.explain()))
            return found

        return asyncio.run(run())


@pytest.fixture(scope="module", params=POLICIES)
def lakes(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Lakes]:
    made = Lakes(tmp_path_factory.mktemp("lakes"), POLICIES[request.param])
    yield made
    for bench in made.benches:
        bench.close()


NAMES = {
    1: ("id", "state", "phone", "level", "age", "name", "remark"),
    2: ("id", "status", "mobile", "level", "age", "name"),
    3: ("id", "status", "phone", "level", "age", "first", "rest"),
}
MOMENTS = [(number, At(number)) for number in (1, 2, 3)] + [(number, At(None, {}, number)) for number in (1, 2)] + [(1, At(2, {}, 1))]


def statements(rng: random.Random, names: Sequence[str]) -> Iterator[str]:
    yield from ("SELECT * FROM x", "DESCRIBE x", "SELECT count(*) AS n FROM x")
    for name in names:
        yield f'SELECT min("{name}") AS a, max("{name}") AS b, count(DISTINCT "{name}") AS c, count("{name}") AS d FROM x'
    for _ in range(6):
        one, other = rng.choice(names), rng.choice(names)
        test = rng.choice((f"{one} > '5'", f"{one} IS NULL", f"cast({one} AS int) > 6", f"cast({one} AS varchar) LIKE '%Mallory%'"))
        yield rng.choice(
            (
                f"SELECT {other} AS t FROM x WHERE {test}",
                f"SELECT count(*) AS n, max({other}) AS m FROM x WHERE {test} OR 1 / (id - 3) = 5",
                f"SELECT id, row_number() OVER (ORDER BY {other}, id) AS n FROM x WHERE NOT ({test})",
                f"SELECT id FROM x ORDER BY {one}, id LIMIT 4 OFFSET {rng.randrange(12)}",
                f"SELECT a.id FROM x a JOIN x b ON a.{one} = b.{one} AND a.id < b.id",
            )
        )


def test_former_versions(lakes: Lakes) -> None:
    rng = random.Random(7)
    asked = [(sql, at) for schema, at in MOMENTS for sql in statements(rng, NAMES[schema])]
    one, other = (lakes.told(bench, asked) for bench in lakes.benches)
    for (sql, at), here, there in zip(asked, one, other, strict=True):
        assert here == there, (sql, at)
    whole = [answer for (sql, _), answer in zip(asked, one, strict=True) if sql == "SELECT * FROM x"]
    for answer in whole:
        assert "Mallory" not in str(answer), answer
        assert "secret" not in str(answer), answer
    assert len(whole[2][1]) == (10 if "level >=" in lakes.policy else 15)
