"""The small texts of specs: durations, sizes, column types, SQL names, near words."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from specs.column_types import ColumnTypeInvalid, parse_column_type
from specs.durations import DurationInvalid, format_duration, parse_duration
from specs.kinds.bucket import LocalBackend
from specs.kinds.dataset import DatasetSpec, reading
from specs.kinds.dataset_source import Source
from specs.kinds.index import IndexSpec, ModelObject, ServeGeneration
from specs.kinds.policy import PolicySpec
from specs.sizes import SizeInvalid, parse_size
from specs.sql_names import normalised, parameters_of, tables_of
from specs.suggestions import nearest


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("10m", 600), ("1h30m", 5400), ("7d", 604800), ("2w", 1209600), ("250ms", 0.25), ("1.5h", 5400), ("0s", 0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "30", "s", "-5m", "1 h", "1y", "3 weeks", "1h30", "9" * 70 + "s", "99999999d", "1H", "٣s", "30s\n"])
def test_texts_that_are_no_durations(text: str) -> None:
    with pytest.raises(DurationInvalid) as caught:
        parse_duration(text)
    assert caught.value.remedy


@given(st.integers(0, 10**12))
def test_durations_are_written_as_they_are_read(milliseconds: int) -> None:
    length = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(length)) == length


@pytest.mark.parametrize("text", ["", "4", "4 gigs", "GiB", "-1B", "4gib", "4GiB\n"])
def test_texts_that_are_no_sizes(text: str) -> None:
    assert (parse_size("4GiB"), parse_size("500MB"), parse_size("1.5KiB"), parse_size("7 B")) == (2**32, 500_000_000, 1536, 7)
    with pytest.raises(SizeInvalid):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("string", "string"),
        ("decimal( 10 , 2 )", "decimal(10,2)"),
        ("list<int64>", "list<int64>"),
        ("list< list<decimal(5,0)> >", "list<list<decimal(5,0)>>"),
    ],
)
def test_column_types(text: str, canonical: str) -> None:
    assert parse_column_type(text) == canonical


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("text", "did you mean `string`?"), ("INTEGER", "did you mean `int64`?"), ("strng", "did you mean `string`?"),
        ("list<double>", "did you mean `float64`?"),
        ("decimal(50,2)", None), ("decimal(5,6)", None),
        ("list<" * 9 + "string" + ">" * 9, "valid types"), ("qqq", "valid types"), ("", "valid types"),
    ],
)  # fmt: skip
def test_texts_that_are_no_column_types(text: str, remedy: str | None) -> None:
    with pytest.raises(ColumnTypeInvalid) as caught:
        parse_column_type(text)
    assert (caught.value.remedy or "").startswith(remedy or "")


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("SELECT * FROM candidates", ("candidates",)),
        ("select 1 from Team_Runs t join job_orders j on t.a = j.a left join \"P\" p using (x)", ("P", "job-orders", "team-runs")),
        ("SELECT * FROM a, b x, c WHERE x IN (SELECT y FROM d, e) GROUP BY f, g", ("a", "b", "c", "d", "e")),
        ("WITH w AS (SELECT * FROM a), v AS (SELECT * FROM w) SELECT * FROM w JOIN v ON true JOIN b ON true", ("a", "b")),
        ("WITH RECURSIVE r(n) AS (SELECT 1 UNION SELECT n FROM r JOIN a ON true) SELECT * FROM r", ("a",)),
        ("SELECT extract(year FROM hired), trim(both ' ' from name) FROM a WHERE x IS DISTINCT FROM y", ("a",)),
        ("SELECT 'from b' /* from c */ FROM a -- from d\n", ("a",)),
        ("SELECT * FROM generate_series(1, 10), system.events, a", ("a",)),
        ("SELECT * FROM (SELECT * FROM a) x JOIN LATERAL (SELECT * FROM b) y ON true", ("a", "b")),
        ("SELECT * FROM a /* from b", ("a",)),
        ("SELECT", ()), ("FROM", ()), ("select * from", ()), ("((", ()), ("'unclosed from a", ()), ("", ()),
    ],
)  # fmt: skip
def test_tables_of_queries(sql: str, names: tuple[str, ...]) -> None:
    assert tables_of(sql) == names


@given(st.text(alphabet=st.sampled_from("from join with as ()',.\"-/*$a\n"), max_size=60))
def test_no_sql_makes_it_raise(sql: str) -> None:
    tables_of(sql)
    parameters_of(sql)


def test_layout_and_comments_are_no_part_of_a_query() -> None:
    assert normalised("SELECT  a -- one\n FROM t/* two */") == normalised("SELECT a\nFROM t")
    assert normalised("SELECT '  a'") != normalised("SELECT ' a'")


def test_parameters_of_queries() -> None:
    assert parameters_of("SELECT $1, '$no', $city /* $no */ FROM t WHERE a = $city AND b > $Min_2") == ("Min_2", "city")


def test_the_nearest_word() -> None:
    fields = ("primaryKey", "source", "bucket", "staleAfter", "m")
    assert nearest("primary_key", fields) == "primaryKey"
    assert nearest("primarykey", fields) == "primaryKey"
    assert nearest("sorce", fields) == "source"
    assert nearest("stale", fields) == "staleAfter"
    assert nearest("qqqq", fields) is None
    assert nearest("x" * 1000, fields) is None


def test_what_controllers_read_from_specs() -> None:
    index = IndexSpec.model_validate({"dataset": "a", "text": "resume", "serve": {"generation": "g"}, "embed": {"model": {"ollama": "n"}}})
    assert index.text == ("resume",)
    assert index.serve == ServeGeneration(generation="g")
    assert index.embed.model == ModelObject(ollama="n")
    policy = PolicySpec.model_validate({"dataset": "a", "columns": [{"columns": "x", "mask": None}]})
    assert policy.columns[0].mask == "null"
    one = DatasetSpec.model_validate({"source": {"files": "a/*.csv"}, "columns": {"a": "string"}})
    two = DatasetSpec.model_validate(
        {"source": {"files": ["a/*.csv", "b/*.csv"]}, "columns": {"a": {"type": "string", "description": "x"}}, "bucket": "b"}
    )
    assert reading(one) == reading(two)


@pytest.mark.parametrize(
    ("text", "plain"),
    [("./data//a/./*.csv", "data/a/*.csv"), ("a.csv", "a.csv"), ("data/", "data"), ("**/*.csv", "**/*.csv"), ("././a", "a")],
)
def test_one_place_has_one_name(text: str, plain: str) -> None:
    assert Source.model_validate({"files": text}).files == (plain,)
    assert LocalBackend.model_validate({"path": text}).path == plain
    assert LocalBackend.model_validate({"path": f"//{text}"}).path == f"/{plain}"


@pytest.mark.parametrize("text", [".", "./", "a\0b", "/a", "../a", "a/../b", "./../a"])
def test_globs_that_lead_nowhere(text: str) -> None:
    with pytest.raises(ValidationError):
        Source.model_validate({"files": text})


def test_a_file_is_named_once() -> None:
    with pytest.raises(ValidationError, match=r"names `a\.csv` twice"):
        Source.model_validate({"files": ["a.csv", "./a.csv"]})
