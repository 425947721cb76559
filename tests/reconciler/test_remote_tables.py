"""A table in a bucket that is no folder: its files are fetched by the jobs that compare with them, and never by a visit."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_lake import BUCKET, Bench, dataset
from test_edits import UPSERT, change, journal, rows, table

from engines.jobs.executor import Executor
from engines.jobs.job import Job, JobState
from state import reasons
from state.objects import ObjectRef, ObjectStore
from state.reader import ObjectReader
from state.status import Status

FAR = "apiVersion: lakehouse/v1\nkind: Bucket\nmetadata: {name: far}\nspec: {memory: {}}\n"
A = "id,name,phone\n1,Ann,0001\n2,Bob,0002\n3,Cy,0003\n"


@pytest.fixture
def fetched(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was downloaded of the table since `write` began; by a visit it must not be."""
    keys: list[str] = []
    download, settle = ObjectReader._download, bench.settle

    def watching(self: ObjectReader, store: ObjectStore, ref: ObjectRef, path: Path) -> None:
        if ref.key.startswith("datasets/x/"):
            keys.append("by a visit" if self is bench.state.objects else ref.key)
        download(self, store, ref, path)

    def settling() -> dict[str, Status]:
        keys.clear()
        found = settle()
        assert "by a visit" not in keys
        return found

    monkeypatch.setattr(ObjectReader, "_download", watching)
    monkeypatch.setattr(bench, "settle", settling)
    return keys


@pytest.fixture
def lake(bench: Bench, request: pytest.FixtureRequest) -> Bench:
    bench.write("data/x/a.csv", A)
    bench.commit(BUCKET, FAR, dataset("x", f"{getattr(request, 'param', UPSERT)}, bucket: far"))
    bench.settle()
    return bench


def write(lake: Bench, text: str, name: str = "a") -> None:
    lake.write(f"data/x/{name}.csv", text)
    assert lake.settle()["Dataset/x"].reason == reasons.SUCCEEDED


def told(lake: Bench) -> list[tuple[object, ...]]:
    """What the journal says of the present version."""
    return [row[:-1] for row in journal(lake, "entity", "field", "old", "new", "op", "version") if row[-1] == table(lake).version]


def test_a_changed_file_is_compared_with_what_the_job_fetches(fetched: list[str], lake: Bench) -> None:
    change(lake, "row-set", key="1", set={"phone": "0099"})
    write(lake, A.replace("Cy", "Cyd"))
    assert fetched
    assert told(lake) == [("3", "name", "Cy", "Cyd", "update")]
    write(lake, A.replace("Cy", "Cyd").replace("Bob", "Rob"))  # compared by the ledger of what it said
    assert told(lake) == [("2", "name", "Bob", "Rob", "update")]
    assert rows(lake) == [(1, "Ann", "0099"), (2, "Rob", "0002"), (3, "Cyd", "0003")]


def test_what_it_said_is_lost(fetched: list[str], lake: Bench) -> None:
    write(lake, A.replace("Cy", "Cyd"))
    change(lake, "row-set", key="1", set={"phone": "0099"})
    said = next(one for one in table(lake).ledgers if one.kind == "said")
    lake.buckets.store("far").delete(said.ref.key)
    write(lake, A.replace("Cy", "Cyrus"))
    assert rows(lake) == [(1, "Ann", "0001"), (2, "Bob", "0002"), (3, "Cyrus", "0003")], "all of it is applied"


@pytest.mark.parametrize("lake", [", primaryKey: id, write: replace"], indirect=True)
def test_rows_that_leave_are_told_beside_those_that_come(fetched: list[str], lake: Bench) -> None:
    write(lake, "id,name,phone\n7,Gus,\n1,Ann,0001\n", "b")
    write(lake, "id,name,phone\n2,Bo,0002\n3,Cy,0003\n")
    assert fetched
    assert sorted(told(lake), key=str) == [("2", "name", "Bob", "Bo", "update"), (None, None, "1", None, "unload")]
    assert rows(lake) == [(1, "Ann", "0001"), (2, "Bo", "0002"), (3, "Cy", "0003"), (7, "Gus", None)]


@pytest.mark.parametrize("lake", [UPSERT, ", primaryKey: id, write: replace"], indirect=True)
def test_what_is_read_again_since_it_was_lost_changes_nothing(fetched: list[str], lake: Bench) -> None:
    write(lake, "id,name,phone\n7,Gus,\n", "b")
    version, before = table(lake).version, rows(lake)
    lake.buckets.store("far").delete(table(lake).files[0].key)
    write(lake, "id,name,phone\n7,Guy,\n", "b")
    assert rows(lake) == [*before[:3], (7, "Guy", None)]
    changes = [row[:-1] for row in journal(lake, "entity", "field", "old", "new", "op", "version") if row[-1] > version]
    assert changes == [("7", "name", "Gus", "Guy", "update")]


def test_a_job_is_the_same_whatever_is_in_the_cache(lake: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Job] = []
    ensure = Executor.ensure

    def watching(self: Executor, job: Job, **more: bool) -> JobState:
        if job.kind == "ingest":
            asked.append(job)
        return ensure(self, job, **more)

    monkeypatch.setattr(Executor, "ensure", watching)
    lake.write("data/x/a.csv", A.replace("Cy", "Cyd"))
    with monkeypatch.context() as patched:
        patched.setattr(lake.catalog, "commit", lambda *_, **__: 1 / 0)
        lake.settle()
    for file in table(lake).files:
        lake.state.objects.path(file.ref)
    lake.settle()
    assert len({job.id for job in asked}) == 1
    assert len(asked) > 1
