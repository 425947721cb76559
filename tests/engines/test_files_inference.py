from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.files import shapes
from engines.files.conversion import Unfit, convert
from engines.files.inference import Evidence, decide
from engines.files.ingest import infer
from engines.files.types import arrow_type, can_widen, from_arrow


@pytest.mark.parametrize(
    ("name", "values", "kind", "why"),
    [
        ("n", ["1", "-20", "0"], "int64", "whole numbers"),
        ("n", ["1", "", None], "int64", "1 sampled value:"),
        ("n", ["1", "007"], "string", "mixed: 1 int64 of the form `9`, 1 string of the form `099`"),
        ("n", ["02134"], "string", "begins with a zero"),
        ("n", ["-0"], "float64", ""),
        ("n", ["+5"], "string", ""),
        ("n", ["1" * 18], "int64", ""),
        ("n", ["1" * 19], "string", "more than 18 digits"),
        ("n", ["1.5", "2"], "float64", ""),
        ("n", ["0.1234567890123456789"], "string", "float64 cannot keep"),
        ("n", ["1.5", "123456789012345678"], "string", "longest whole numbers"),
        ("n", ["1e-05"], "float64", ""),
        ("n", ["12E4", "13E4"], "string", ""),
        ("n", ["nan"], "string", ""),
        ("n", ["1,5"], "string", ""),
        ("n", ["0x10"], "string", ""),
        ("n", [" 5"], "string", ""),
        ("n", ["true", "FALSE"], "bool", "true or false"),
        ("n", ["true", "1"], "string", "mixed"),
        ("n", ["yes"], "string", ""),
        ("n", ["2024-02-29"], "date", "ISO dates"),
        ("n", ["2023-02-29"], "string", ""),
        ("n", ["0000-01-01"], "string", ""),
        ("n", ["10000-01-01"], "string", ""),
        ("n", ["2024-01-01", "1/2/2024"], "string", "mixed"),
        ("n", ["2024-01-01", "2024-01-01 10:00"], "string", "mixed"),
        ("n", ["2024-01-01T10:00:00.123456"], "timestamp", "without a zone"),
        ("n", ["2024-01-01T10:00:00.123456789"], "string", ""),
        ("n", ["2024-01-01T10:00:00Z", "2024-01-01T10:00+05:30"], "timestamp", "UTC"),
        ("n", ["2024-01-01T10:00:00Z", "2024-01-01T10:00"], "string", "mixed"),
        ("n", ["2024-01-01T24:00"], "string", ""),
        ("n", ["", None], "string", "empty"),
        ("n", ["4155550123", "2125550199"], "string", "telephone"),
        ("n", ["1700000000", "1700000001"], "int64", ""),
        ("n", ["4155550123", "7"], "int64", ""),
        ("n", [f"{100 + 9 * i}{10 + i}{1234 + i}" for i in range(50)], "string", "social security"),
        ("n", [str(100_000_000 + i) for i in range(1, 60)], "int64", ""),
        ("zip", ["60601"], "string", "`zip`"),
        ("homeZip", ["60601"], "string", "`zip`"),
        ("Postal Code", ["1000"], "string", "`postal`"),
        ("contact_phone", ["5550123"], "string", "`phone`"),
        ("ssn", ["123456789"], "string", "`ssn`"),
        ("phone_calls", ["3"], "int64", ""),
        ("mobile", ["true"], "bool", ""),
        ("zipper", ["3"], "int64", ""),
        ("latitude", ["41.878113", "-87.629799"], "float64", ""),
    ],
)
def test_columns_of_text(name, values, kind, why):
    evidence = Evidence()
    evidence.add_texts(values)
    guess = decide(name, evidence)
    assert (guess.name, guess.type) == (name, kind)
    assert why in guess.reason
    assert guess.reason


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, None, 2], "int64"),
        ([1, 2.5], "float64"),
        ([10**18], "string"),
        ([True], "bool"),
        ([True, 1], "string"),
        (["1"], "string"),
        (["2024-01-01"], "date"),
        (["2024-01-01T00:00:00Z"], "timestamp"),
        ([{"a": 1}, [1]], "string"),
        ([Decimal("0.1234567890123456789")], "string"),
        ([None], "string"),
        (["2024-01-01", 5], "string"),
    ],
)
def test_columns_of_json(values, kind):
    evidence = Evidence()
    for value in values:
        evidence.add_json(value)
    assert decide("n", evidence).type == kind


