"""References: which objects the catalog needs, seen from both ends.

`references` names what an object of the catalog refers to. `References` answers, for an object that lies in a bucket, whether anything
refers to it. An object counts as needed under its key in every bucket that is the same place by another name, and in every bucket that
rescues one where it is needed: copies lie there under the same keys. Whatever cannot be told apart counts as needed.

It refuses to look into buckets. Next: `unreferred.py`, which does; `discards.py`, for what an entry lets go of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from state.catalog.fold import ObjectState
from state.objects import ObjectRef
from state.places import BucketConfig

Place: TypeAlias = tuple[str, str]
"""An object: its bucket and its key."""

_Identity: TypeAlias = tuple[object, ...]


class Reference(NamedTuple):
    """`owner` ("Kind/name") needs an object."""

    owner: str
    ref: ObjectRef


def references(state: ObjectState) -> Iterator[ObjectRef]:
    """What one object of the catalog refers to: data files, those of versions that are kept, and ledgers; corpora with their
    keyword indexes, builds, tails that are served, and what an index is measured by."""
    if state.table is not None:
        yield from (file.ref for file in state.table.files)
        yield from (file.ref for former in state.table.former for file in former.removed if not file.lost)
        yield from (ledger.ref for ledger in state.table.ledgers)
    if state.index is not None:
        yield from (ref for corpus in state.index.corpora.values() for ref in corpus.refs)
        for build in state.index.builds.values():
            yield from build.files.values()
        yield from (ref for tail in state.index.tails for ref in tail.refs)
        yield from (truth.ref for truth in state.index.truths.values())


def all_references(objects: Mapping[str, ObjectState]) -> Iterator[Reference]:
    """Of all these objects, by name."""
    for name, state in objects.items():
        yield from (Reference(name, ref) for ref in references(state))


class References:
    """What is needed, as of one moment. Made of what is referred to and of the buckets that are attached."""

    def __init__(self, places: Iterable[Place], configs: Mapping[str, BucketConfig]) -> None:
        """configs: buckets by name."""
        self._where = {name: _identity(config) for name, config in configs.items()}
        self._rescued = _rescued(configs, self._where)
        self._keys: dict[_Identity, set[str]] = {}
        for bucket, key in places:
            self._keys.setdefault(self._where.get(bucket, (bucket,)), set()).add(key)

    def needs(self, bucket: str, key: str) -> bool:
        """Whether an object in this bucket is referred to, or is a copy of one that is."""
        own = self._where.get(bucket, (bucket,))
        return any(key in self._keys.get(where, ()) for where in (own, *self._rescued.get(own, ())))


def _identity(config: BucketConfig) -> _Identity:
    """The place itself, however it is reached: two names of one place are equal; endpoints are not compared, one server has many."""
    service = None if config.service is None else (config.service.bucket, config.service.account)
    return (config.backend, config.root, config.prefix, service)


def _rescued(configs: Mapping[str, BucketConfig], where: Mapping[str, _Identity]) -> Mapping[_Identity, frozenset[_Identity]]:
    """Which places a place rescues, directly or by way of others."""
    direct: dict[_Identity, set[_Identity]] = {}
    for name, config in configs.items():
        if config.rescue is not None:
            direct.setdefault(where.get(config.rescue, (config.rescue,)), set()).add(where[name])
    found: dict[_Identity, frozenset[_Identity]] = {}
    for rescuer in direct:
        seen: set[_Identity] = set()
        waiting = list(direct[rescuer])
        while waiting:
            place = waiting.pop()
            if place not in seen:
                seen.add(place)
                waiting += direct.get(place, ())
        found[rescuer] = frozenset(seen)
    return found
