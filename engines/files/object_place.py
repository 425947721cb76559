"""Where a job reads objects of a bucket from, in whatever process it runs.

Whoever plans a job names what is to be read and downloads nothing; so the job's name tells what its objects are, and not where copies of
them happen to lie. Next: `objects.py`, whose source files are such objects; `former_parts.py` for the files of a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from state.buckets import Buckets
from state.failures import failures_here
from state.objects import ObjectRef
from state.places import BucketConfig
from state.reader import ObjectReader


@dataclass(frozen=True, slots=True)
class ObjectPlace:
    """The bucket that objects are read from, and the cache of remote ones: its folder, and its bound in bytes. rescue: the bucket that
    answers where this one cannot; None for none."""

    bucket: BucketConfig
    cache: str
    cache_bytes: int
    rescue: BucketConfig | None = None

    def reader(self) -> ObjectReader:
        """Opens it, in whatever process."""
        buckets = Buckets(failures_here())
        for bucket in (self.bucket, self.rescue):
            if bucket is not None:
                buckets.attach(bucket, opened=True)
        return ObjectReader(buckets, Path(self.cache), self.cache_bytes)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        rescue = self.rescue and self.rescue.to_dict()
        return {"bucket": self.bucket.to_dict(), "cache": self.cache, "cache_bytes": self.cache_bytes, "rescue": rescue}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError for what `to_dict` does not make."""
        rescue = None if document["rescue"] is None else BucketConfig.from_dict(document["rescue"])
        return cls(BucketConfig.from_dict(document["bucket"]), document["cache"], document["cache_bytes"], rescue)


@dataclass(frozen=True, slots=True)
class Remote:
    """An object that whoever reads it has to fetch."""

    ref: ObjectRef
    place: ObjectPlace

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {"ref": self.ref.to_dict(), "place": self.place.to_dict()}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError for what `to_dict` does not make."""
        return cls(ObjectRef.from_dict(document["ref"]), ObjectPlace.from_dict(document["place"]))
