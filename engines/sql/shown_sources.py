"""What a name stands for, for one reader: a table as it is, a part of it, or none. The query service's way through `decide`.

Next: `tables.py` for what there is, `shown.py` for what is left of it, `hot_shown.py` for what is made of that once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from engines.at import At, Moment
from engines.errors import QueryForbidden
from engines.reading import Action, Decision, Reader, TableName, decide
from engines.sql.hot_shown import ShownForms, ShownTask
from engines.sql.shown import HASH, shown_as
from engines.sql.source import LakeTable, TableSource
from engines.sql.system_sight import Listing, decision_of
from engines.sql.tables import dataset_name
from state.catalog.tables import Table


class Resolving(Listing, Protocol):
    """What names stand for, whoever asks. Blocking."""

    def resolve(self, name: TableName, moment: Moment = None, *, schema: int | None = None, fresh: bool = False) -> TableSource | None:
        """What to read, None if there is no such table. Raises LakehouseError."""

    def versions(self, name: TableName, moment: Moment = None, *, schema: int | None = None) -> tuple[Table, Table] | None:
        """A Dataset's table now, and as `resolve` reads it; None where that is as it is now. Raises LakehouseError."""


class ShownSources:
    """Thread-safe."""

    def __init__(self, tables: Resolving, forms: ShownForms | None, hash_key: Callable[[], str] | None) -> None:
        """forms: those of the hot cache; hash_key: of masks that hash, in hex; blocking, asked where one does."""
        self._tables = tables
        self._forms = forms
        self._hash_key = hash_key

    def resolve(self, name: TableName, reader: Reader, at: At, action: Action = "read", *, fresh: bool) -> TableSource | None:
        """What this reader may see of it; None if there is no such table for them. Blocking.

        Raises QueryForbidden where it is closed to them, and as `Resolving` does.
        """
        decision = self._decision(reader, name, action)
        if decision.closed is not None:
            raise QueryForbidden(decision.closed)
        if not decision.allowed:
            return None
        dataset = dataset_name(name.name)
        moment, schema = at.of(dataset), at.schema_of(dataset)
        source = self._tables.resolve(name, moment, schema=schema, fresh=fresh)
        if source is None or decision.whole:
            return source
        hashes = any(mask.kind == HASH for mask in decision.masks.values())
        key = self._hash_key() if hashes and self._hash_key is not None else None
        return self.found(replace(source, shown=shown_as(decision, self._tables.versions(name, moment, schema=schema), key)))

    def found(self, source: TableSource) -> TableSource:
        """The source, to be read from what is held of it as it is shown, if that is there. Blocking."""
        return self._forms.found(source) if self._forms is not None and isinstance(source, LakeTable) else source

    def missing(self, sources: Iterable[TableSource]) -> list[ShownTask]:
        """What is to be made so that it is held as it is shown."""
        forms = self._forms
        tasks = () if forms is None else (forms.missing(source) for source in sources if isinstance(source, LakeTable))
        return [task for task in tasks if task is not None]

    def decided_otherwise(self, names: Sequence[str], reader: Reader, now: Reader, action: Action = "read") -> bool:
        """Whether two readers see different parts of one of the tables. From memory, but blocking for those of `system.*`."""
        return self.decisions(names, reader, action) != self.decisions(names, now, action)

    def decisions(self, names: Sequence[str], reader: Reader, action: Action = "read") -> list[Decision]:
        """What the reader is shown of each of the tables. Blocks as `decided_otherwise` does."""
        return [self._decision(reader, self._tables.named(name), action) for name in names]

    def _decision(self, reader: Reader, name: TableName, action: Action) -> Decision:
        return decision_of(reader, name, self._tables) if action == "read" else decide(reader, name, action)
