from __future__ import annotations

import errno
import json
from dataclasses import replace
from decimal import Decimal

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.errors import FileChanged, FileRefused
from engines.files import ingest, sorting, staged_parts, table_writer
from engines.files.footers import read_footer
from engines.files.ingest import infer, run
from engines.files.ingest_task import IngestResult, IngestTask
from state.catalog.schemas import Column, Schema, extend_schema
from state.digest_file import sha256_file
from state.errors import DiskFull, FailpointError

UPSERT = {"primary_key": ("id",), "write": "upsert"}


def test_parts_say_what_they_are(lake):
    result = lake.ingest("a.csv", "id,name\n1,Ann\n3,\n2,Bob\n")
    (part,) = result.files
    path = lake.store.path(part.key)
    assert (part.rows, part.first_row, part.role, part.sequence, part.schema_id) == (3, 0, "base", 0, 1)
    assert (part.ref.size, part.ref.sha256) == (path.stat().st_size, sha256_file(path))
    assert {name: tuple(stats) for name, stats in part.columns.items()} == {"id": (1, 3, 0), "name": ("Ann", "Bob", 1)}
    assert part.key_min is None
    schema = pq.read_schema(path)
    assert [(field.name, field.metadata) for field in schema][:2] == [
        ("id", {b"PARQUET:field_id": b"1"}),
        ("name", {b"PARQUET:field_id": b"2"}),
    ]
    task = lake.task("a.csv")
    assert schema.metadata[b"lakehouse.dataset"] == b"things"
    assert schema.metadata[b"lakehouse.transformation"] == b"t1"
    assert orjson.loads(schema.metadata[b"lakehouse.source"]) == {"path": "a.csv", "digest": task.digest, "size": task.size}
    assert Schema.from_dict(orjson.loads(schema.metadata[b"lakehouse.columns"])) == result.schema


def test_rows_without_a_key_are_known_by_file_and_number(lake):
    task = lake.task("a.csv", "a\nx\ny\n")
    rows = lake.table(run(task, store=lake.store), hidden=True).to_pylist()
    assert rows == [{"a": "x", "_file": task.digest, "_row": 0}, {"a": "y", "_file": task.digest, "_row": 1}]
    keyed = lake.ingest("a.csv", primary_key=("a",))
    assert lake.table(keyed, hidden=True).column_names == ["a"]


@pytest.mark.parametrize("tiny", [0, 1_000])
def test_decimals_are_integers_in_parquet_as_far_as_these_reach(lake, monkeypatch, tiny):
    monkeypatch.setattr(table_writer, "TINY_ROWS", tiny)
    kinds = {"a": "decimal(9,2)", "b": "decimal(18,2)", "c": "decimal(19,2)"}
    result = lake.ingest("a.csv", "a,b,c\n-1.50,9999999999999999.99,1.00\n2.25,,-3.00\n", overrides=kinds)
    (part,) = result.files
    schema = pq.ParquetFile(lake.store.path(part.key)).schema
    assert [schema.column(at).physical_type for at in range(3)] == ["INT32", "INT64", "FIXED_LEN_BYTE_ARRAY"]
    assert [tuple(stats)[:2] for stats in part.columns.values()] == [
        ("-1.50", "2.25"), ("9999999999999999.99", "9999999999999999.99"), ("-3.00", "1.00"),
    ]  # fmt: skip
    assert lake.table(result).to_pylist()[0] == {"a": Decimal("-1.50"), "b": Decimal("9999999999999999.99"), "c": Decimal("1.00")}


def test_what_hardly_repeats_is_written_as_differences_and_texts_behind_their_lengths(lake, monkeypatch):
    monkeypatch.setattr(table_writer, "TINY_ROWS", 0)
    kinds = {
        "n": "int64",
        "price": "decimal(9,2)",
        "wide": "decimal(19,2)",
        "day": "date",
        "at": "timestamp",
        "name": "string",
        "x": "float64",
    }
    lines = [f"{i},{i}.5,{i}.25,20{i:02d}-01-02,2024-01-01T00:00:{i:02d},text {i},{i}.125,same" for i in range(50)]
    result = lake.ingest("a.csv", "n,price,wide,day,at,name,x,again\n" + "\n".join(lines) + "\n", overrides=kinds, primary_key=("n",))
    group = pq.ParquetFile(lake.store.path(result.files[0].key)).metadata.row_group(0)
    columns = {group.column(at).path_in_schema: set(group.column(at).encodings) for at in range(group.num_columns)}
    assert [name for name, found in columns.items() if "DELTA_BINARY_PACKED" in found] == ["n", "price", "day", "at"]
    assert [name for name, found in columns.items() if "DELTA_LENGTH_BYTE_ARRAY" in found] == ["name"]
    assert [name for name, found in columns.items() if "RLE_DICTIONARY" in found] == ["again"]
    assert [row["name"] for row in lake.rows(result)] == [f"text {i}" for i in range(50)]
    assert [str(row["price"]) for row in lake.rows(result)] == [f"{i}.50" for i in range(50)]


