"""The objects of a bucket as a Dataset sees them: ten thousand that are known cost a listing, and a running ingest is let finish."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controllers.dataset.files import Listing
from controllers.dataset.objects import SourceObjects
from controllers.dataset.steps import Follow, Identify
from engines.files.batch import Batch
from engines.files.ingest_task import IngestTask
from engines.jobs.executor import Executor, JobLimits
from engines.jobs.job import Job
from specs.parse import parse_file
from specs.resource import Resource
from state.buckets import Buckets
from state.catalog.tables import Binding, ObjectVersion, Table
from state.places import BucketConfig
from state.reader import ObjectReader

SPEC = "apiVersion: lakehouse/v1\nkind: Dataset\nmetadata: {name: items}\nspec: {source: {bucket: landing, prefix: in/}}\n"
(ITEMS,) = parse_file("a.yaml", SPEC.encode()).resources


class Desk:
    """A bucket, and who lists it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.buckets = Buckets()
        self.buckets.attach(BucketConfig("landing", "local", str(folder / "landing")))
        self.executor = Executor(folder / "jobs", JobLimits(workers=1, inline_limit=1))
        self.open()

    def open(self) -> None:
        """As a process does that starts: nothing is remembered."""
        reader = ObjectReader(self.buckets, self.folder / "cache", 1 << 20)
        self.objects = SourceObjects(self.buckets, reader, self.executor, lambda _: False, (), lambda _: None)

    def write(self, key: str, text: str) -> None:
        path = self.folder / "landing" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def look(self, table: Table | None = None, resource: Resource = ITEMS) -> Listing:
        listing, away = self.objects.look(resource, table)
        assert away is None
        return listing


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.executor.shutdown()


def bound(listing: Listing) -> Table:
    """As a table records what it followed; digests need not be true for that."""
    files = [(f"landing/{info.key}", info) for info in listing.unread]
    bindings = {path: Binding(path, info.key, info.size, 0, object=ObjectVersion(info.etag, info.key)) for path, info in files}
    return Table("items", 1, bindings=bindings)


def test_ten_thousand_known_objects_are_listed_and_none_is_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10_000):
        desk.write(f"in/{number % 10}/{number:05}.csv", f"id\n{number}\n")
    first = desk.look()
    assert (len(first.unread), first.files) == (10_000, ())
    table = bound(first)
    desk.open()
    monkeypatch.setattr(ObjectReader, "take", None)
    monkeypatch.setattr(type(desk.buckets.store("landing")), "open", None)
    again = desk.look(table)
    assert (again.unread, again.unusable, len(again.files)) == ((), (), 10_000)
    desk.write("in/3/00003.csv", "id\nanother\n")
    assert [info.key for info in desk.look(table).unread] == ["in/3/00003.csv"]


def test_what_comes_while_an_ingest_runs_waits_for_its_end(desk: Desk) -> None:
    desk.write("in/a.csv", "id\n1\n")
    desk.write("in/b.csv", "id\n1\n")
    table = bound(Listing(unread=desk.look().unread[:1]))
    (was,) = table.bindings.values()
    step = Follow("t", "t")
    batch = Batch((IngestTask("items", "", "", "", "csv", desk.buckets.config("landing"), "datasets/items", "t"),))
    job = Job("x", "ingest", "engines.files.batch:run", batch.to_dict(), 10, "Dataset/items")
    job = desk.objects.job(job, "landing", step)
    desk.write("in/a.csv", "id\nreplaced\n")
    assert len(desk.look(table).unread) == 2
    desk.executor.ensure(job)
    assert desk.executor.has(job.id)
    listing = desk.look(table)
    assert (listing.unread, [(file.path, file.digest, file.object) for file in listing.files]) == ((), [(was.path, was.digest, was.object)])
    desk.executor.cancel(job.id)
    desk.executor.shutdown()
    desk.executor.forget(job.id)
    assert [info.key for info in desk.look(table).unread] == ["in/a.csv", "in/b.csv"]


def test_the_plan_says_what_is_looked_into(desk: Desk) -> None:
    for name in "abcde":
        desk.write(f"in/{name}.csv", "id\n1\n")
    step = Identify("landing", desk.look().unread)
    assert step.summary() == "look into landing/in/a.csv, landing/in/b.csv, landing/in/c.csv and 2 more"
    assert step.work is not None
    assert step.work.weight == 25


def test_nothing_is_remembered_of_what_is_gone(desk: Desk) -> None:
    desk.executor.shutdown()
    desk.executor = Executor(desk.folder / "inline", JobLimits(workers=1, inline_limit=1 << 20))
    desk.open()
    for key in ("in/a.csv", "in/b.csv"):
        desk.write(key, "id\n1\n")
    unread = desk.look().unread
    assert desk.objects.identify(ITEMS, Identify("landing", unread)) is None
    assert len(desk.look().files) == 2
    place = desk.folder / "landing/in/a.csv"
    aside = place.rename(desk.folder / "a.csv")
    assert len(desk.look().files) == 1
    aside.rename(place)  # the same etag, as if it had come for the first time
    again = desk.look()
    assert [info.key for info in again.unread] == ["in/a.csv"]
    assert [file.path for file in again.files] == ["landing/in/b.csv"]
