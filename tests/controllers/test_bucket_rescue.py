"""Which bucket can rescue another: one of a place of its own, whose copies do not come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from controllers.bucket.plan import Observed, Open, conclude, place, plan
from controllers.bucket.rescue import unfit
from controllers.outcome import Ready, Stalled, Waiting
from specs.kinds.bucket import BucketSpec
from specs.parse import parse_file
from specs.resource import Key, Resource
from state import reasons

S3 = "s3: {bucket: b, endpoint: 'http://Server:80'}"
MIRROR = "rescue: {bucket: other, mirror: true}"


def bucket(name: str, spec: str) -> Resource:
    text = f"apiVersion: lakehouse/v1\nkind: Bucket\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
    parsed = parse_file("specs/lake.yaml", text.encode())
    assert not parsed.errors, parsed.errors
    return parsed.resources[0]


def fault(*buckets: Resource, root: Path = Path("/data")) -> str | None:
    """What is wrong with the first one's rescue, where all of them are declared."""
    declared = {one.key: one for one in buckets}
    return unfit(buckets[0], declared.get, root)


@pytest.mark.parametrize(
    ("ours", "theirs", "relation"),
    [
        ("local: {path: lake}", "local: {path: ./a/../lake}", "both are local folder lake"),
        ("local: {path: lake}", "local: {path: /data/lake}", "both are local folder lake"),
        ("local: {path: lake}", "local: {path: lake}, prefix: m", "local folder lake, prefix m lies within local folder lake"),
        ("local: {path: lake/a}", "local: {path: lake}", "local folder lake/a lies within local folder lake"),
        (S3, "s3: {bucket: b, endpoint: 'http://server'}", "both are s3 bucket b at http://Server:80"),
        (f"{S3}, prefix: a/b", f"{S3}, prefix: a", "s3 bucket b at http://Server:80, prefix a/b lies within s3 bucket b"),
        (S3, f"{S3}, prefix: a", "s3 bucket b at http://Server:80, prefix a lies within s3 bucket b"),
        ("s3: {bucket: b, region: r}", "s3: {bucket: b}", "both are s3 bucket b"),
    ],
)
@pytest.mark.parametrize("mirror", ["true", "false"])
def test_what_is_lost_with_it_rescues_nothing(ours: str, theirs: str, relation: str, mirror: str) -> None:
    told = fault(bucket("lake", f"{ours}, rescue: {{bucket: other, mirror: {mirror}}}"), bucket("other", theirs))
    assert told is not None
    assert told.startswith(f"Bucket/other cannot rescue it, since {relation}")
    assert told.endswith("give it a place of its own")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("local: {path: lake}", "local: {path: lake-2}"),
        ("local: {path: lake}, prefix: a", "local: {path: lake}, prefix: ab"),
        (S3, "s3: {bucket: b, endpoint: 'http://server:81'}"),
        (S3, "s3: {bucket: c, endpoint: 'http://server:80'}"),
        (f"{S3}, prefix: a", f"{S3}, prefix: b"),
        ("azure: {container: b, account: x}", "azure: {container: b, account: y}"),
        ("gcs: {bucket: b}", "s3: {bucket: b}"),
        ("memory: {}", "memory: {}"),
    ],
)
def test_another_place_can(ours: str, theirs: str) -> None:
    assert fault(bucket("lake", f"{ours}, {MIRROR}"), bucket("other", theirs)) is None


def test_a_link_to_the_same_folder_is_the_same_place(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "copy").symlink_to("lake")
    told = fault(bucket("lake", f"local: {{path: lake}}, {MIRROR}"), bucket("other", "local: {path: copy}"), root=tmp_path)
    assert told is not None


def test_two_may_rescue_each_other() -> None:
    back = bucket("other", "local: {path: b}, rescue: {bucket: lake}")
    for mirror in ("true", "false"):
        assert fault(bucket("lake", f"local: {{path: a}}, rescue: {{bucket: other, mirror: {mirror}}}"), back) is None


def test_mirrors_do_not_go_in_a_circle() -> None:
    lake, other, third = (
        bucket(name, f"local: {{path: {name}}}, rescue: {{bucket: {rescue}, mirror: true}}")
        for name, rescue in (("lake", "other"), ("other", "third"), ("third", "lake"))
    )
    told = fault(lake, other, third)
    assert told is not None
    assert "Bucket/lake -> Bucket/other -> Bucket/third -> Bucket/lake; leave `mirror` out of one" in told
    assert fault(lake, other) is None
    beside = bucket("beside", "local: {path: beside}, rescue: {bucket: lake, mirror: true}")
    assert fault(beside, lake, other, third) is None


def test_one_that_cannot_is_a_fault_of_the_spec_and_nothing_is_opened() -> None:
    lake = bucket("lake", f"local: {{path: lake}}, {MIRROR}")
    wanted = place(lake.spec_as(BucketSpec)).config("lake", Path("/data"))
    observed = Observed(None, None, wanted, unfit="it is the same")
    assert plan(lake, observed) == ()
    assert conclude(lake, observed) == Stalled(reasons.INVALID_SPEC, "it is the same")


@pytest.mark.parametrize("mirror", ["true", "false"])
def test_one_that_no_spec_declares_is_named_and_the_bucket_is_open(mirror: str) -> None:
    lake = bucket("lake", f"local: {{path: lake}}, rescue: {{bucket: other, mirror: {mirror}}}")
    where = place(lake.spec_as(BucketSpec))
    wanted = where.config("lake", Path("/data"))
    assert isinstance(plan(lake, Observed(None, None, wanted, rescued=False, declared=False))[0], Open)
    outcome = conclude(lake, Observed(where, wanted, wanted, rescued=False, declared=False))
    message = "Bucket/other is not there; declare it, or name another bucket in `rescue`"
    assert outcome == Waiting(reasons.REFERENCE_MISSING, message, blocked_by="Bucket/other")
    gone = conclude(lake, Observed(where, wanted, wanted, rescued=True, declared=False))
    assert isinstance(gone, Ready), "a bucket that is retained goes on to rescue"


def test_it_does_not_name_itself() -> None:
    text = "apiVersion: lakehouse/v1\nkind: Bucket\nmetadata: {name: a}\nspec:\n  local: {path: a}\n  rescue: {bucket: a}\n"
    (error,) = parse_file("specs/a.yaml", text.encode()).errors
    told = "specs/a.yaml:6:20: Bucket/a: `rescue.bucket` names this very bucket; name another bucket, or leave `rescue` out"
    assert (str(error), error.key) == (told, Key("Bucket", "a"))
