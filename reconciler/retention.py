"""How long what nothing refers to is kept, bucket by bucket: what Bucket specs say, else the setting `work.retention`.

It has to be longer than any write or read: an object that a job stored waits so long for its entry, and one that an entry let go of may
still be read by a query or an embedding that began before. Next: `state/unreferred.py`.
"""

from reconciler.settings import Settings
from reconciler.world import World
from specs.kinds.bucket import BucketSpec
from state.unreferred import Retention


def retention(world: World, settings: Settings) -> Retention:
    """As of what the world asks for now."""
    said: dict[str, float] = {}
    for key in world.objects:
        resource = world.resource(key) if key.kind == "Bucket" else None
        spec = resource.spec_as(BucketSpec) if resource is not None else None
        if spec is not None and spec.retention is not None:
            said[key.name] = spec.retention.total_seconds()
    return Retention(settings.work.retention, said)