def test_doing_it_again_gives_equal_objects(lake):
    first = lake.ingest("a.csv", "id,b\n1,x\n")
    content = lake.store.get(first.files[0].key)
    assert lake.ingest("a.csv") == first
    assert lake.store.get(first.files[0].key) == content
    assert lake.ingest("a.csv", overrides={"b": "binary"}).files[0].key != first.files[0].key
    assert lake.ingest("a.csv", "id,b\n1,y\n").files[0].key != first.files[0].key


def test_task_and_result_travel_as_json(lake):
    task = lake.task(
        "a.csv", "id;b\n1;x\n", delimiter=";", overrides={"b": "string"}, schema=Schema(1, (Column(1, "id", "int64"),)), **UPSERT
    )
    assert IngestTask.from_dict(json.loads(json.dumps(task.to_dict()))) == task
    result = run(task, store=lake.store)
    assert IngestResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result


def test_a_new_column_extends_the_schema_and_a_missing_one_is_null(lake):
    schema = Schema(4, (Column(2, "id", "int64"), Column(5, "b", "string")))
    given = {"schema": schema, "next_column_id": 9, "next_schema_id": 7}
    result = lake.ingest("a.csv", "c,id\n1.5,1\n", **given)
    assert result.schema == Schema(7, (*schema.columns, Column(9, "c", "float64")))
    assert lake.rows(result) == [{"id": 1, "b": None, "c": 1.5}]
    assert [guess.name for guess in result.guesses] == ["c"]
    assert lake.ingest("b.csv", "id\n1\n", **given).schema is schema
    typed = lake.ingest("c.csv", "id,zip\n1,5\n", overrides={"zip": "int64", "typo": "string"}, **given)
    assert typed.schema.columns[-1] == Column(9, "zip", "int64")


@pytest.mark.parametrize(
    ("cell", "kind", "instead"),
    [("1.5", "int64", "float64"), ("x", "int64", "string"), ("007", "int64", "float64"), ("1", "bool", "string")],
)
def test_a_table_s_type_refuses_what_is_wider(refused, cell, kind, instead):
    error = refused("a.csv", f'n,a\n"x\n",\n\ny,{cell}\n', schema=Schema(1, (Column(1, "n", "string"), Column(2, "a", kind))))
    assert error.line == 5
    assert error.reason == f"column `a`: `{cell}` is no {kind}, the table's type for it"
    assert f"columns: {{a: {instead}}}" in error.remedy


def test_int_is_taken_as_float_where_the_table_says_so(lake):
    schema = Schema(1, (Column(1, "a", "float64"),))
    assert lake.rows(lake.ingest("a.csv", "a\n3\n", schema=schema)) == [{"a": 3.0}]


@pytest.mark.parametrize(
    ("header", "warned"),
    [
        ("id,nmae", ("a.csv: column `nmae` is new, and `name` is missing: is it misspelt?",)),
        ("id,name,nmae", ()),
        ("id,price", ()),
        ("id", ()),
    ],
)
def test_a_misspelt_header_is_warned_of(lake, header, warned):
    schema = Schema(1, (Column(1, "id", "int64"), Column(2, "name", "string")))
    cells = ",".join("1" for _ in header.split(","))
    assert lake.ingest("a.csv", f"{header}\n{cells}\n", schema=schema, next_column_id=3).warnings == warned


@pytest.mark.parametrize(
    ("name", "content", "line", "reason"),
    [
        ("a.csv", 'n,id\n"x\ny",1\nz,\n', 4, "column `id` is null, and it is in the primary key"),
        ("a.csv", 'n,id\n"x\ny",1\nz,""\n', 4, "column `id` is null"),
        ("a.csv", "n\n1\n", None, "the primary key's column `id` is missing"),
        ("a.json", '{"id": 1}\n\n{"n": 1}\n', 3, "column `id` is null"),
        ("a.json", '[{"id": 1},\n{"id": null}]', 2, "column `id` is null"),
    ],
)
def test_rows_without_their_key_are_refused(refused, name, content, line, reason):
    error = refused(name, content, **UPSERT)
    assert error.line == line
    assert reason in error.reason


