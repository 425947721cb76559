"""`gc` removes what nothing refers to and is old enough, and nothing that anybody needs, whatever happens in between."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from small_lake import BUCKET, Bench, dataset
from test_operator import ask, ended

from engines.jobs.job import Job
from engines.jobs.results import JobResults
from reconciler.retention import retention
from state import failpoints
from state.catalog.entry import TableCommit
from state.errors import FailpointError, LeaseLost

OLD = 25 * 3600.0


@pytest.fixture
def lake(bench: Bench) -> Bench:
    bench.write("data/x/a.csv", "id,text\n1,hello\n2,there\n")
    bench.commit(BUCKET, dataset("x"))
    bench.settle()
    return bench


def stray(bench: Bench, name: str, seconds: float = OLD, bucket: str = "lake") -> Path:
    path = bench.write(f"{bucket}/datasets/x/{name}", "rows")
    then = bench.clock().timestamp() - seconds
    os.utime(path, (then, then))
    return path


def left(bench: Bench) -> list[str]:
    found = (bench.folder / "lake/datasets").rglob("*.parquet")
    return sorted(path.name for path in found if path.parent.name != "journal")


def test_only_what_is_old_and_nobody_needs_goes(lake: Bench) -> None:
    (needed,) = left(lake)
    stray(lake, "old.parquet")
    stray(lake, "young.parquet", 3600)
    outside = lake.write("lake/notes/old.parquet", "mine")
    request = ask(lake, "gc", "")
    lake.operator.answer()
    row = ended(lake, request)
    told = "1 object (0.0 MB) of bucket primary removed; 1 that nothing refers to are younger than the retention"
    assert (row["outcome"], row["message"]) == ("done", told)
    assert left(lake) == sorted([needed, "young.parquet"])
    assert outside.exists()


def test_what_the_catalog_never_knew_stays(lake: Bench) -> None:
    """It may be another lake's, or of a catalog that was lost."""
    path = stray(lake, "../y/old.parquet")
    request = ask(lake, "gc", "")
    lake.operator.answer()
    assert ended(lake, request)["message"] == "nothing to remove; 1 of datasets or indexes that this catalog never knew stay"
    assert path.exists()


def test_a_former_version_goes_once_it_was_let_go_of_for_long(lake: Bench) -> None:
    table = lake.catalog.table("x")
    assert table is not None
    os.utime(lake.folder / "lake" / table.files[0].key, (1, 1))
    lake.catalog.commit([TableCommit("Dataset/x", "t", "primary", remove=(table.files[0].key,), forget=2)], actor="test", reason="let go")
    assert lake.collect().waiting.objects == 1
    lake.clock.advance(OLD)
    assert lake.collect().total.objects == 1
    assert left(lake) == []


def test_a_bucket_says_how_long(lake: Bench) -> None:
    lake.commit(BUCKET.replace("path: lake}", "path: lake}, retention: 2h"), dataset("x"))
    assert retention(lake.world, lake.settings).of("primary") == 7200
    assert {status.ready for status in lake.settle().values()} == {"True"}
    stray(lake, "a.parquet", 3 * 3600)
    stray(lake, "b.parquet", 3600)
    assert (lake.collect().total.objects, "b.parquet" in left(lake)) == (1, True)


def test_what_came_to_be_needed_meanwhile_stays(lake: Bench) -> None:
    """Between the look and the delete, an entry refers to it."""
    table = lake.catalog.table("x")
    assert table is not None
    file = table.files[0]
    lake.catalog.commit([TableCommit("Dataset/x", "t", "primary", remove=(file.key,), forget=2)], actor="test", reason="let go")
    lake.clock.advance(OLD)
    os.utime(lake.folder / "lake" / file.key, (1, 1))
    from reconciler.collecting import garbage, guard

    def adopted() -> None:
        if lake.catalog.table("x").file(file.key) is None:  # type: ignore[union-attr]
            lake.catalog.commit([TableCommit("Dataset/x", "t", "primary", add=(file,))], actor="test", reason="needed again")

    found = garbage(lake.state, retention(lake.world, lake.settings))
    assert found.look().total.objects == 1
    assert found.collect(adopted, guard(lake.world, lake.executor, lake.turns)).total.objects == 0
    assert len(left(lake)) == 1


