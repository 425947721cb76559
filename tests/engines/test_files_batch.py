"""Several files of one table: one schema for all, no wider than the values need, whichever file came first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

from engines.files import ingest, table_writer
from engines.files.batch import Batch, BatchResult, ingest_batch


def read(lake: Any, files: Mapping[str, str], **given: Any) -> BatchResult:
    tasks = tuple(lake.task(name, content, **given) for name, content in files.items())
    return ingest_batch(Batch(tasks), None, lake.store)


def types(result: BatchResult) -> Mapping[str, str]:
    assert result.schema is not None
    return {column.name: column.type for column in result.schema.columns}


def late(first: str, last: str, count: int = 3_000) -> str:
    """A CSV whose last row but one is not in the sample that types are guessed from."""
    return "n,a,b\n" + f"1,{first}\n" * count + f"1,{last}\n1,{first}\n"


@pytest.mark.parametrize(
    ("first", "second", "kinds"),
    [
        (late("1,2", "x,2"), "n,a,b\n1,2,2.5\n", {"n": "int64", "a": "string", "b": "float64"}),
        (late("1,", "x,"), "n,a,b\n1,2,2.5\n", {"n": "int64", "a": "string", "b": "float64"}),
        ("n,a,b\n1,2,2.5\n", late("1,3", "x,3"), {"n": "int64", "a": "string", "b": "float64"}),
        (late("1,2", "1.5,2"), "n,a,b\n1,2,3\n", {"n": "int64", "a": "string", "b": "int64"}),
    ],
    ids=["whole numbers beside decimals", "an empty column", "the later file", "a decimal"],
)
def test_only_the_column_that_a_value_contradicts_becomes_text(lake: Any, first: str, second: str, kinds: Mapping[str, str]) -> None:
    result = read(lake, {"a.csv": first, "b.csv": second})
    assert result.refused == {}
    assert types(result) == kinds


def test_a_file_that_a_library_chokes_on_is_refused_alone(lake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    original = ingest.JsonReading.batches

    def choking(self: Any, plans: Any) -> Any:
        if self._source.shown == "b.json":
            raise pa.ArrowNotImplementedError("no such kernel\nand more")
        return original(self, plans)

    monkeypatch.setattr(ingest.JsonReading, "batches", choking)
    result = read(lake, {"a.json": '{"a": 1}\n', "b.json": '{"a": 2}\n', "c.json": '{"a": 3}\n'})
    assert len(result.files) == 2
    ((line, reason),) = result.refused.values()
    assert line is None
    assert reason.startswith("cannot be read: ArrowNotImplementedError: no such kernel. Write the file again")


def test_a_want_of_memory_is_no_file_s_fault(lake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def starving(*_: Any) -> Any:
        raise pa.ArrowMemoryError("malloc of size 1 failed")

    monkeypatch.setattr(pacsv, "open_csv", starving)
    with pytest.raises(MemoryError):
        read(lake, {"a.csv": "a\n1\n"})


def test_a_file_on_which_the_survey_chokes_is_refused_alone(lake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    original = pacsv.open_csv

    def choking(file: Any, *options: Any) -> Any:
        if file.size() == len("a\n22\n"):
            raise pa.ArrowNotImplementedError("no such kernel")
        return original(file, *options)

    monkeypatch.setattr(pacsv, "open_csv", choking)
    result = read(lake, {"a.csv": "a\n1\n", "b.csv": "a\n22\n", "c.csv": "a\n3\n"})
    assert len(result.files) == 2
    assert [reason.split(".")[0] for _, reason in result.refused.values()] == ["cannot be read: ArrowNotImplementedError: no such kernel"]


@pytest.mark.parametrize(
    "files",
    [
        {"a.csv": late("1,2", "x,2"), "b.csv": "n,a,b\n1,2,2.5\n"},
        {"b.csv": "n,a,b\n1,2,2.5\n", "a.csv": late("1,3", "x,3")},
        {"a.csv": late("1,2", "1"), "b.csv": "n,a,b\n1,2,3\n"},
        {"a.csv": late("1,2", "x,2")},
    ],
    ids=["an earlier file", "a later file", "a refused file", "one file"],
)
def test_parts_that_nobody_wants_are_not_stored(lake: Any, monkeypatch: pytest.MonkeyPatch, files: Mapping[str, str]) -> None:
    monkeypatch.setattr(table_writer, "ROW_GROUP_ROWS", 500)
    monkeypatch.setattr(table_writer, "PART_ROWS", 1_000)
    monkeypatch.setattr("engines.files.csv.BLOCK_BYTES", 2_000)
    result = read(lake, files)
    parts = [part.key for parts in result.files.values() for part in parts]
    assert [info.key for info in lake.store.list()] == sorted([*parts, *(noted.ref.key for noted in result.ledgers)])
    assert lake.leftovers() == []


def test_equal_files_under_two_paths_have_parts_of_their_own(lake: Any) -> None:
    one = lake.ingest("a.csv", "a\n1\n").files
    other = lake.ingest("b.csv", "a\n1\n").files
    assert {part.key for part in one}.isdisjoint(part.key for part in other)
