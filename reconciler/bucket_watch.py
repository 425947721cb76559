"""Which datasets an object of a bucket concerns, and how often being told of objects makes us look.

Notifications are hints: a dataset that is told of is looked at, and sees by listing what is there. The first one is followed at once; of
those that come within the next second one look is made of all, so that a storm of them costs a listing a second. One that is lost costs
latency: the resync stands behind it. Next: `api/notifications.py`, which takes them.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence

from reconciler.world import World
from specs.kinds.dataset import DatasetSpec
from specs.resource import Key
from state.buckets import Buckets

GAP = 1.0
"""Seconds between two looks at a dataset that notifications make."""


class BucketWatch:
    """On one event loop.

    Args:
        look: has a dataset visited.
        later: calls something with a dataset after so many seconds.
    """

    def __init__(
        self, world: World, buckets: Buckets, look: Callable[[Key], None], later: Callable[[float, Callable[[Key], None], Key], object]
    ) -> None:
        self._world, self._buckets, self._look, self._later = world, buckets, look, later
        self._sources: dict[str, list[tuple[str, Key]]] = {}
        self._sources_of: str | None = None
        self._resting: dict[Key, bool] = {}  # looked at less than GAP ago, and whether it was told of since

    def notified(self, bucket: str, keys: Collection[str] | None) -> Sequence[str]:
        """Objects changed in a bucket: these, as its service names them; None where nobody knows which. The datasets that are looked at."""
        concerned = [key for prefix, key in self._of(bucket) if keys is None or self._any(bucket, keys, prefix)]
        for key in concerned:
            self._tell(key)
        return [key.name for key in concerned]

    def _any(self, bucket: str, keys: Collection[str], prefix: str) -> bool:
        """Whether one of the keys begins with a dataset's prefix, which counts from the Bucket's own."""
        config = self._buckets.configs().get(bucket)
        whole = f"{config.prefix}/{prefix}" if config is not None and config.prefix else prefix
        return any(key.startswith(whole) for key in keys)

    def _of(self, bucket: str) -> Sequence[tuple[str, Key]]:
        """Prefixes and datasets, ordered by name."""
        if self._sources_of != self._world.revision:
            sources = defaultdict(list)
            for resource in self._world.resources("Dataset"):
                spec = resource.spec_as(DatasetSpec)
                if spec.source.bucket is not None and spec.refresh.watch:
                    sources[spec.source.bucket].append((spec.source.prefix, resource.key))
            self._sources = {name: sorted(found, key=lambda one: one[1]) for name, found in sources.items()}
            self._sources_of = self._world.revision
        return self._sources.get(bucket, ())

    def _tell(self, key: Key) -> None:
        if key in self._resting:
            self._resting[key] = True
            return
        self._resting[key] = False
        self._look(key)
        self._later(GAP, self._rested, key)

    def _rested(self, key: Key) -> None:
        if self._resting.pop(key):
            self._tell(key)
