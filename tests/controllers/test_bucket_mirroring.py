"""A mirror gets what is new, keeps what is gone, is never given a damaged copy, and says how far it is behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Queue

import pytest

from controllers.bucket.controller import BucketController
from controllers.bucket.mirroring import Mirroring
from controllers.bucket.plan import Mirror
from controllers.outcome import Failed, Outcome, Ready, Waiting
from controllers.step import Started
from engines.jobs.executor import Executor
from engines.jobs.job import Ended
from specs.parse import parse_file
from specs.resource import Resource
from state import reasons
from state.buckets import Buckets
from state.catalog.catalog import Catalog
from state.catalog.data_files import DataFile
from state.catalog.entry import TableCommit
from state.catalog.log import WriterId
from state.catalog.schemas import Column, Schema
from state.errors import BucketUnavailable
from state.local_store import LocalStore
from state.objects import ObjectRef, ObjectStore
from state.places import BucketConfig

CONTENT = b"rows and rows"
KEY = "datasets/people/1.parquet"


def bucket(name: str, spec: str) -> Resource:
    text = f"apiVersion: lakehouse/v1\nkind: Bucket\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    return parse_file("specs/lake.yaml", text.encode()).resources[0]


LAKE = bucket("lake", "{local: {path: lake}, rescue: {bucket: mirror, mirror: true}}")
MIRROR = bucket("mirror", "{local: {path: mirror}}")


@dataclass
class Clock:
    """A clock that is set."""

    at: datetime

    def __call__(self) -> datetime:
        return self.at


class Desk:
    """The controller over real buckets and a real executor, as a process has it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = Clock(datetime.now(UTC) + timedelta(minutes=1))
        self.ended: Queue[Ended] = Queue()
        self.catalog = Catalog.open(LocalStore(root / "state"), writer=WriterId("w", 1))
        self.buckets = Buckets()
        self.executor = Executor(root / "jobs", None, self.ended.put, failures=self.buckets.failures)
        mirroring = Mirroring(self.buckets, self.catalog.objects, self.executor, self.clock)
        self.controller = BucketController(self.catalog, self.buckets, root, "primary", mirroring, {MIRROR.key: MIRROR}.get, lambda _: True)

    def visit(self, resource: Resource = LAKE) -> Outcome:
        """As the loop does it, jobs waited for."""
        while True:
            observed = self.controller.observe(resource)
            steps = self.controller.plan(resource, observed)
            if not steps:
                return self.controller.conclude(resource, observed)
            for step in steps:
                if isinstance(self.controller.act(resource, step, "r1"), Started):
                    self.ended.get(timeout=60)

    @property
    def lake(self) -> ObjectStore:
        return self.buckets.store("lake")

    @property
    def mirror(self) -> ObjectStore:
        return self.buckets.store("mirror")

    def keys(self) -> list[str]:
        return [info.key for info in self.mirror.list()]

    def fill(self, content: bytes = CONTENT) -> None:
        """A table with one file, as the catalog has it."""
        self.lake.put(KEY, content)
        ref = ObjectRef.of("lake", KEY, content)
        change = TableCommit(
            "Dataset/people", "t", "lake", schema=Schema(1, (Column(1, "a", "string"),)), add=(DataFile(ref, "base", 1, 1, "d", 0, 1),)
        )
        self.catalog.commit((change,), actor="t", reason="t")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    made.visit(MIRROR)
    made.visit(LAKE)
    yield made
    made.executor.shutdown()


def test_what_is_new_is_copied_and_what_is_gone_stays(desk: Desk) -> None:
    desk.fill()
    desk.lake.put("catalog/log/1.json", b"{}")
    for passing in ("lease/1.json", "requests/1.json", "probe/1", "discards/1.json"):
        desk.lake.put(passing, b"{}")
    assert desk.visit() == Ready("local folder lake, mirrored to Bucket/mirror", seconds=5.0)
    assert desk.keys() == ["catalog/log/1.json", KEY]
    assert desk.mirror.get(KEY) == CONTENT
    desk.lake.delete(KEY)
    desk.lake.put("streams/events/1.jsonl", b"{}\n")
    assert isinstance(desk.visit(), Ready)
    assert desk.keys() == ["catalog/log/1.json", KEY, "streams/events/1.jsonl"]
    assert desk.controller.plan(LAKE, desk.controller.observe(LAKE)) == ()


