"""A reader and a Dataset -> its table as it may be read, at a moment. Whoever reads a table beside the query service comes through here.

It passes `decide` as every query does, and refuses what cannot be shown whole to a job or command that applies no filter and no mask; who
does says so, and reads through `shown_sources.py`. Next: `engines/reading.py`, `engines/at.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from engines.at import Moment, table_at
from engines.errors import EngineUnsupported, QueryForbidden, TableUnknown
from engines.reading import Action, Reader, TableName, decide
from engines.sql.tables import dataset_name, sql_name
from specs.suggestions import nearest
from state.catalog.fold import ObjectState
from state.catalog.tables import Table


class Datasets(Protocol):
    """The catalog, as far as this asks it."""

    def table(self, name: str) -> Table | None:
        """What a Dataset holds now."""

    def objects(self, kind: str | None = None) -> Mapping[str, ObjectState]:
        """What there is, by "Kind/name"."""


def admitted(reader: Reader, name: TableName, action: Action = "read", *, part: bool = False) -> bool:
    """Whether this reader may do this with the table. part: whether what is hidden from it will be.

    Raises QueryForbidden where the table is closed to it, EngineUnsupported where it may see but a part, and nothing would be hidden.
    """
    decision = decide(reader, name, action)
    if decision.closed is not None:
        raise QueryForbidden(decision.closed)
    if decision.allowed and not decision.whole and not part:
        message = f"Policies hide some of `{name}` from you, which this cannot leave out."
        raise EngineUnsupported(message, remedy="Ask for what you may see by a query or an export.")
    return decision.allowed


def table_for(
    catalog: Datasets, reader: Reader, dataset: str, moment: Moment = None, action: Action = "read", *, part: bool = False
) -> Table:
    """The table as it was then. dataset: by its name, or as SQL calls it. part: as of `admitted`.

    Raises TableUnknown, VersionUnknown, and as `admitted`.
    """
    name = dataset_name(dataset)
    table = catalog.table(name)
    declared = table is not None or f"Dataset/{name}" in catalog.objects("Dataset")
    if not declared or not admitted(reader, TableName(sql_name(name), None if table is None else table.bucket), action, part=part):
        raise _unknown(catalog, reader, dataset)
    if table is None or not table.columns:
        raise TableUnknown(
            f"Dataset {name} is declared and holds nothing yet.", remedy=f"`lakectl why Dataset/{name}` tells what it waits for."
        )
    return table_at(table, moment)


def _unknown(catalog: Datasets, reader: Reader, dataset: str) -> TableUnknown:
    states = (state for state in catalog.objects("Dataset").values() if state.table is not None)
    seen = (TableName(state.name, state.table.bucket) for state in states if state.table is not None)
    near = nearest(dataset_name(dataset), [known.name for known in seen if decide(reader, known, "read").allowed])
    remedy = f"Did you mean {near}?" if near else "`lakectl get datasets` lists them."
    return TableUnknown(f"There is no dataset `{dataset}`.", remedy=remedy)
