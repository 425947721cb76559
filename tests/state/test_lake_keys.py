"""Which keys of a bucket are ours, however two buckets lie to each other."""

from __future__ import annotations

import pytest

from state.lake_keys import LAKE_KEYS, lake_keys
from state.places import BucketConfig, Service


def local(root: str, prefix: str = "") -> BucketConfig:
    return BucketConfig("b", "local", root, prefix)


def s3(bucket: str, prefix: str = "") -> BucketConfig:
    return BucketConfig("b", "s3", prefix=prefix, service=Service(bucket, "http://s3"))


@pytest.mark.parametrize(
    ("lake", "source", "starts"),
    [
        (local("/data/lake"), local("/data/lake"), LAKE_KEYS),
        (s3("lake"), s3("lake"), LAKE_KEYS),
        (s3("lake", "state"), s3("lake"), tuple(f"state/{own}" for own in LAKE_KEYS)),
        (local("/data/lake", "a/b"), local("/data"), tuple(f"lake/a/b/{own}" for own in LAKE_KEYS)),
        (s3("lake"), s3("lake", "datasets/people"), ("",)),
        (local("/data/lake"), local("/data/lake/catalog"), ("",)),
        (s3("lake"), s3("lake", "incoming"), ()),
        (local("/data/lake"), local("/data/lake/datasets2"), ()),
        (s3("lake"), s3("landing"), ()),
        (local("/data/lake"), local("/data/landing"), ()),
        (local("/data/lake"), s3("lake"), ()),
    ],
)
def test_where_ours_begin(lake: BucketConfig, source: BucketConfig, starts: tuple[str, ...]) -> None:
    assert lake_keys(lake, source) == starts
