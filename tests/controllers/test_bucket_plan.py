"""A bucket is opened, tried, remembered; and neither moved nor let go of while something lies in it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from controllers.bucket.controller import BucketController, attach_recorded
from controllers.bucket.mirroring import Mirroring
from controllers.bucket.plan import Observed, Open, conclude, place, plan
from controllers.outcome import Failed, Ready, Stalled
from engines.jobs.executor import Executor
from specs.kinds.bucket import BucketSpec
from specs.parse import parse_file
from specs.resource import Resource
from state import reasons
from state.buckets import Buckets
from state.catalog.catalog import Catalog
from state.catalog.data_files import DataFile
from state.catalog.entry import Managed, TableCommit
from state.catalog.index_changes import CorpusAdded
from state.catalog.indexes import Corpus
from state.catalog.log import WriterId
from state.catalog.schemas import Column, Schema
from state.errors import BucketUnavailable, StateError
from state.local_store import LocalStore
from state.objects import ObjectRef
from state.places import BucketConfig, BucketPlace, Service


def bucket(spec: str, name: str = "lake") -> Resource:
    text = f"apiVersion: lakehouse/v1\nkind: Bucket\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    parsed = parse_file("specs/lake.yaml", text.encode())
    assert not parsed.errors, parsed.errors
    return parsed.resources[0]


LOCAL = bucket("{local: {path: lake}, prefix: a}")
PLACE = place(LOCAL.spec_as(BucketSpec))
CONFIG = BucketConfig("lake", "local", "/data/lake", "a")


@pytest.mark.parametrize(
    ("observed", "why"),
    [
        (Observed(None, None, CONFIG), "it is not open yet"),
        (Observed(None, CONFIG, CONFIG), "the catalog does not know it yet"),
        (Observed(PLACE, None, CONFIG), "it is not open yet"),
        (Observed(BucketPlace("local", "old", ""), BucketConfig("lake", "local", "/data/old", ""), CONFIG), "it is not open yet"),
    ],
)
def test_it_is_opened(observed: Observed, why: str) -> None:
    (step,) = plan(LOCAL, observed)
    assert (step.why, step.summary(), step.config) == (why, "open local folder lake, prefix a", CONFIG)


def test_it_is_ready_when_it_is_open_and_known() -> None:
    observed = Observed(PLACE, CONFIG, CONFIG)
    assert plan(LOCAL, observed) == ()
    assert conclude(LOCAL, observed) == Ready("local folder lake, prefix a")


def test_a_bucket_with_data_does_not_move() -> None:
    old = BucketPlace("local", "old")
    observed = Observed(old, BucketConfig("lake", "local", "/data/old", ""), CONFIG, ("Dataset/people",))
    assert plan(LOCAL, observed) == ()
    outcome = conclude(LOCAL, observed)
    assert isinstance(outcome, Stalled)
    assert outcome.reason == reasons.STATE_IMMUTABLE
    assert outcome.message.startswith("Dataset/people has data at the former place")


@pytest.mark.parametrize(
    ("spec", "words", "service"),
    [
        (
            "{s3: {bucket: b, endpoint: 'http://127.0.0.1:9/', region: eu-west-1, credentials: {secret: keys}}, prefix: p/, timeout: 5s}",
            "s3 bucket b at http://127.0.0.1:9, prefix p",
            Service("b", "http://127.0.0.1:9", "eu-west-1", None, "keys"),
        ),
        ("{gcs: {bucket: b, credentials: {secret: k}}}", "gcs bucket b", Service("b", secret="k")),
        ("{azure: {container: c, account: a}}", "azure bucket c", Service("c", account="a")),
    ],
)
def test_buckets_of_services(spec: str, words: str, service: Service) -> None:
    resource = bucket(spec)
    found = place(resource.spec_as(BucketSpec))
    assert found.service == service
    assert BucketPlace.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    config = found.config("lake", Path("/data"))
    assert BucketConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    (step,) = plan(resource, Observed(None, None, config))
    assert step.summary() == f"open {words}"


def test_a_server_that_moved_is_followed_and_another_bucket_is_not() -> None:
    old = place(bucket("{s3: {bucket: b, endpoint: 'http://a'}}").spec_as(BucketSpec))
    for spec, follows in (
        ("{s3: {bucket: b, endpoint: 'http://b', region: r, credentials: {secret: s}}, timeout: 1s}", True),
        ("{s3: {bucket: c, endpoint: 'http://a'}}", False),
        ("{s3: {bucket: b, endpoint: 'http://a'}, prefix: p}", False),
    ):
        resource = bucket(spec)
        wanted = place(resource.spec_as(BucketSpec)).config("lake", Path("/data"))
        assert bool(plan(resource, Observed(old, old.config("lake", Path("/data")), wanted, ("Dataset/people",)))) is follows


def test_a_bucket_that_cannot_be_looked_at_says_so() -> None:
    outcome = conclude(LOCAL, Observed(PLACE, CONFIG, CONFIG, (), "permission denied"))
    assert outcome == Failed(reasons.BUCKET_UNAVAILABLE, "permission denied")


class Desk:
    """The controller over a real catalog, as a process has it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kept = True
        self.catalog = Catalog.open(LocalStore(root / "state"), writer=WriterId("w", 1))
        self.buckets = Buckets()
        mirroring = Mirroring(self.buckets, self.catalog.objects, Executor(root / "jobs"), lambda: datetime.now(UTC))
        self.controller = BucketController(self.catalog, self.buckets, root, "primary", mirroring, lambda key: None, lambda _: self.kept)

    def converge(self, resource: Resource) -> object:
        self.catalog.commit((Managed(str(resource.key), resource.digest, "delete"),), actor="t", reason="t")
        for _ in range(3):
            observed = self.controller.observe(resource)
            steps = self.controller.plan(resource, observed)
            if not steps:
                return self.controller.conclude(resource, observed)
            for step in steps:
                assert isinstance(step, Open)
                assert self.controller.act(resource, step, "r1") is None
        raise AssertionError(steps)

    def fill(self, name: str) -> None:
        ref = ObjectRef(name, "datasets/people/1.parquet", 1, "")
        schema = Schema(1, (Column(1, "a", "string"),))
        change = TableCommit("Dataset/people", "t", name, schema=schema, add=(DataFile(ref, "base", 1, 1, "d", 0, 1),))
        self.catalog.commit((change,), actor="t", reason="t")

    def embed(self, name: str) -> None:
        corpus = Corpus("c", ObjectRef(name, "indexes/people/1", 1, ""), 1, 1, "s", 1, "f", 2)
        self.catalog.commit((CorpusAdded("Index/people", corpus),), actor="t", reason="t")

    def remove(self, name: str) -> str:
        record = self.catalog.get(f"Bucket/{name}")
        assert record is not None
        words = self.controller.retire(record)
        self.controller.remove(record, "r2")
        return words


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.parametrize("spec", ["{local: {path: lake}}", "{local: {path: lake}, prefix: a/b}", "{memory: {}}"])
def test_it_is_attached_and_remembered(desk: Desk, spec: str) -> None:
    assert isinstance(desk.converge(bucket(spec)), Ready)
    desk.buckets.store("lake").put("x", b"1")
    seq = desk.catalog.seq
    assert isinstance(desk.converge(bucket(spec)), Ready)
    assert desk.catalog.seq == seq
    again = Buckets()
    attach_recorded(desk.catalog, again, desk.root)
    assert again.configs() == desk.buckets.configs()
    assert again.store("lake").get("x") == b"1"


