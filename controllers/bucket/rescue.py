"""Whether one bucket can rescue another, as their specs say; pure, but for links that lead to a folder.

A bucket waits for no other: it opens whether its rescue bucket does or not, so that two may rescue each other. What cannot be is a rescue
bucket at the same place, which is lost with it, and mirrors in a circle, whose copies would be news to each other for ever.
"""

from collections.abc import Callable
from pathlib import Path

from controllers.bucket.plan import place, words
from specs.kinds.bucket import BucketSpec
from specs.resource import Key, Resource

Wanted = Callable[[Key], Resource | None]
"""The spec in force of an object; None if no spec declares it."""


def unfit(resource: Resource, wanted: Wanted, data_root: Path) -> str | None:
    """Why the bucket that a Bucket names cannot be its rescue bucket; None if it can, or is not declared."""
    rescue = _rescue(resource, wanted)
    if rescue is None:
        return None
    circle = _mirrored_back(resource, wanted)
    if circle:
        return f"mirrors in a circle would never be done: {' -> '.join(map(str, circle))}; leave `mirror` out of one of them"
    ours, theirs = (place(one.spec_as(BucketSpec)) for one in (resource, rescue))
    here, there = ours.config("", data_root), theirs.config("", data_root)
    if here.below(there) == "":
        relation = f"both are {words(ours)}"
    elif here.below(there):
        relation = f"{words(ours)} lies within {words(theirs)}"
    elif there.below(here):
        relation = f"{words(theirs)} lies within {words(ours)}"
    else:
        return None
    return f"{rescue.key} cannot rescue it, since {relation}: give it a place of its own"


def _rescue(resource: Resource, wanted: Wanted) -> Resource | None:
    rescue = resource.spec_as(BucketSpec).rescue
    return None if rescue is None else wanted(Key("Bucket", rescue.bucket))


def _mirrored_back(resource: Resource, wanted: Wanted) -> tuple[Key, ...]:
    """The way from a bucket over mirrors, and mirrors of mirrors, back to itself; empty if none leads there."""
    path = [resource.key]
    current: Resource | None = resource
    while current is not None:
        rescue = current.spec_as(BucketSpec).rescue
        if rescue is None or not rescue.mirror:
            return ()
        current = _rescue(current, wanted)
        if current is not None and current.key in path:
            return (*path, current.key) if current.key == resource.key else ()
        path += [current.key] if current is not None else []
    return ()
