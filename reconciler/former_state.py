"""Whether there was a state where there is none: whoever writes refuses to begin anew then, and whoever reads does not call it empty.

Three things remember a state: what else lies in its bucket, `.lakehouse/state.json`, and the bucket's rescue bucket. Nothing here opens a
source of specs or the catalog. Next: `reconciler/opening.py`, which asks; `reconciler/rebuilding.py`, which makes a catalog again.
"""

from reconciler.errors import CatalogLost
from reconciler.footprint import StatePointer, state_id
from state.objects import ObjectStore

_LOG = "catalog/log/"


def check_never_used(store: ObjectStore, pointer: StatePointer, where: str, rescue: ObjectStore | None) -> None:
    """Raises CatalogLost where there is no catalog and there was one: to begin anew would orphan every table.

    Whoever writes a state first makes an entry that says so. pointer: what this machine remembers. where: the state bucket in words.
    rescue: what may have a copy, None for nothing.
    """
    signs, remedies, anew = [], [], []
    if _any(store, "datasets/") or store.folders("streams/"):
        signs.append("it holds tables or events, and no log")
        anew.append(f"empty bucket {store.name}")
    else:
        remedies.append(f"mount or restore {where}")
    if pointer.id and state_id(store) != pointer.id:
        signs.append(f".lakehouse/state.json knows its state {pointer.id}, which is not there")
    if rescue is not None and (state_id(rescue) or not has_no_log(rescue)):
        signs.append(f"its rescue bucket {rescue.name} holds a copy")
        remedies.append(f"copy back what bucket {rescue.name} holds of it")
        anew.append(f"empty bucket {rescue.name}")
    if not signs:
        return
    if pointer.id:
        anew.append("delete .lakehouse/state.json")
    remedies.append("run `lakectl rebuild`, which makes it again from the tables' files")
    first, *more = remedies
    remedy = f"{first[0].upper()}{first[1:]}{''.join(f', or {other}' for other in more)}. To begin anew: {', '.join(anew)}."
    raise CatalogLost(f"the catalog of bucket {store.name} is lost: {'; '.join(signs)}.", remedy=remedy, bucket=store.name)


def has_no_log(store: ObjectStore) -> bool:
    """Whether the catalog never began, or is lost."""
    return not _any(store, _LOG)


def _any(store: ObjectStore, prefix: str) -> bool:
    return next(iter(store.list(prefix)), None) is not None
