"""What is decided of a table's present columns -> what holds of those of a former version, or under a former schema. Pure.

A column is the same one as long as it has its id, whatever it is called: it is masked there as it is now. What is there no more is hidden
from whoever has any column masked: of what a policy cannot name, nobody said that it may be seen. A row filter names columns as they are
called now; one that a version lacks has no value there to be judged by (`engines/sql/shown.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from engines.policies.governed import NOTHING, Mask
from state.catalog.tables import Table


def masks_then(masks: Mapping[str, Mask], now: Table, then: Table) -> Mapping[str, Mask]:
    """The masks by the names that columns have in `then`. masks: by those of `now`."""
    if now.schema is then.schema:
        return masks
    names = {column.id: column.name for column in now.columns}
    found: dict[str, Mask] = {}
    for column in then.columns:
        mask = masks.get(names[column.id]) if column.id in names else NOTHING if masks else None
        if mask is not None:
            found[column.name] = mask
    return found


def columns_then(now: Table, then: Table) -> Mapping[str, str | None]:
    """What each column of `now`, as row filters and expressions name it, is called in `then`; None for one that it lacks."""
    names = {column.id: column.name for column in then.columns}
    return {column.name: names.get(column.id) for column in now.columns}