def test_upserts_are_sorted_and_the_last_row_of_a_key_wins(lake):
    result = lake.ingest("a.csv", "id,v\n2,a\n10,b\n2,c\n1,d\n", **UPSERT)
    assert lake.rows(result) == [{"id": 1, "v": "d"}, {"id": 2, "v": "c"}, {"id": 10, "v": "b"}]
    (part,) = result.files
    assert (part.role, part.sequence, part.rows, part.key_min, part.key_max) == ("delta", 0, 3, (1,), (10,))
    assert result.warnings == ("a.csv: 1 row was overtaken by a later row of the same primary key",)
    two = lake.ingest("b.csv", "k,id,v\n2024-01-01,2,a\n2023-01-01,9,b\n2024-01-01,1,c\n", primary_key=("k", "id"), write="upsert")
    assert [row["v"] for row in lake.rows(two)] == ["b", "c", "a"]
    assert (two.files[0].key_min, two.files[0].key_max) == (("2023-01-01", 9), ("2024-01-01", 2))


def test_append_keeps_the_file_s_order_and_knows_its_key_range(lake):
    result = lake.ingest("a.csv", "id,v\n2,z\n10,b\n2,c\n", primary_key=("id", "v"))
    assert [row["id"] for row in lake.rows(result)] == [2, 10, 2]
    assert (result.files[0].key_min, result.files[0].key_max) == ((2, "c"), (10, "b"))


def test_a_large_file_has_many_groups_and_parts(lake, monkeypatch):
    monkeypatch.setattr(table_writer, "ROW_GROUP_ROWS", 100)
    monkeypatch.setattr(table_writer, "PART_ROWS", 400)
    result = lake.ingest("a.csv", "a,b\n" + "".join(f"{number},x\n" for number in range(1_050)))
    assert [(part.first_row, part.rows) for part in result.files] == [(0, 400), (400, 400), (800, 250)]
    assert [part.key[-12:] for part in result.files] == ["0000.parquet", "0001.parquet", "0002.parquet"]
    footer = pq.read_metadata(lake.store.path(result.files[0].key))
    assert [footer.row_group(number).num_rows for number in range(footer.num_row_groups)] == [100] * 4
    hidden = lake.table(result, hidden=True)
    assert hidden["_row"].to_pylist() == hidden["a"].to_pylist() == list(range(1_050))
    assert result.files[1].columns["a"] == (400, 799, 0)


def test_long_rows_make_small_groups(lake, monkeypatch):
    monkeypatch.setattr(table_writer, "ROW_GROUP_BYTES", 10_000)
    monkeypatch.setattr("engines.files.csv.BLOCK_BYTES", 4_000)
    result = lake.ingest("a.csv", "a,b\n" + "".join(f"{number},{'x' * 500}\n" for number in range(100)))
    assert pq.read_metadata(lake.store.path(result.files[0].key)).num_row_groups > 3
    assert result.rows == 100


_KEYS = st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["", "a", "é", "\U0001f600", "\uffff"])), max_size=120)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=_KEYS, run_rows=st.integers(1, 40), block=st.integers(1, 300), batch=st.integers(1, 30))
def test_runs_merge_to_what_a_dictionary_says(lake, keys, run_rows, block, batch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorting, "RUN_ROWS", run_rows)
        patch.setattr(sorting, "BLOCK_BYTES", block)
        rows = sorting.LastRows(lake.store, ("n", "s"))
        table = pa.table({"n": [n for n, _ in keys], "s": pa.array([s for _, s in keys], pa.string()), "v": range(len(keys))})
        table = table.cast(pa.schema([("n", pa.int64()), ("s", pa.string()), ("v", pa.int64())]))
        for part in table.to_batches(max_chunksize=batch):
            rows.add(part)
        found = [tuple(row.values()) for part in rows.sorted() for row in part.to_pylist()]
    assert found == sorted((n, s, v) for (n, s), v in {key: value for value, key in enumerate(keys)}.items())
    assert lake.leftovers() == []


def test_a_large_upsert_spills_and_leaves_nothing(lake, monkeypatch):
    monkeypatch.setattr(sorting, "RUN_ROWS", 500)
    monkeypatch.setattr("engines.files.csv.BLOCK_BYTES", 2_000)
    content = "id,v\n" + "".join(f"{number * 7919 % 1_000},{number}\n" for number in range(3_000))
    result = lake.ingest("a.csv", content, **UPSERT)
    assert [(row["id"], row["v"]) for row in lake.rows(result)] == sorted((number * 7919 % 1_000, number) for number in range(2_000, 3_000))
    assert lake.leftovers() == []


def test_a_file_that_changes_is_neither_taken_nor_refused(lake, monkeypatch):
    task = lake.task("a.csv", "id,b\n1,x\n")
    stat = (lake.root / "a.csv").stat()
    with pytest.raises(FileChanged):
        run(replace(task, size=stat.st_size, mtime_ns=stat.st_mtime_ns - 1), store=lake.store)
    assert run(replace(task, size=stat.st_size, mtime_ns=stat.st_mtime_ns), store=lake.store).rows == 1
    with pytest.raises(FileChanged):
        run(task, lambda done, total: lake.write("a.csv", "id,b\n1,x\n2,y\n") and None, store=lake.store)
    assert len(list(lake.store.list())) == 2, "a part and its profile"

    def change_and_refuse(*_):
        lake.write("a.csv", "id\n1,2,3\n")
        raise FileRefused("a.csv", 1, "half-written")

    monkeypatch.setattr(ingest.CsvReading, "guesses", change_and_refuse)
    with pytest.raises(FileChanged):
        run(task, store=lake.store)