def test_several_files_are_judged_together(lake):
    first = lake.task("a.csv", "a,b,zip\n1,x,5\n2,y,6\n").source
    second = lake.task("b.csv", "c,a,b\n1,1.5,2\n").source
    found = {guess.name: guess.type for guess in infer([first, second], {"c": "string"}).columns}
    assert found == {"a": "float64", "b": "string", "zip": "string", "c": "string"}
    lines = lake.task("c.json", '{"a": 1}\n').source
    assert {guess.name: guess.type for guess in infer([first, lines]).columns}["a"] == "int64"


def test_long_values_are_cut_in_reasons():
    evidence = Evidence()
    evidence.add_texts(["line\n" * 100])
    assert len(decide("n", evidence).reason) < 80


_CELLS = st.one_of(
    st.none(),
    st.just(""),
    st.integers().map(str),
    st.floats(allow_nan=True).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False, places=6).map(str),
    st.dates().map(str),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.from_regex(r"[-+0-9.eE:T Z]{1,12}", fullmatch=True),
    st.sampled_from(["true", "0", "007", "0x10", "-0", "nan", "inf", "1e400", ".", "5.", ".5", "0000-01-01", "2024-01-01 10:00Z"]),
    st.text(max_size=5),
)


@given(st.lists(_CELLS, max_size=6), st.sampled_from(sorted(shapes.PATTERNS)))
def test_whole_columns_are_converted_exactly_where_each_value_fits(cells, kind):
    """The fast tests on buffers and the exact ones on single values agree."""
    cells = [cell if cell is None or "\x00" not in cell else None for cell in cells]
    fitting = [not cell or shapes.fits(cell, kind) for cell in cells]
    zones = {shapes.kind_of(cell) for cell in cells if cell and shapes.fits(cell, "timestamp")}
    column = pa.array(["skipped", *cells], pa.string()).slice(1)
    if all(fitting) and (kind != "timestamp" or len(zones) < 2):
        result = convert(column, kind, strict=True)
        assert result.type == arrow_type(kind)
        assert [value is None for value in result.to_pylist()] == [not cell for cell in cells]
        if kind == "float64":
            assert all(
                value is None or Decimal(repr(value)) == Decimal(cell) for value, cell in zip(result.to_pylist(), cells, strict=True)
            )
    else:
        with pytest.raises(Unfit) as caught:
            convert(column, kind, strict=True)
        if len(zones) < 2:
            assert caught.value.index == fitting.index(False)


def test_types_go_to_arrow_and_back():
    for name in ("string", "int64", "float64", "bool", "date", "timestamp", "binary", "decimal(10,2)", "list<list<int64>>"):
        assert from_arrow(arrow_type(name)) == name
    assert from_arrow(pa.uint64()) == "decimal(20,0)"
    assert from_arrow(pa.dictionary(pa.int8(), pa.large_string())) == "string"
    assert from_arrow(pa.struct([("a", pa.int8())])) == "string"
    assert from_arrow(pa.timestamp("ns", "UTC")) == "timestamp"


@pytest.mark.parametrize(
    ("source", "target", "allowed"),
    [
        ("int64", "float64", True),
        ("float64", "int64", False),
        ("int64", "decimal(10,2)", True),
        ("decimal(8,2)", "decimal(10,2)", True),
        ("decimal(10,2)", "decimal(10,4)", False),
        ("date", "timestamp", False),
        ("list<int64>", "list<float64>", True),
        ("timestamp", "string", True),
        ("string", "int64", False),
    ],
)
def test_what_may_widen(source, target, allowed):
    assert can_widen(source, target) is allowed
