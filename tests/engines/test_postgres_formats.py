"""What crosses from PostgreSQL in binary is what crosses as text, and what is escaped in text is put back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from harness_postgres import Postgres
from hypothesis import given
from hypothesis import strategies as st
from postgres_source import Source, refused, types

from engines.files.extract import Extract, ExtractTask
from engines.postgres.binary import decoders
from engines.postgres.columns import our_type, unescaped


@pytest.fixture
def source(tmp_path: Path, postgres: Postgres) -> Source:
    return Source(tmp_path, postgres)


class TestBinary:
    """What crosses in binary is what crosses as text, which one column of lists is enough for."""

    VALUES: Mapping[str, tuple[str, ...]] = {
        "boolean": ("t", "f"),
        "smallint": ("-32768", "0", "32767"),
        "integer": ("-2147483648", "7", "2147483647"),
        "bigint": ("-9223372036854775808", "-1", "9223372036854775807"),
        "oid": ("0", "4294967295"),
        "double precision": ("-0", "5e-324", "1.7976931348623157e308", "0.1", "-Infinity", "Infinity"),
        "date": ("0001-01-01", "1969-12-31", "2000-01-01", "9999-12-31"),
        "timestamp": ("0001-01-01 00:00:00", "1999-12-31 23:59:59.999999", "9999-12-31 23:59:59.999999"),
        "timestamptz": ("1970-01-01 00:00:00.5+02:30", "2024-02-29 12:00:00+00"),
        "timestamp(3)": ("2024-02-29 12:00:00.123",),
        "uuid": ("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "00000000-0000-0000-0000-0000000000ff"),
        "json": ('{"b":  1}', "null"),
        "jsonb": ('{"b": 1.10, "a": null}', "1"),
        "text": ("", "a", r"\N", "two\nlines\tand \\ more", "grüß 漢字 🙂", "x" * 300),
        "varchar(5)": ("", "grüß"),
        "char(5)": ("", "ab"),
        "bytea": (r"\x", r"\x00ff5c"),
        "numeric(1,0)": ("0", "-9", "5"),
        "numeric(4,4)": ("0.0001", "-0.9999", "0"),
        "numeric(5,3)": ("99.999", "-0.001", "1", "10.5"),
        "numeric(12,2)": ("9999999999.99", "-0.01", "10000", "100000000", "1234.5", "0"),
        "numeric(18,0)": ("999999999999999999", "-100000000", "1"),
        "numeric(18,18)": ("0.999999999999999999", "0.000000000000000001", "-0.0001"),
        "numeric(18,9)": ("999999999.999999999", "-1.000000001", "10000.00001"),
    }

    @staticmethod
    def query(rows: int, *, nulls: bool = True) -> str:
        """So many rows in which each value of each type meets others. nulls: now and then; without, fixed sizes are what they should be."""
        columns = []
        for at, (kind, values) in enumerate(TestBinary.VALUES.items()):
            texts = ", ".join("E'" + value.replace("\\", "\\\\") + "'" for value in values)
            columns.append(f"(ARRAY[{texts}])[1 + (i + {at}) % {len(values) + nulls}]::{kind} AS c{at}")
        return f"SELECT {', '.join(columns)} FROM generate_series(1, {rows}) AS i"

    @pytest.mark.parametrize("nulls", [True, False])
    @pytest.mark.parametrize("rows", [0, 1, 6, 50_000])
    def test_it_is_what_text_is(self, source: Source, rows: int, *, nulls: bool) -> None:
        query = self.query(rows, nulls=nulls)
        made, text = (source.read(sql) for sql in (query, f"SELECT q.*, ARRAY[1] AS list FROM ({query}) AS q"))
        assert types(text) == {**types(made), "list": "list<int64>"}
        assert made.rows.files.keys() == text.rows.files.keys()
        if rows:
            assert self._table(source, made).equals(self._table(source, text).drop_columns(["list"]))

    @staticmethod
    def _table(source: Source, made: Extract) -> pa.Table:
        table = source.table(made)
        return table.cast(pa.schema([field.remove_metadata() for field in table.schema]))

    def test_each_of_these_types_crosses_in_binary_and_no_other(self) -> None:
        kinds = [kind.replace("timestamptz", "timestamp with time zone") for kind in self.VALUES]
        declared = {
            "timestamp": "timestamp without time zone", "timestamp(3)": "timestamp(3) without time zone", "char(5)": "character(5)",
            "varchar(5)": "character varying(5)",
        }  # fmt: skip
        assert all(decoders({"a": declared.get(kind, kind)}) is not None for kind in kinds)
        assert [decoders({"a": "integer", "b": kind}) for kind in ("real", "numeric", "numeric(19,0)", "integer[]", "mood", '"char"')] == [
            None
        ] * 6

    @pytest.mark.parametrize(
        ("value", "told"),
        [
            ("'NaN'::numeric(10,2)", "NaN"),
            ("'infinity'::date", "infinity"),
            ("'-infinity'::date", "-infinity"),
            ("'infinity'::timestamp", "infinity"),
            ("'-infinity'::timestamptz", "-infinity"),
            ("'10000-01-01'::date", "10000-01-01"),
            ("'0044-03-15 BC'::timestamp", "-0043-03-15 00:00:00.000000"),
        ],
    )
    def test_what_the_type_cannot_hold_makes_the_column_text_or_is_told(self, source: Source, value: str, told: str) -> None:
        made = source.read(f"SELECT i, CASE WHEN i = 5 THEN {value} END AS x FROM generate_series(1, 9) AS i")
        ((written,),) = source.postgres.rows(f"SELECT ({value})::text")
        assert [row["x"] for row in source.rows(made)] == [None] * 4 + [written] + [None] * 4
        task = source.task(f"SELECT {value} AS x")
        kind = our_type(source.server_type(value))
        rows = replace(task.rows.rows, overrides={"x": kind})
        assert f"column `x`: `{told}` is no {kind}" in refused(source.run(replace(task, rows=ExtractTask(rows))))

    def test_texts_of_no_encoding_are_refused_by_the_server(self, source: Source) -> None:
        """Which is why no text is looked at here."""
        source.postgres.run("DROP DATABASE IF EXISTS plain")
        source.postgres.run("CREATE DATABASE plain TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
        plain = Postgres(source.postgres.dsn.replace("/postgres?", "/plain?"))
        plain.run(r"CREATE TABLE texts (a text); INSERT INTO texts VALUES (convert_from('\xff', 'SQL_ASCII'))")
        assert "invalid byte sequence" in refused(Source(source.folder, plain).read("SELECT a FROM texts"))


ESCAPES = {"\\": r"\\", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v"}


@given(st.lists(st.none() | st.text("\\bfnrtvx\b\f\n\r\t\vé")), st.integers(0, 3))
def test_what_copy_escapes_is_put_back(texts: list[str | None], first: int) -> None:
    """Source of the rules: PostgreSQL's documentation of COPY, text format. first: the batch is a slice."""
    sent = [None if text is None else "".join(ESCAPES.get(character, character) for character in text) for text in texts]
    batch = pa.record_batch({"text": pa.array(sent, pa.string()), "n": range(len(sent))})
    found = unescaped(batch.slice(first))
    found.validate(full=True)
    assert found["text"].to_pylist() == texts[first:]