@pytest.mark.parametrize(("owner", "name"), [(pa, "OSFile"), (pq.ParquetWriter, "write_table"), (pq.ParquetWriter, "close")])
def test_a_full_disk_is_one_of_ours_and_leaves_nothing(lake, monkeypatch, owner, name):
    original, full = getattr(owner, name), [OSError(errno.ENOSPC, "No space left on device")]

    def fail_once(*arguments, **options):
        if full and arguments[1:] != ():  # a file that is written, or a method with arguments
            raise full.pop()
        return original(*arguments, **options)

    def end(self):
        if full:
            raise full.pop()
        original(self)

    monkeypatch.setattr(owner, name, end if name == "close" else fail_once)
    with pytest.raises(DiskFull):
        lake.ingest("a.csv", "a\n1\n")
    assert lake.leftovers() == []


def test_a_disk_that_is_full_while_later_rows_are_read_leaves_nothing(lake, monkeypatch):
    monkeypatch.setattr(table_writer, "ROW_GROUP_ROWS", 100)
    monkeypatch.setattr("engines.files.csv.BLOCK_BYTES", 500)
    write, groups = pq.ParquetWriter.write_table, []

    def full(self, table, **options):
        groups.append(table.num_rows)
        if len(groups) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, table, **options)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(DiskFull):
        lake.ingest("a.csv", "a\n" + "\n".join(map(str, range(1_000))))
    assert groups == [100, 100]
    assert lake.leftovers() == []


def test_a_run_that_is_cut_off_between_parts_is_healed_by_the_next(lake, monkeypatch):
    from state import failpoints

    monkeypatch.setattr(table_writer, "ROW_GROUP_ROWS", 10)
    monkeypatch.setattr(table_writer, "PART_ROWS", 20)
    content = "a,b\n" + "".join(f"{number},x\n" for number in range(50))
    whole = lake.ingest("a.csv", content)
    before = {part.key: lake.store.get(part.key) for part in whole.files}
    failpoints.arm({staged_parts.PART_STORED: "error"})
    try:
        with pytest.raises(FailpointError):
            lake.ingest("a.csv")
    finally:
        failpoints.disarm()
    assert lake.ingest("a.csv") == whole
    assert {part.key: lake.store.get(part.key) for part in whole.files} == before
    assert lake.leftovers() == []


def test_a_schema_from_several_files(lake):
    sources = [lake.task("a.csv", "a,b\n1,2\n").source, lake.task("b.csv", "b,c\n2.5,x\n").source]
    schema = extend_schema(None, [(guess.name, guess.type) for guess in infer(sources).columns], 1)
    assert schema == Schema(1, (Column(1, "a", "int64"), Column(2, "b", "float64"), Column(3, "c", "string")))


def test_long_texts_have_short_bounds(lake):
    longest = chr(0x10FFFF) * 200
    stats = lake.ingest("a.csv", f"a,b\n{'x' * 200},{longest}\ny{'z' * 300},{longest}\n").files[0].columns
    low, high, _ = stats["a"]
    assert low == "x" * 64
    assert high > "y" + "z" * 300
    assert len(high) == 64
    assert stats["b"].max is None


def test_columns_without_values_have_no_bounds(lake):
    assert lake.ingest("a.csv", "a,b\n1,\n").files[0].columns["b"] == (None, None, 1)


def test_a_footer_says_all_that_the_catalog_knows(lake, monkeypatch):
    """In several parts, each of which knows whether it is the last."""
    monkeypatch.setattr(table_writer, "ROW_GROUP_ROWS", 2)
    monkeypatch.setattr(table_writer, "PART_ROWS", 2)
    result = lake.ingest("a.csv", "id,name\n5,Ann\n3,\n2,Bob\n4,Eve\n", sequence=7, **UPSERT)
    footers = [read_footer(lake.store.path(part.key)) for part in result.files]
    assert [footer.data_file(part.ref) for footer, part in zip(footers, result.files, strict=True)] == list(result.files)
    assert {footer.schema for footer in footers} == {result.schema}
    written = [footer.written for footer in footers]
    assert [(made.path, made.sequence, made.write, made.primary_key, made.last) for made in written] == [
        ("a.csv", 7, "upsert", ("id",), False),
        ("a.csv", 7, "upsert", ("id",), True),
    ]


def test_a_footer_of_another_program_is_none_of_ours(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="none of ours"):
        read_footer(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="no Parquet footer"):
        read_footer(tmp_path / "b.parquet")
