"""What is kept of a statement: no value, whatever it looks like."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engines.sql.statement_shape import LONGEST, shape


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT a  FROM t\n WHERE b = 'it''s'", "SELECT a FROM t WHERE b = ?"),
        ("SELECT 1, 2.5, .5, 1e-5, 0x1F, 5.", "SELECT ?, …"),
        ("SELECT a FROM t WHERE a IN (1, 2, 3) AND b > -4", "SELECT a FROM t WHERE a IN (?, …) AND b > -?"),
        (r"SELECT E'a\'b' || 'c\' || x", "SELECT ? || ? || x"),
        ("SELECT $$a'b$$, $q$c$$d$q$ FROM t", "SELECT ?, … FROM t"),
        ("SELECT X'61', N'a', U&'b', b'1' FROM t", "SELECT ?, … FROM t"),
        ("SELECT a -- 'x\nFROM t /* /* y */ z */ LIMIT 1", "SELECT a FROM t LIMIT ?"),
        ("SELECT a FROM t WHERE b = 'open", "SELECT a FROM t WHERE b = ?"),
        ("SELECT a /* open", "SELECT a"),
        ("SELECT $1, $name, t1.a2 FROM t1 WHERE c = ANY($ids)", "SELECT $1, $name, t1.a2 FROM t1 WHERE c = ANY($ids)"),
        ('SELECT "First Name" AS "x""y" FROM "T"', 'SELECT "First Name" AS "x""y" FROM "T"'),
        ("SELECT DATE '2026-01-01', a::int, m['key'] FROM t", "SELECT DATE ?, a::int, m[?] FROM t"),
        ("SELECT größe FROM straße WHERE ort = 'Köln'", "SELECT größe FROM straße WHERE ort = ?"),
        ("", ""),
    ],
)
def test_what_was_answered(sql: str, said: str) -> None:
    assert shape(sql, "answered").text == said


@pytest.mark.parametrize(
    ("sql", "parsed", "unread"),
    [
        ('SELECT a FROM t WHERE name = "Bob"', 'SELECT a FROM t WHERE name = "?"', "SELECT ? FROM ? WHERE ? = ?"),
        ("SELECT `Bob` FROM t", 'SELECT "?" FROM t', "SELECT ? FROM ?"),
        ("SELECT $Bob", "SELECT $Bob", "SELECT ?"),
    ],
)
def test_what_failed(sql: str, parsed: str, unread: str) -> None:
    assert (shape(sql, "parsed").text, shape(sql, "unread").text) == (parsed, unread)


def test_how_large_it_is() -> None:
    found = shape("SELECT ((a + 1) * [2]) FROM t", "answered")
    assert (found.tokens, found.depth, found.cut) == (14, 2, False)


def test_a_huge_one_is_cut() -> None:
    found = shape("SELECT '" + "x" * 5_000_000 + "', 1", "answered")
    assert (found.text, found.cut) == ("SELECT ? …", True)
    assert shape("SELECT " + "(" * 10_000 + "1", "answered").depth == 10_000
    assert len(shape("a " * LONGEST, "answered").text) <= LONGEST + 2


_SECRET = st.text(st.sampled_from("0123456789zqx'\"$\\-/*;()\n ñ"), min_size=0, max_size=12).map(lambda text: f"zq{text}qz")


@given(_SECRET, st.sampled_from(["'{}'", "E'{}'", "$${}$$", "$t${}$t$", "-- {}\n", "/* {} */", "X'{}'"]))
@example("zq\\'qz", "E'{}'")
def test_no_literal_is_in_it(secret: str, quotes: str) -> None:
    """However it is quoted, as SQL quotes it."""
    if quotes in ("'{}'", "X'{}'"):
        secret = secret.replace("'", "''")
    elif quotes == "E'{}'":
        secret = secret.replace("\\", "\\\\").replace("'", "\\'")
    elif quotes.startswith("$"):
        secret = secret.replace("$", "")
    elif quotes.startswith("--"):
        secret = secret.replace("\n", "")
    else:
        secret = secret.replace("*/", "").replace("/*", "").rstrip("*/")  # "/*/" begins one more
        secret = secret.replace("/", "").replace("*", "")
    said = shape(f"SELECT a FROM t WHERE b = {quotes.format(secret)} AND c = d", "answered").text
    assert "zq" not in said
    assert said.endswith("AND c = d")


@given(st.text(max_size=200))
def test_of_what_may_be_anything_keywords_are_left(text: str) -> None:
    said = shape(text, "unread").text
    words = set(re.findall(r"\w+", said, re.UNICODE))
    assert all(word.isascii() and word.isalpha() for word in words if word.isidentifier())
    assert not any(character.isdigit() for character in said if character.isascii())
    assert shape(text, "answered").depth >= 0