def test_what_is_open_already_stays_where_it_is_and_has_its_rescue(desk: Desk) -> None:
    """A process opens the state by where it is; what the catalog knows besides is told by the catalog in it."""
    desk.converge(bucket("{local: {path: one}, rescue: {bucket: copy}, timeout: 7s}"))
    again = Buckets()
    again.attach(BucketConfig("lake", "local", "/moved"))
    attach_recorded(desk.catalog, again, desk.root)
    assert again.config("lake") == BucketConfig("lake", "local", "/moved", timeout=7.0, rescue="copy")


@pytest.mark.parametrize("fill", ["fill", "embed"])
def test_it_moves_only_while_it_is_empty(desk: Desk, fill: str) -> None:
    desk.converge(bucket("{local: {path: one}}"))
    assert isinstance(desk.converge(bucket("{local: {path: two}}")), Ready)
    getattr(desk, fill)("lake")
    outcome = desk.converge(bucket("{local: {path: three}}"))
    assert isinstance(outcome, Stalled)
    assert desk.buckets.config("lake").root == str(desk.root / "two")
    assert isinstance(desk.converge(bucket("{local: {path: two}}")), Ready)


def test_the_state_stays_where_it_is(desk: Desk) -> None:
    desk.converge(bucket("{local: {path: one}}", "primary"))
    outcome = desk.converge(bucket("{local: {path: two}}", "primary"))
    assert isinstance(outcome, Stalled)
    assert outcome.message.startswith("the state has data at the former place")
    assert desk.remove("primary") == "stays readable, since the state has data in it"
    assert "primary" in desk.buckets.configs()


def test_an_empty_one_is_forgotten(desk: Desk) -> None:
    desk.converge(bucket("{local: {path: one}}"))
    assert desk.remove("lake") == "is forgotten; its objects are not touched"
    assert desk.catalog.get("Bucket/lake") is None
    assert "lake" not in desk.buckets.configs()


def test_one_with_data_stays_readable_and_leaves_the_inventory(desk: Desk) -> None:
    """Else every later plan would want to remove it again."""
    desk.converge(bucket("{local: {path: one}}"))
    desk.fill("lake")
    assert desk.remove("lake") == "stays readable, since Dataset/people has data in it"
    record = desk.catalog.get("Bucket/lake")
    assert record is not None
    assert (record.managed, record.bucket is not None) == (None, True)
    assert "lake" in desk.buckets.configs()


def test_a_place_that_cannot_be_written_is_an_error_and_is_not_used(desk: Desk) -> None:
    desk.converge(bucket("{local: {path: one}}"))
    (desk.root / "file").write_text("")
    resource = bucket("{local: {path: file/below}}")
    (step,) = desk.controller.plan(resource, desk.controller.observe(resource))
    with pytest.raises(StateError):
        desk.controller.act(resource, step, "r1")
    assert desk.buckets.config("lake").root == str(desk.root / "one")


def test_one_that_is_only_a_source_need_not_be_writable(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise BucketUnavailable("lake", "put", "Permission denied")

    monkeypatch.setattr(LocalStore, "put", denied)
    monkeypatch.setattr(desk.catalog, "commit", lambda *_, **__: None)
    (desk.root / "landing").mkdir()
    (desk.root / "file").write_text("")
    for path, kept, opens in (("landing", False, True), ("landing", True, False), ("file", False, False), ("nowhere", False, False)):
        desk.kept = kept
        resource = bucket(f"{{local: {{path: {path}}}}}")
        (step,) = desk.controller.plan(resource, desk.controller.observe(resource))
        if opens:
            desk.controller.act(resource, step, "r1")
            assert desk.buckets.config("lake").root == str(desk.root / path)
        else:
            with pytest.raises(BucketUnavailable):
                desk.controller.act(resource, step, "r1")
        desk.buckets.detach("lake")
