"""The primary key beside migrations: by the names after all of them, of columns that were renamed and no more."""

from __future__ import annotations

import pytest

from specs.parse import parse_file


def told(key: str, migrations: str) -> list[str]:
    spec = f"{{source: {{files: p.csv}}, primaryKey: {key}, migrations: {migrations}}}"
    text = f"apiVersion: lakehouse/v1\nkind: Dataset\nmetadata: {{name: p}}\nspec: {spec}\n"
    return [error.message for error in parse_file("specs/p.yaml", text.encode()).errors]


@pytest.mark.parametrize(
    ("key", "migrations"),
    [
        ("[pid]", "[{from: 1, rename: {id: pid}}]"),
        ("[c]", "[{from: 1, rename: {a: b}}, {from: 2, rename: {b: c}, drop: [a]}]"),
        ("[a]", "[{from: 1, rename: {a: b}}, {from: 2, rename: {b: a}}]"),
        ("[a, b]", "[{from: 1, rename: {a: b, b: a}}]"),
        ("[whole]", "[{from: 1, concat: {whole: {columns: [a, b]}}}]"),
        ("[first]", "[{from: 1, drop: [first]}, {from: 2, split: {name: {into: [first, last]}}}]"),
        ("[uid]", "[{from: 1, cast: {uid: string}, expression: {uid: a}}]"),
        ("[id]", "[{from: 1, rename: {a: b}, cast: {c: string}, drop: [d]}]"),
    ],
)
def test_it_follows(key: str, migrations: str) -> None:
    assert told(key, migrations) == []


@pytest.mark.parametrize(
    ("key", "migrations", "said"),
    [
        ("id", "[{from: 1, rename: {id: pid}}]", "`primaryKey` names `id`, which `migrations[0]` renames to `pid`"),
        (
            "[x, b]",
            "[{from: 1, rename: {a: b}}, {from: 2, rename: {b: c}}]",
            "`primaryKey` names `b`, which `migrations[1]` renames to `c`",
        ),
        ("[c]", "[{from: 1, cast: {a: string}}, {from: 2, rename: {a: c}}]", "`cast` names `a`, which is in the primary key"),
        ("[c]", "[{from: 1, rename: {a: c}, cast: {a: string}}]", "`cast` names `a`, which is in the primary key"),
        ("[a]", "[{from: 1, drop: [a]}]", "`drop` names `a`, which is in the primary key"),
        ("[a]", "[{from: 1, split: {a: {into: [b, c]}}}]", "`split` names `a`, which is in the primary key"),
        ("[b]", "[{from: 1, concat: {c: {columns: [a, b]}}}]", "`concat` names `b`, which is in the primary key"),
    ],
)
def test_it_does_not_follow(key: str, migrations: str, said: str) -> None:
    (message,) = told(key, migrations)
    assert said in message
