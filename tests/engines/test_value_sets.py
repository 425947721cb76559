"""Values by their hashes: what occurs, and what occurs twice, in memory and in staged files."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engines.files import value_sets
from engines.files.value_hashes import hash_rows
from engines.files.value_sets import Suspects, ValueSet, among

WORDS = st.lists(st.one_of(st.none(), st.text(max_size=20)), min_size=1, max_size=30)


def pairs(values: list[str | None]) -> list[tuple[int, int]]:
    (first, second), _ = hash_rows([pa.array(values, pa.string())])
    return list(zip(first.tolist(), second.tolist(), strict=True))


@given(WORDS)
@example(["", "\x01", "b", "a\x00", "\x00", "\x00\x00"])
def test_equal_texts_and_no_others_have_equal_hashes(values):
    known = {value: pair for value, pair in zip(values, pairs(values), strict=True) if value is not None}
    assert len(set(known.values())) == len(known)
    assert pairs(list(known)) == list(known.values())


@given(WORDS, st.integers(0, 29))
def test_a_slice_hashes_as_the_whole(values, start):
    column = pa.array(values, pa.string())
    (whole, _), filled = hash_rows([column])
    (part, _), also = hash_rows([column.slice(start)])
    assert whole[start:][filled[start:]].tolist() == part[also].tolist()
    assert filled.tolist() == [value is not None for value in values]


def test_long_values_and_long_prefixes_differ():
    values = ["x" * length for length in (7, 8, 9, 1023, 1024, 1025, 5000)] + ["x" * 5000 + "y"]
    assert len(set(pairs([*values]))) == len(values)


def test_types_meet_by_their_text():
    texts, numbers, floats = (hash_rows([pa.array(values)])[0][0].tolist() for values in (["7", "8"], [7, 8], [7.0, 8.5]))
    assert texts == numbers
    assert texts[0] == floats[0]


def test_columns_keep_apart():
    one, other = (hash_rows([pa.array([a]), pa.array([b])])[0][0][0] for a, b in (("ab", "c"), ("a", "bc")))
    assert one != other


@pytest.mark.parametrize("run_bytes", [64, 1 << 20])
def test_a_set_has_what_was_added(lake, monkeypatch, run_bytes):
    monkeypatch.setattr(value_sets, "RUN_BYTES", run_bytes)
    found, others = ValueSet(lake.store), ValueSet(lake.store)
    for start in range(0, 100, 7):
        found.add(hash_rows([pa.array(range(start, start + 7))])[0])
    others.add(hash_rows([pa.array(range(500, 600))])[0])
    found.absorb(others)
    asked = hash_rows([pa.array([*range(0, 1000, 5)])])[0]
    assert found.has(asked).tolist() == [number < 105 or 500 <= number < 600 for number in range(0, 1000, 5)]
    found.discard()
    others.discard()
    assert lake.leftovers() == []


@pytest.mark.parametrize("run_bytes", [64, 1 << 20])
def test_suspects_are_the_values_that_occur_twice(lake, monkeypatch, run_bytes):
    monkeypatch.setattr(value_sets, "RUN_BYTES", run_bytes)
    values = np.random.default_rng(3).integers(0, 400, 500)
    suspects = Suspects(lake.store)
    for start in range(0, 500, 9):
        suspects.add(hash_rows([pa.array(values[start : start + 9])])[0][0])
    first = hash_rows([pa.array(values)])[0][0]
    counts = Counter(first.tolist())
    twice = suspects.twice()
    assert sorted(twice.tolist()) == twice.tolist() == sorted(value for value, count in counts.items() if count > 1)
    assert among(first, twice).tolist() == [place for place, value in enumerate(first.tolist()) if counts[value] > 1]
    suspects.discard()
    assert lake.leftovers() == []
