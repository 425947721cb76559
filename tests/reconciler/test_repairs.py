"""What is wrong with data files is mended by the nearest that can: footer, rescue bucket, source; else the rest of the table is served."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from small_lake import BUCKET, Bench, dataset
from test_operator import ask, ended

from engines.sql.views import make_view
from state import reasons
from state.catalog.entry import TableCommit
from state.catalog.schemas import Schema
from state.catalog.tables import Table

COPY = BUCKET.replace("primary", "copy").replace("lake}", "copy}")
RESCUED = BUCKET.replace("path: lake}", "path: lake}, rescue: {bucket: copy}")
SPECS = (RESCUED, COPY, dataset("x"))


@pytest.fixture
def lake(bench: Bench) -> Bench:
    """One table of two files, whose bucket has a rescue bucket that is empty."""
    bench.write("data/x/a.csv", "id,text\n1,hello\n2,there\n")
    bench.write("data/x/b.csv", "id,text\n3,bye\n")
    bench.commit(*SPECS)
    bench.settle()
    return bench


def table(bench: Bench) -> Table:
    found = bench.catalog.table("x")
    assert found is not None
    return found


def stored(bench: Bench, number: int = 0, bucket: str = "lake") -> Path:
    return bench.folder / bucket / table(bench).files[number].key


def copied(bench: Bench) -> None:
    shutil.copytree(bench.folder / "lake/datasets", bench.folder / "copy/datasets")


def sources_gone(bench: Bench) -> None:
    shutil.rmtree(bench.folder / "data")
    bench.settle()


def harmed(bench: Bench, **facts: object) -> None:
    """The catalog says something else of the first file."""
    held = table(bench)
    wrong = replace(held.files[0], **facts)  # type: ignore[arg-type]
    bench.catalog.commit(
        [TableCommit("Dataset/x", held.transformation, "primary", remove=(wrong.key,), add=(wrong,))], actor="test", reason="harm"
    )


@pytest.mark.parametrize("facts", [{"rows": 77}, {"rows": 77, "columns": {}}], ids=["rows", "statistics"])
def test_wrong_entries_are_corrected_by_their_footers(lake: Bench, facts: dict[str, object]) -> None:
    before = table(lake).files
    harmed(lake, **facts)
    assert lake.settle()["Dataset/x"].ready == "True"
    assert table(lake).files == before


def test_a_wrong_size_is_corrected_where_the_content_is_right(lake: Bench) -> None:
    before = table(lake).files
    harmed(lake, ref=replace(before[0].ref, size=5))
    assert lake.settle()["Dataset/x"].ready == "True"
    assert table(lake).files == before


def test_wrong_columns_are_corrected_by_footers(lake: Bench) -> None:
    held = table(lake)
    wrong = Schema(held.next_schema_id, tuple(replace(column, type="string") for column in held.columns))
    files = tuple(replace(file, schema_id=wrong.id) for file in held.files)
    keys = tuple(file.key for file in files)
    change = TableCommit("Dataset/x", held.transformation, "primary", schema=wrong, remove=keys, add=files)
    lake.catalog.commit([change], actor="test", reason="harm")
    assert lake.settle()["Dataset/x"].ready == "True"
    assert table(lake).columns == held.columns
    assert table(lake).rows == 3


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"torn")], ids=["missing", "torn"])
def test_a_rescue_bucket_gives_back_what_no_source_has(lake: Bench, harm: object) -> None:
    copied(lake)
    sources_gone(lake)
    whole = stored(lake).read_bytes()
    harm(stored(lake))  # type: ignore[operator]
    assert lake.settle()["Dataset/x"].ready == "True"
    assert stored(lake).read_bytes() == whole
    assert [event["reason"] for event in lake.events() if event["reason"].startswith("Drift")] == ["DriftDetected", "DriftRepaired"]


def test_a_damaged_copy_is_never_put(lake: Bench) -> None:
    copied(lake)
    copy = stored(lake, bucket="copy")
    copy.write_bytes(copy.read_bytes()[::-1])
    stored(lake).unlink()
    assert lake.settle()["Dataset/x"].ready == "True"  # made again from its source
    copy.unlink()
    copy.write_bytes(b"x" * table(lake).files[0].ref.size)
    sources_gone(lake)
    stored(lake).unlink()
    assert lake.settle()["Dataset/x"].reason == reasons.OBJECT_MISSING
    assert not stored(lake).exists()


def test_what_nobody_has_is_lost_and_the_rest_is_readable(lake: Bench) -> None:
    sources_gone(lake)
    name, content = stored(lake).name, stored(lake).read_bytes()
    stored(lake).unlink()
    status = lake.settle()["Dataset/x"]
    assert (status.reason, status.ready) == (reasons.OBJECT_MISSING, "False")
    assert name in status.message
    assert "2 rows are lost" in status.message
    assert status.detail["lost"] == [{"file": f"primary/{table(lake).files[0].key}", "rows": 2}]
    view = make_view(table(lake), lake.folder / "views", lake.state.objects, "x").table
    assert view.base is not None
    assert (view.base.files, view.lost, table(lake).rows) == (1, 2, 1)
    stored(lake).write_bytes(content)
    assert lake.settle()["Dataset/x"].ready == "True"
    assert (table(lake).lost_rows, table(lake).rows) == (0, 3)


def test_a_source_that_comes_back_brings_its_rows_back(lake: Bench) -> None:
    sources_gone(lake)
    stored(lake).unlink()
    lake.settle()
    assert table(lake).lost_rows == 2
    lake.write("data/x/a.csv", "id,text\n1,hello\n2,there\n")
    assert lake.settle()["Dataset/x"].ready == "True"
    assert (table(lake).lost_rows, table(lake).rows) == (0, 3)


def test_resync_reads_all_and_mends(lake: Bench) -> None:
    """Bytes that changed without a change of size are seen by nobody but who reads."""
    before = stored(lake).read_bytes()
    stored(lake).write_bytes(before[:40] + bytes([before[40] ^ 1]) + before[41:])
    assert lake.settle()["Dataset/x"].ready == "True"
    assert stored(lake).read_bytes() != before
    request = ask(lake, "resync")
    lake.operator.answer()
    assert ended(lake, request)["outcome"] == "done"
    assert lake.settle()["Dataset/x"].ready == "True"
    assert stored(lake).read_bytes() == before


def test_resync_of_whatever_is_missing(lake: Bench) -> None:
    request = ask(lake, "resync", "")
    assert lake.operator.answer() == ()
    assert ended(lake, request)["message"] == "no data file is missing"
    stored(lake).unlink()
    request = ask(lake, "resync", "")
    assert [str(key) for key in lake.operator.answer()] == ["Dataset/x"]
    assert ended(lake, request)["message"] == "files of Dataset/x are looked at again"
    stored(lake).unlink(missing_ok=True)
    ask(lake, "suspend")
    request = ask(lake, "resync", "")
    assert lake.operator.answer()[1:] == ()
    assert ended(lake, request)["message"] == "Dataset/x is suspended and left alone: `lakectl resume Dataset/x`"
