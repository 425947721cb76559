"""What is wrong between catalog and buckets is found, named with what mends it, and nothing else is."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from small_lake import BUCKET, Bench, dataset

from reconciler.fsck import Report, check, check_log
from state.catalog.data_files import DataFile
from state.catalog.entry import Suspended, TableCommit
from state.local_store import LocalStore
from state.unreferred import Retention

DAY = Retention(86_400.0, {})
COPY = (
    BUCKET.replace("path: lake}", "path: lake}, rescue: {bucket: copy}")
    + "---\n"
    + BUCKET.replace("primary", "copy").replace("lake}", "copy}")
)


@pytest.fixture
def lake(bench: Bench) -> Bench:
    """One table of one file."""
    bench.write("data/x/a.csv", "id,text\n1,hello\n2,there\n")
    bench.commit(BUCKET, dataset("x"))
    bench.settle()
    return bench


def looked(bench: Bench, *, deep: bool = True, retention: Retention = DAY, grace: float | None = None) -> Report:
    report = check(bench.state, retention, deep=deep, grace=grace)
    check_log(bench.store, report, deep=deep)
    return report


def data_file(bench: Bench, name: str = "x") -> tuple[DataFile, Path]:
    table = bench.catalog.table(name)
    assert table is not None
    (file,) = table.files
    return file, bench.folder / "lake" / file.key


def older(path: Path, bench: Bench, hours: float) -> None:
    """As if it had been written so long ago."""
    then = bench.clock().timestamp() - hours * 3600
    os.utime(path, (then, then))


def problems(report: Report) -> list[tuple[str, str]]:
    return [(finding.problem, finding.mend) for finding in report.findings]


def test_a_whole_lake_is_clean(lake: Bench) -> None:
    lake.streams.flush()
    report = looked(lake)
    assert (report.findings, report.unchecked, report.objects, report.waiting) == ([], [], 3, [])
    assert report.segments > 0
    assert report.entries == lake.catalog.seq


@pytest.mark.parametrize(
    ("harm", "problem", "deep"),
    [
        (lambda path: path.unlink(), "object-missing", False),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "object-corrupt", False),
        (lambda path: path.write_bytes(path.read_bytes()[::-1]), "object-corrupt", True),
    ],
    ids=["gone", "cut", "changed"],
)
def test_a_damaged_object(lake: Bench, harm: object, problem: str, deep: bool) -> None:
    file, path = data_file(lake)
    harm(path)  # type: ignore[operator]
    (found,) = looked(lake).findings
    assert (found.place, found.problem, found.mend, found.owner) == (f"primary/{file.key}", problem, "lakectl resync x", "Dataset/x")
    assert bool(looked(lake, deep=False).findings) is not deep


def test_what_mends_a_suspended_dataset_begins_with_its_resumption(lake: Bench) -> None:
    data_file(lake)[1].unlink()
    lake.catalog.commit([Suspended("Dataset/x", "ann", "moving")], actor="ann", reason="moving")
    (found,) = looked(lake).findings
    assert found.mend == "lakectl resume Dataset/x, since it is suspended, then lakectl resync x"


def test_what_nobody_ever_knew_is_named_at_once(lake: Bench) -> None:
    lake.write("lake/datasets/ghost/1.parquet", "rows")
    (found,) = looked(lake, deep=False).findings
    assert (found.place, found.owner) == ("primary/datasets/ghost/1.parquet", "Dataset/ghost")
    assert "`lakectl gc` leaves it" in found.message
    assert found.mend == "delete it by hand, if no other lake keeps Dataset/ghost here"


def test_a_catalog_that_says_other_rows_than_the_footer(lake: Bench) -> None:
    file, _ = data_file(lake)
    wrong = TableCommit("Dataset/x", lake.catalog.table("x").transformation, "primary", remove=(file.key,), add=(replace(file, rows=9),))
    lake.catalog.commit([wrong], actor="test", reason="harm")
    (found,) = looked(lake).findings
    assert (found.problem, found.message) == ("footer-differs", "Its footer says 2 rows, the catalog 9.")
    assert looked(lake, deep=False).findings == []


def test_what_nothing_refers_to_waits_for_its_retention(lake: Bench) -> None:
    stray = lake.write("lake/datasets/x/stray.parquet", "rows")
    older(stray, lake, 23)
    report = looked(lake, deep=False)
    assert (report.findings, [(waiting.place, waiting.size) for waiting in report.waiting]) == (
        [],
        [("primary/datasets/x/stray.parquet", 4)],
    )
    older(stray, lake, 25)
    (found,) = looked(lake, deep=False).findings
    assert (found.problem, found.mend, found.size, found.age) == ("unreferred", "lakectl gc --yes", 4, pytest.approx(25 * 3600))
    assert looked(lake, deep=False, retention=Retention(1.0, {"primary": 26 * 3600.0})).findings == []
    assert len(looked(lake, deep=False, grace=60).findings) == 1


def test_a_file_let_go_of_a_moment_ago_is_as_young_as_that(lake: Bench) -> None:
    file, path = data_file(lake)
    older(path, lake, 1000)
    lake.catalog.commit([TableCommit("Dataset/x", "t", "primary", remove=(file.key,), forget=2)], actor="test", reason="it is not needed")
    assert (looked(lake).findings, len(looked(lake).waiting)) == ([], 1)
    lake.clock.advance(25 * 3600)
    assert [found.problem for found in looked(lake).findings] == ["unreferred"]


def test_copies_in_a_rescue_bucket_are_referred_to(bench: Bench) -> None:
    bench.write("data/x/a.csv", "id\n1\n")
    bench.commit(COPY, dataset("x"))
    bench.settle()
    file, path = data_file(bench)
    copy = bench.folder / "copy" / file.key
    copy.parent.mkdir(parents=True)
    copy.write_bytes(path.read_bytes())
    other = bench.write("copy/datasets/y/1.parquet", "rows")
    for found in (copy, other):
        older(found, bench, 100)
    assert [finding.place for finding in looked(bench).findings] == ["copy/datasets/y/1.parquet"]


def test_a_gap_in_the_log_and_a_damaged_entry(lake: Bench) -> None:
    entries = sorted((lake.folder / "lake/catalog/log").iterdir())
    entries[1].write_bytes(b"")
    report = Report()
    check_log(lake.store, report, deep=True)
    assert [problem for problem, _ in problems(report)] == ["catalog-damaged"]
    entries[1].unlink()
    report = Report()
    check_log(lake.store, report, deep=False)
    assert problems(report) == [("catalog-gap", "lakectl rebuild --yes")]
    assert report.findings[0].place == f"primary/catalog/log/{entries[1].name}"


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")], ids=["missing", "empty"])
def test_an_entry_that_a_checkpoint_covers_costs_its_history_only(lake: Bench, harm: Callable[[Path], object]) -> None:
    lake.catalog.checkpoint()
    entries = sorted((lake.folder / "lake/catalog/log").iterdir())
    copy = LocalStore(lake.folder / "copy", "copy")
    copy.put(f"catalog/log/{entries[-1].name}", entries[-1].read_bytes())
    for entry in (entries[1], entries[-1]):
        harm(entry)
    report = check(lake.state, DAY, deep=False)
    check_log(lake.store, report, deep=False, rescue=copy)
    assert [finding.place for finding in report.findings] == [f"primary/catalog/log/{entry.name}" for entry in (entries[1], entries[-1])]
    assert all("tables with their former versions, indexes and statuses are whole" in finding.message for finding in report.findings)
    assert [finding.mend.partition(";")[0] for finding in report.findings] == [
        "restore it from a copy of the state bucket",
        "restore it from bucket copy, which has it",
    ]


def test_what_an_unreadable_entry_may_have_let_go_of_is_as_young_as_the_next(lake: Bench) -> None:
    file, path = data_file(lake)
    older(path, lake, 1000)
    lake.catalog.commit([TableCommit("Dataset/x", "t", "primary", remove=(file.key,), forget=2)], actor="test", reason="it is not needed")
    unread = lake.folder / f"lake/catalog/log/{lake.catalog.seq:020d}.json"
    lake.clock.advance(3600)
    lake.catalog.commit([Suspended("Dataset/x", "a", "b")], actor="test", reason="one more")
    lake.catalog.checkpoint()
    unread.unlink()
    assert len(looked(lake, deep=False).waiting) == 1
    lake.clock.advance(23.5 * 3600)
    assert len(looked(lake, deep=False).waiting) == 1
    lake.clock.advance(3600)
    assert looked(lake, deep=False).waiting == []


def test_a_segment_that_is_not_what_its_name_says(lake: Bench) -> None:
    lake.streams.flush()
    segment = next((lake.folder / "lake/streams").rglob("*.jsonl"))
    segment.write_bytes(segment.read_bytes()[:-2])
    assert [finding.problem for finding in looked(lake).findings] == ["segment-damaged"]


def test_what_the_result_of_a_job_names_is_referred_to(lake: Bench) -> None:
    from engines.jobs.results import JobResults

    stray = lake.write("lake/datasets/x/new.parquet", "rows")
    older(stray, lake, 100)
    JobResults(lake.state.place.cache / "jobs").write(
        "j", {"files": [["d", [{"ref": {"bucket": "primary", "key": "datasets/x/new.parquet"}}]]]}
    )
    assert looked(lake).findings == []
