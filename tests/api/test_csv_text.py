from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.csv_text import csv_text

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"))


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""), ("", '""'), ("a", "a"), ("a,b", '"a,b"'), ('a"b', '"a""b"'), ("a\nb", '"a\nb"'), (" a", '" a"'), (True, "true"),
        (False, "false"), (3, "3"), (2.5, "2.5"), ([1, "a"], '"[1,""a""]"'), ({"a": None}, '"{""a"":null}"'),
    ],
)  # fmt: skip
def test_cells(value: object, cell: str) -> None:
    assert csv_text(["x"], [{"x": value}]) == f"x\n{cell}\n"


@given(st.lists(st.fixed_dictionaries({"a": TEXT, "b": TEXT})))
def test_texts_come_back_as_they_were(rows: list[dict[str, str]]) -> None:
    assert list(csv.DictReader(io.StringIO(csv_text(["a", "b"], rows), newline=""))) == rows
