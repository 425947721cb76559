"""Files of a table that a job fetches: whole ones or none, from the rescue bucket where their own is away, and gone with the job."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from engines.files.former_parts import FormerParts
from engines.files.object_place import ObjectPlace, Remote
from engines.sql.readings import PartFile
from state.buckets import open_store
from state.errors import ObjectCorrupt, ObjectMissing
from state.objects import ObjectRef
from state.places import BucketConfig


@pytest.fixture
def place(tmp_path: Path) -> ObjectPlace:
    rescue = BucketConfig("spare", "memory", f"{tmp_path}/spare")
    return ObjectPlace(BucketConfig("far", "memory", f"{tmp_path}/far", rescue="spare"), str(tmp_path / "cache"), 1 << 20, rescue)


def part(place: ObjectPlace, key: str, data: bytes = b"rows", held: bytes | None = b"rows") -> PartFile:
    """A part that should be `data`; held: what the bucket has under its key, None for nothing."""
    if held is not None:
        open_store(place.bucket).put(key, held)
    return PartFile("", None, Remote(ObjectRef.of(place.bucket.name, key, data), place))


def test_they_are_there_for_as_long_as_they_are_read(place: ObjectPlace, tmp_path: Path) -> None:
    local = PartFile(str(tmp_path / "local"))
    asked = [local, part(place, "a")]
    with FormerParts() as former:
        found = former.here([PartFile.from_dict(json.loads(json.dumps(one.to_dict()))) for one in asked])
        assert found[0] == local
        for copy in Path(place.cache).glob("objects/??/*"):
            copy.unlink()
        assert Path(found[1].path).read_bytes() == b"rows"
    assert not Path(found[1].path).exists()


@pytest.mark.parametrize(("held", "error"), [(None, ObjectMissing), (b"wors", ObjectCorrupt)])
def test_one_that_is_lost_or_damaged_is_worth_all(place: ObjectPlace, held: bytes | None, error: type[Exception]) -> None:
    asked = [part(place, "a"), part(place, "b", b"more", held)]
    with FormerParts() as former:
        assert former.here(asked) == ()
        with pytest.raises(error):
            former.every(asked)
        with pytest.raises(error):
            former.cache([one.remote for one in asked if one.remote is not None])


def test_the_rescue_bucket_answers(place: ObjectPlace) -> None:
    assert place.rescue is not None
    open_store(place.rescue).put("a", b"rows")
    asked = part(place, "a", held=None)
    with FormerParts() as former:
        (found,) = former.here([asked])
        assert Path(found.path).read_bytes() == b"rows"
    alone = replace(place, rescue=None, cache=f"{place.cache}-other")
    with FormerParts() as former:
        assert former.here([part(alone, "a", held=None)]) == ()
