"""A new log in the place of one that is lost: what is left of the old one is kept aside, and the first entry says everything.

    lost/<run>/catalog/…     what was there

The order makes a crash harmless. All is copied before anything is deleted; checkpoints go before entries, and entries from the first on, so
that what is left in between never reads as a whole catalog. The first entry of the new log is a single put: before it there is no catalog,
and after it all of it. It refuses to know what the entry should say.
"""

from __future__ import annotations

from collections.abc import Iterable

from state.catalog.checkpoint import MANIFESTS, SHARD_FOLDER
from state.catalog.entry import Change, Entry
from state.catalog.log import CatalogLog, WriterId
from state.catalog.view import EMPTY
from state.errors import CatalogCorrupt
from state.failpoints import declare, hit
from state.objects import ObjectStore

ASIDE = "lost/"
_LOG = "catalog/log/"

BEFORE_DELETE = declare("restart.before-delete")
BEFORE_ENTRY = declare("restart.before-entry")


def newest_epoch(store: ObjectStore) -> int:
    """Of the entries that can be read, 0 without any: a writer of the new log has to be above it."""
    epochs = [0]
    for info in store.list(_LOG):
        try:
            epochs.append(Entry.decode(store.get(info.key), info.key).epoch)
        except CatalogCorrupt:
            continue
    return max(epochs)


def restart(
    store: ObjectStore,
    mirror: ObjectStore | None,
    writer: WriterId,
    changes: Iterable[Change],
    *,
    run: str,
    at: str,
    actor: str,
    reason: str,
) -> Entry:
    """Puts the new log's first entry, after what is there was put aside, named by this run. For the holder of the lease.

    mirror: has what is lost aside, too, else it would be served and kept in the place of what is made. Raises CatalogCorrupt
    where the changes do not make a catalog, and what reaching the mirror raises: then the store was not touched.
    """
    entry = Entry(1, writer.id, writer.epoch, at, actor, reason, None, tuple(changes))
    EMPTY.after(entry)
    if mirror is not None:
        _put_aside(mirror, run)
    _put_aside(store, run)
    hit(BEFORE_ENTRY)
    return CatalogLog(store).append(entry)


def _put_aside(store: ObjectStore, run: str) -> None:
    """Moves what there is of a catalog; may be done again after a crash."""
    old = [info.key for prefix in (MANIFESTS, SHARD_FOLDER, _LOG) for info in store.list(prefix)]
    for key in old:
        store.put(f"{ASIDE}{run}/{key}", store.get(key))
    hit(BEFORE_DELETE)
    for key in old:
        store.delete(key)
