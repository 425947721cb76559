"""Names that stand for values in a statement, and what is none."""

from __future__ import annotations

import pytest

from engines.sql.placeholders import placeholders


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("SELECT $a, $b_1 FROM t WHERE x = $a", {"a", "b_1"}),
        ("SELECT '$a', \"$b\", E'\\'$c', 'it''s $d' -- $e", set()),
        ("SELECT date'ends with \\', $a", {"a"}),  # no text with escapes, though an `e` stands before it
        ("/* $a */ SELECT $b", {"b"}),
        ("SELECT $$ $a $$, $t$ $b $$ $t$, $c", {"c"}),
        ("SELECT x$a, @$b, $c", {"c"}),
        ("SELECT $a, 'never ends $b", {"a"}),
        ("SELECT $a, E'never ends $b\\", {"a"}),
        ('SELECT $a, "never ends $b', {"a"}),
        ("SELECT $a, /* never ends $b", {"a"}),
        ("SELECT $a, $t$ never ends $b", {"a"}),
        ("SELECT $a, " + "/* " * 20_000, {"a"}),
        ("SELECT $a, " + " ".join(f"$t{n}$" for n in range(10_000)), {"a"}),
    ],
)
def test_names(sql: str, names: set[str]) -> None:
    assert placeholders(sql) == names
