"""Damage that a reader finds leads to a look at its owner."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from reconciler.damage_watch import DamageWatch
from state.failures import BucketFailure


def failure(key: str, kind: str = "object-missing") -> BucketFailure:
    return BucketFailure(datetime(2026, 11, 28, tzinfo=UTC), "lake", "get", key, kind, "gone", 1.0, 1)


@pytest.mark.parametrize(
    ("key", "kind", "owners"),
    [
        ("datasets/items/1.parquet", "object-missing", ["Dataset/items"]),
        ("indexes/titles/builds/x/vectors.f32", "object-corrupt", ["Index/titles"]),
        ("datasets/items/1.parquet", "bucket-unavailable", []),
        ("catalog/log/1.json", "object-missing", []),
        ("datasets/stray", "object-missing", []),
    ],
)
def test_owners(key: str, kind: str, owners: list[str]) -> None:
    looked: list[str] = []
    DamageWatch(looked.extend).heard(failure(key, kind))
    assert looked == owners


def test_one_look_in_a_while() -> None:
    times, looked = [0.0, 1.0, 4.9, 5.0, 6.0], list[str]()
    watch = DamageWatch(looked.extend, lambda: times[0])
    while times:
        watch.heard(failure("datasets/a/1"))
        watch.heard(failure("datasets/b/1"))
        times.pop(0)
    assert looked == ["Dataset/a", "Dataset/b"] * 2
