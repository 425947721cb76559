"""Ids are ULIDs, ordered within a process whatever its clock does; schemas and reasons are complete and unambiguous."""

from __future__ import annotations

import ast
import inspect
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ulid import ULID

from state import reasons
from state.streams import ids
from state.streams.ids import Ulids
from state.streams.schemas import STREAMS, StreamInvalid, schema_of
from state.timestamps import from_iso, iso

NUMBERS = st.integers(0, 2**128 - 1)


@given(number=NUMBERS)
def test_encoding_is_that_of_ulids(number: int) -> None:
    text = ids.encode(number)
    assert text == str(ULID(number.to_bytes(16)))
    assert ids.is_id(text)
    assert ids.decode(text) == number
    assert ids.first_at(ids.instant(text)) <= text
    assert ids.month(text) <= "9999-12"


@given(one=NUMBERS, other=NUMBERS)
def test_text_sorts_as_numbers_do(one: int, other: int) -> None:
    assert (ids.encode(one) < ids.encode(other)) == (one < other)
    assert ids.LOWEST <= ids.encode(one) <= ids.HIGHEST < ids.ABOVE


@given(steps=st.lists(st.integers(-3_600_000, 3_600_000), max_size=50))
def test_ids_rise_whatever_the_clock_does(steps: list[int]) -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    source = Ulids(lambda: now[0], Random(1).randbytes)
    made = []
    for step in steps:
        now[0] += timedelta(milliseconds=step)
        made.append(source())
    assert made == sorted(set(made))


def test_a_floor_lifts_all_later_ids() -> None:
    source = Ulids(lambda: datetime(2026, 1, 1, tzinfo=UTC), Random(1).randbytes)
    ahead = ids.first_at(datetime(2026, 1, 1, 1, tzinfo=UTC))
    source.floor(ahead)
    source.floor(ids.LOWEST)
    assert ahead < source() < source()


@given(after=st.timedeltas(timedelta(0), timedelta(days=365 * 8000)))
def test_instants_months_and_bounds(after: timedelta) -> None:
    at = datetime(1970, 1, 1, tzinfo=UTC) + after
    id_ = Ulids(lambda: at, Random(1).randbytes)()
    whole = at.replace(microsecond=at.microsecond // 1000 * 1000)
    assert ids.instant(id_) == whole
    assert ids.first_at(at) <= id_ < ids.first_at(at + timedelta(milliseconds=1))
    assert ids.month(id_) == f"{at:%Y-%m}"
    first, last = ids.month_bounds(ids.month(id_))
    assert first <= id_ <= last
    assert ids.month(first) == ids.month(last) == ids.month(id_)
    assert ids.month(ids.following(last)) != ids.month(id_)
    assert ids.preceding(ids.following(id_)) == id_
    assert from_iso(iso(at)) == whole


@pytest.mark.parametrize(
    "text", ["", "01ARZ3NDEKTSV4RRFFQ69G5FA", "81ARZ3NDEKTSV4RRFFQ69G5FAV", "01arz3ndektsv4rrffq69g5fav", "01ARZ3NDEKTSV4RRFFQ69G5FAI"]
)
def test_what_is_no_id(text: str) -> None:
    assert not ids.is_id(text)


def test_iso_text_sorts_as_time_does_and_is_utc() -> None:
    assert iso(from_iso("2026-11-22T15:51:52.1239+02:00")) == "2026-11-22T13:51:52.123Z"
    assert iso(from_iso("2026-11-22")) == "2026-11-22T00:00:00.000Z"
    with pytest.raises(ValueError, match="soon"):
        from_iso("soon")


def test_every_stream_of_the_design_is_declared_once_with_id_and_at_first() -> None:
    expected = {"status", "events", "trials", "tuning", "errors", "audit", "tool_calls", "jobs", "requests"}
    assert set(STREAMS) == expected
    for name, schema in STREAMS.items():
        names = [column.name for column in schema.columns]
        assert schema.name == name
        assert names[:2] == ["id", "at"]
        assert len(set(names)) == len(names)
        assert {column.type for column in schema.columns} <= {"string", "int64", "float64", "bool", "timestamp", "json"}
        appended = names[:-3] if schema.chained else names
        assert schema.names == set(appended)
        assert names[len(appended) :] == (["chain_writer", "chain_number", "chain_hash"] if schema.chained else [])
        assert schema.summary.endswith(".")
    with pytest.raises(StreamInvalid, match="no stream 'nope'"):
        schema_of("nope")


def test_every_reason_is_documented_and_means_one_thing() -> None:
    body = ast.parse(inspect.getsource(reasons)).body
    constants = [(node, body[place + 1]) for place, node in enumerate(body) if isinstance(node, ast.Assign)]
    values = []
    for constant, after in constants:
        target = constant.targets[0]
        assert isinstance(target, ast.Name)
        value = getattr(reasons, target.id)
        values.append(value)
        assert target.id == "".join(f"_{c}" if c.isupper() else c for c in value).lstrip("_").upper()
        assert isinstance(after, ast.Expr), f"{target.id} has no documentation"
        assert isinstance(after.value, ast.Constant)
        assert str(after.value.value).endswith(".")
    assert len(values) == len(set(values)) > 30