def test_what_was_written_again_meanwhile_stays(lake: Bench) -> None:
    path = stray(lake, "a.parquet")
    from reconciler.collecting import garbage, guard

    found = garbage(lake.state, retention(lake.world, lake.settings))
    gone = found.collect(lambda: path.write_text("new"), guard(lake.world, lake.executor, lake.turns))
    assert (gone.total.objects, path.read_text()) == (0, "new")


def test_nothing_goes_beside_a_job_or_its_result(lake: Bench) -> None:
    path = stray(lake, "a.parquet")
    results = JobResults(lake.state.place.cache / "jobs")
    results.write("other", {"ref": {"bucket": "primary", "key": "datasets/x/a.parquet"}})
    assert lake.collect().total.objects == 0
    results.forget("other")
    lake.executor._results.write("j", {})  # a result that a former process left
    lake.executor.ensure(Job("j", "ingest", "engines.files.batch:run", {}, 0, "Dataset/x"))
    assert lake.collect().busy.objects == 1
    assert path.exists()
    lake.executor.forget("j")
    assert lake.collect().total.objects == 1


def test_copies_stay_as_long_as_what_they_are_copies_of(bench: Bench) -> None:
    copy = BUCKET.replace("primary", "copy").replace("lake}", "copy}")
    bench.write("data/x/a.csv", "id\n1\n")
    bench.commit(BUCKET.replace("path: lake}", "path: lake}, rescue: {bucket: copy}"), copy, dataset("x"))
    bench.settle()
    needed = stray(bench, left(bench)[0], bucket="copy")
    shutil.copytree(bench.folder / "lake/datasets/x/journal", bench.folder / "copy/datasets/x/journal")
    other = stray(bench, "other.parquet", bucket="copy")
    assert {name: tally.objects for name, tally in bench.collect().buckets.items()} == {"copy": 1}
    assert (needed.exists(), other.exists()) == (True, False)


def test_what_lies_in_a_bucket_within_another_is_its_own(bench: Bench) -> None:
    inner = BUCKET.replace("primary", "inner").replace("path: lake}", "path: lake}, prefix: datasets/x/in")
    bench.write("data/x/a.csv", "id\n1\n")
    bench.commit(BUCKET, inner, dataset("x"), dataset("y", ", bucket: inner", "data/x/*.csv"))
    bench.settle()
    needed = left(bench)
    then = bench.clock().timestamp() - OLD
    for path in (bench.folder / "lake/datasets").rglob("*.parquet"):
        os.utime(path, (then, then))
    stray(bench, "in/datasets/x/old.parquet")
    stray(bench, "old.parquet")
    assert {name: tally.objects for name, tally in bench.collect().buckets.items()} == {"inner": 1, "primary": 1}
    assert left(bench) == needed
    assert len(needed) == 2


def test_whoever_lost_the_lease_removes_nothing(lake: Bench) -> None:
    path = stray(lake, "a.parquet")

    def lost() -> None:
        raise LeaseLost("somebody else has it", epoch=1, newer=2)

    from reconciler.collecting import garbage, guard

    with pytest.raises(LeaseLost):
        garbage(lake.state, retention(lake.world, lake.settings)).collect(lost, guard(lake.world, lake.executor, lake.turns))
    assert path.exists()


@pytest.mark.parametrize(("point", "after_it"), [("garbage.before-delete", 2), ("garbage.after-delete", 1)])
def test_killed_in_between_it_goes_on_another_time(lake: Bench, point: str, after_it: int) -> None:
    stray(lake, "a.parquet")
    stray(lake, "b.parquet")
    failpoints.arm({point: "error"})
    try:
        with pytest.raises(FailpointError):
            lake.collect()
    finally:
        failpoints.disarm()
    assert len(left(lake)) == 1 + after_it
    lake.open()
    lake.commit(BUCKET, dataset("x"))
    assert {status.ready for status in lake.settle().values()} == {"True"}
    assert lake.collect().total.objects == after_it
    assert len(left(lake)) == 1