def test_what_refers_to_others_comes_after_them(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.fill()
    desk.lake.put("catalog/log/1.json", b"{}")
    put: list[str] = []
    monkeypatch.setattr(LocalStore, "put_file", lambda self, key, staged, *, if_absent=False: put.append(key))
    observed = desk.controller.observe(LAKE)
    (step,) = desk.controller.plan(LAKE, observed)
    desk.controller.act(LAKE, step, "r1")
    assert put == [KEY, "catalog/log/1.json"]


def test_a_damaged_object_never_takes_the_place_of_a_good_copy(desk: Desk) -> None:
    desk.fill()
    desk.visit()
    path = desk.lake.path(KEY)
    assert path is not None
    path.write_bytes(b"rows and r")
    os.utime(path, (desk.clock.at.timestamp() - 30,) * 2)
    outcome = desk.visit()
    assert outcome == Failed(reasons.OBJECT_CORRUPT, f"{KEY} is not what the catalog says, and was not copied to Bucket/mirror")
    assert desk.mirror.get(KEY) == CONTENT
    assert [(row.bucket, row.key, row.kind) for row in desk.buckets.failures.newest()] == [("lake", KEY, "object-corrupt")]
    path.write_bytes(CONTENT)
    assert isinstance(desk.visit(), Ready), "it was repaired"


def test_what_was_written_anew_is_copied_again_but_not_what_is_written_once(desk: Desk) -> None:
    for key in ("catalog/checkpoints/1.json", "catalog/log/1.json"):
        desk.lake.put(key, b"old")
    desk.visit()
    for key in ("catalog/checkpoints/1.json", "catalog/log/1.json"):
        desk.lake.put(key, b"newer")
    desk.clock.at += timedelta(minutes=1)
    desk.visit()
    assert (desk.mirror.get("catalog/checkpoints/1.json"), desk.mirror.get("catalog/log/1.json")) == (b"newer", b"old")


def test_a_store_whose_clock_is_ahead_is_copied_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = LocalStore.list

    def ahead(store: LocalStore, prefix: str = "", after: str | None = None):  # type: ignore[no-untyped-def]
        hour = 3600.0 if store.name == "lake" else 0.0
        return (replace(info, modified=info.modified + hour) for info in listed(store, prefix, after))

    monkeypatch.setattr(LocalStore, "list", ahead)
    desk.lake.put("a", b"1")
    assert isinstance(desk.visit(), Ready)
    assert desk.keys() == [], "as far as the clocks tell, it was written a moment ago"
    assert isinstance(desk.visit(), Ready)
    assert desk.keys() == ["a"], "it was lacking at the last look already"
    assert desk.controller.plan(LAKE, desk.controller.observe(LAKE)) == ()


def test_a_pass_that_is_cut_off_is_resumed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        desk.lake.put(f"a/{number:02}", b"1")
    put, took = LocalStore.put_file, list[str]()

    def failing(store: LocalStore, key: str, staged: Path, *, if_absent: bool = False) -> None:
        if len(took) == 7:
            raise BucketUnavailable("mirror", "put", "the network is gone")
        took.append(key)
        put(store, key, staged, if_absent=if_absent)

    monkeypatch.setattr(LocalStore, "put_file", failing)
    with pytest.raises(BucketUnavailable, match="the network is gone"):
        desk.visit()
    there = desk.keys()
    assert there == sorted(took)
    monkeypatch.setattr(LocalStore, "put_file", put)
    desk.controller.observe(LAKE)
    lag = desk.buckets.mirrors.lag("lake")
    assert lag is not None
    assert (lag.bucket, lag.objects, lag.size) == ("mirror", 13, 13)
    assert lag.seconds >= 50
    assert isinstance(desk.visit(), Ready)
    assert len(desk.keys()) == 20
    lag = desk.buckets.mirrors.lag("lake")
    assert lag is not None
    assert (lag.objects, lag.seconds) == (0, 0)


def test_many_objects_are_work_for_a_process(desk: Desk) -> None:
    for number in range(200):
        desk.lake.put(f"a/{number:03}", b"%d" % number)
    (step,) = desk.controller.plan(LAKE, desk.controller.observe(LAKE))
    assert isinstance(step, Mirror)
    assert step.summary() == "copy 200 objects (0.0 MB) to bucket mirror"
    started = desk.controller.act(LAKE, step, "r1")
    assert isinstance(started, Started)
    assert started.reason == reasons.MIRRORING
    desk.ended.get(timeout=60)
    assert isinstance(desk.visit(), Ready)
    assert len(desk.keys()) == 200


def test_a_mirror_that_is_not_open_is_waited_for(desk: Desk) -> None:
    desk.buckets.detach("mirror")
    outcome = desk.visit()
    assert isinstance(outcome, Waiting)
    assert (outcome.reason, outcome.blocked_by) == (reasons.DEPENDENCY_NOT_READY, "Bucket/mirror")


def test_without_the_wish_nothing_is_written_there(desk: Desk) -> None:
    desk.fill()
    plain = bucket("lake", "{local: {path: lake}, rescue: {bucket: mirror}}")
    assert desk.visit(plain) == Ready("local folder lake")
    assert desk.keys() == []
    assert desk.buckets.mirrors.lag("lake") is None


def test_the_configuration_of_a_service_travels_to_the_job() -> None:
    from engines.mirroring import MirrorTask
    from state.mirrors import Copy

    task = MirrorTask(BucketConfig("a", "local", "/a"), BucketConfig("b", "local", "/b"), (Copy("k", 1, "e", 2.0, "f", True),))
    assert MirrorTask.from_dict(task.to_dict()) == task
