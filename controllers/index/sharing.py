"""What an index of a profile's own shares with the index that it is of: files whose inputs are the same, in the same bucket.

Corpora and builds are named by the digests of their inputs, so that a profile which only searches otherwise needs none of its own: both
records refer to the same objects, and whoever lets go of one last deletes it. What the index itself is about to make is waited for.
It refuses to share across buckets: what a profile has lies in its own. Next: `builds.py`, `specs/own.py`.
"""

from collections.abc import Callable, Iterable

from controllers.index.steps import Candidate
from controllers.step import Started
from specs.resource import MARK, base_name
from state import reasons
from state.catalog.catalog import Catalog
from state.catalog.indexes import Build, Corpus, IndexRecord
from state.objects import ObjectRef
from state.references import Place, references


class Sharing:
    """Blocking. whole: whether all of these objects are there."""

    def __init__(self, catalog: Catalog, whole: Callable[[Iterable[ObjectRef]], bool]) -> None:
        self._catalog = catalog
        self._whole = whole

    def corpus(self, index: str, digest: str, bucket: str) -> Corpus | None:
        """The corpus of these inputs that the index has which this one is of."""
        record = self._base(index)
        found = None if record is None else record.corpora.get(digest)
        return found if found is not None and found.ref.bucket == bucket and self._whole(found.refs) else None

    def build(self, index: str, candidate: Candidate, corpus: Corpus) -> Build | Started | None:
        """The build of these inputs that it has; Started where it is about to have it."""
        record = self._base(index)
        base = None if record is None else record.corpora.get(corpus.digest)
        if record is None or base is None or base.ref != corpus.ref:
            return None
        found = next((one for one in record.builds.values() if _is_of(one, candidate) and one.corpus == corpus.digest), None)
        if found is not None:
            return found if self._whole(found.files.values()) else None
        serves = None if record.serving is None else record.builds.get(record.serving.build)
        if serves is None or not _is_of(serves, candidate):
            return None
        name = f"Index/{record.name}"
        return Started(reasons.BUILDING, f"{name} builds the same over these rows", blocked_by=name)

    def kept_by_others(self, index: str) -> frozenset[Place]:
        """Objects that indexes of the same origin refer to: they are not this one's to delete."""
        base = f"Index/{base_name(index)}"
        others = (
            state
            for name, state in self._catalog.objects("Index").items()
            if name != f"Index/{index}" and (name == base or name.startswith(f"{base}{MARK}"))
        )
        return frozenset((ref.bucket, ref.key) for state in others for ref in references(state))

    def _base(self, index: str) -> IndexRecord | None:
        return self._catalog.index(base_name(index)) if MARK in index else None


def _is_of(build: Build, candidate: Candidate) -> bool:
    return build.engine == candidate.engine and dict(build.parameters) == dict(candidate.parameters)
