"""What is shown of values by each kind of mask and type, behind the barrier and row by row where a policy fails."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import asdict, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pytest
from datafusion import SessionContext

from engines.policies.governed import MaskKind
from engines.sql.barrier import barrier
from engines.sql.careful import Careful, table_of
from engines.sql.problems import QueryProblem
from engines.sql.shown import Masked, ShownAs
from engines.sql.source import LakeTable, source_from_dict

KEY = "0b" * 32


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)


VALUES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "text": (pa.string_view(), ["078-05-1120", "1234", "", None, "ünïcödé"]),
    "number": (pa.int64(), [1, 2, 3, None, 5]),
    "day": (pa.date32(), [date(2001, 5, 6), date(1, 2, 3), date(9999, 12, 31), None, date(1969, 12, 31)]),
    "instant": (pa.timestamp("us"), [_at("2001-05-06T07:08:09"), _at("1969-12-31"), _at("2262-05-01"), None, _at("1700-03-04")]),
    "money": (pa.decimal128(8, 2), [Decimal("1.50"), Decimal("2.00"), Decimal("3.25"), None, Decimal("0.01")]),
    "flag": (pa.bool_(), [True, False, True, None, False]),
}


def batch() -> pa.RecordBatch:
    arrays = [pa.array(values, kind) for kind, values in VALUES.values()]
    return pa.RecordBatch.from_arrays(arrays, names=list(VALUES))


def shown(column: str, kind: MaskKind, argument: str | None = None) -> list[Any]:
    context = SessionContext()
    mask = ShownAs(None, (Masked(column, kind, argument),), key=KEY)
    context.register_table("v", barrier(table_of(batch()), "people", mask))
    found = context.sql("SELECT * FROM v").to_arrow_table()
    assert found.schema.types == [kind for kind, _ in VALUES.values()]
    (again,) = Careful("people", mask).rows([batch()])
    assert again.to_pylist() == found.to_pylist()
    return list(found[column].to_pylist())


@pytest.mark.parametrize("column", VALUES)
def test_every_type_is_kept_and_nothing_is_shown_that_a_mask_cannot_say(column: str) -> None:
    nothing = [None] * 5
    assert shown(column, "null") == nothing
    text = column == "text"
    assert shown(column, "redact") == (["[redacted]"] * 5 if text else nothing)
    assert text or shown(column, "lastFour") == nothing
    assert text or shown(column, "firstFour") == nothing
    assert text or shown(column, "hash") == nothing
    assert column in ("day", "instant") or shown(column, "year") == nothing


def test_parts_of_texts() -> None:
    assert shown("text", "lastFour") == ["1120", None, None, None, "cödé"]
    assert shown("text", "firstFour") == ["078-", None, None, None, "ünïc"]


def test_years() -> None:
    assert shown("day", "year") == [date(2001, 1, 1), date(1, 1, 1), date(9999, 1, 1), None, date(1969, 1, 1)]
    years = [_at("2001-01-01"), _at("1969-01-01"), _at("2262-01-01"), None, _at("1700-01-01")]
    assert shown("instant", "year") == years


def test_hashes_are_keyed() -> None:
    hashed = shown("text", "hash")
    assert hashed[0] == hmac.digest(bytes.fromhex(KEY), b"078-05-1120", hashlib.sha256).hex()
    assert hashed[3] is None
    without = ShownAs(None, (Masked("text", "hash"),))
    with pytest.raises(QueryProblem, match="cannot be evaluated"):
        barrier(table_of(batch()), "people", without)


@pytest.mark.parametrize(
    ("column", "argument", "value"),
    [
        *(("number", "7", 7), ("number", '"x"', None), ("text", "7", "7"), ("text", '"x"', "x"), ("money", "1.5", Decimal("1.50"))),
        *(("flag", "true", True), ("day", "true", None), ("day", '"2020-01-02"', date(2020, 1, 2)), ("number", "null", None)),
    ],
)
def test_constants(column: str, argument: str, value: Any) -> None:
    assert shown(column, "constant", argument) == [value] * 5


def test_expressions_see_what_is_masked() -> None:
    assert shown("number", "expression", "length(text)") == [11, 4, 0, None, 7]
    assert shown("number", "expression", "text") == [None, 1234, None, None, None]  # what cannot be cast is null
    assert shown("text", "expression", "number * 2") == ["2", "4", "6", None, "10"]


def test_where_a_policy_fails_the_row_is_hidden_and_the_value_null() -> None:
    fails = ShownAs("10 / (number - 2) < 100", (Masked("text", "expression", "cast(10 / (number - 3) AS varchar)"), Masked("flag", "null")))
    (found,) = [pa.Table.from_batches(Careful("people", fails).rows([batch()]))]
    assert found.select(["number", "text", "flag"]).to_pylist() == [
        {"number": 1, "text": "-5", "flag": None},
        {"number": 3, "text": None, "flag": None},
        {"number": 5, "text": "5", "flag": None},
    ]


def test_what_is_shown_crosses_to_a_worker_whole() -> None:
    part = ShownAs("a = $x", (Masked("a", "hash"),), (("x", "1"),), ("p",), (("b", "a"),), (("c", "int64"),), KEY, "/somewhere")
    table = LakeTable("people", 3, (("a", "string"),), shown=part)
    assert source_from_dict(orjson.loads(orjson.dumps(table.to_dict()))) == table
    assert KEY not in repr(table)
    assert part.digest == replace(part, held=None, policies=()).digest
    for other in (replace(part, key="0c" * 32), replace(part, values=()), replace(part, masks=()), replace(part, row_filter=None)):
        assert other.digest != part.digest
    assert ShownAs.from_dict(asdict(part)) == part
