"""What a table's name in SQL stands for: `job_orders` is the Dataset job-orders at its newest version, `system.events` a system table.

A Dataset's name has hyphens where SQL has underscores; quoted, `"job-orders"` is the same table. It refuses to say who may read it: that is
`engines/reading.py`, asked by `service.py` before this is. Next: `views.py`, `source.py`.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Protocol

from engines.at import Moment, table_at, table_under
from engines.errors import TableUnknown
from engines.model_list import ModelList
from engines.reading import IndexName, TableName
from engines.sql import cache_table, models_table
from engines.sql.hot_cache import HotCache
from engines.sql.ledgers import LEDGER_TABLES, ledger_table
from engines.sql.source import ArrowTable, LakeTable, TableSource
from engines.sql.version_pair import Pair, scopes
from engines.sql.views import Files, View, make_view, planned
from state.catalog.fold import ObjectState
from state.catalog.tables import LedgerKind, Table
from state.former_columns import pasts

REMEMBERED = 4096
RESCUED_FOR = 5.0
"""Seconds after which files of a rescue bucket are looked for again in their own: it may be back."""
SYSTEM = "system."


class Tables(Protocol):
    """The catalog, as far as SQL needs it. From memory, or nearly so."""

    def table(self, name: str) -> Table | None:
        """What a Dataset holds now."""

    def objects(self, kind: str | None = None) -> Mapping[str, ObjectState]:
        """What there is, by "Kind/name"."""

    @property
    def seq(self) -> int:
        """Of the newest entry."""


class SystemFiles(Protocol):
    """Streams and catalog as Arrow files. Blocking."""

    def names(self) -> tuple[str, ...]:
        """Every table, without `system.`."""

    def path(self, name: str) -> Path | None:
        """The file as it is now; None for a name that is none."""


def sql_name(dataset: str) -> str:
    """A Dataset's name in SQL."""
    return dataset.replace("-", "_")


def dataset_name(table: str) -> str:
    """The Dataset that SQL means."""
    return table.replace("_", "-")


class CatalogTables:
    """Thread-safe, blocking."""

    def __init__(
        self,
        catalog: Tables,
        files: Files,
        system: SystemFiles,
        views: Path,
        clock: Callable[[], float] = time.monotonic,
        hot: HotCache | None = None,
        models: ModelList | None = None,
    ) -> None:
        """views: a folder for links, a cache. clock: seconds. hot: where tables may be held ready. models: of `system.models`."""
        self._catalog = catalog
        self._files = files
        self._system = system
        self._views = views
        self._clock = clock
        self._hot = hot
        self._models = models
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()
        self._known_plans: OrderedDict[tuple[str, str], tuple[Table, LakeTable]] = OrderedDict()
        self._known_ledgers: dict[LedgerKind, tuple[int, Table]] = {}
        self._lock = Lock()

    def names(self) -> list[TableName]:
        """Every table there is, Datasets first."""
        datasets = sorted(sql_name(key.partition("/")[2]) for key in self._catalog.objects("Dataset"))
        system = sorted([*(SYSTEM + name for name in self._system.names()), *LEDGER_TABLES, cache_table.NAME, models_table.NAME])
        return [self.named(name) for name in datasets] + [TableName(name) for name in system]

    def named(self, name: str) -> TableName:
        """The name with the bucket of its table."""
        table = self._table(name)
        return TableName(name, None if table is None else table.bucket)

    def indexes(self) -> list[IndexName]:
        """Every index there is."""
        states = self._catalog.objects("Index").values()
        return [IndexName(state.name, None if state.index is None else state.index.bucket) for state in states]

    def columns(self, name: TableName) -> tuple[Mapping[str, frozenset[str]], tuple[str, ...]]:
        """Every name that each present column of a Dataset has had, by the present one; and its primary key. Of nothing, nothing."""
        table = self._table(name.name)
        if table is None:
            return {}, ()
        return {column: past.names for column, past in pasts(table).items()}, table.primary_key

    def resolve(self, name: TableName, moment: Moment = None, *, schema: int | None = None, fresh: bool = False) -> TableSource | None:
        """What to read, None if there is no such table. moment: which version of a Dataset; schema: under which of its schemas. fresh: look
        at every file again.

        Raises TableUnknown for a Dataset that has no table or no columns yet, VersionUnknown, QueryInvalid for a schema that it cannot be
        read under, and what reading an object raises.
        """
        if name.name in LEDGER_TABLES:
            return self._view(self._ledgers(LEDGER_TABLES[name.name]), name.name, fresh, placed=True)
        if name.name == cache_table.NAME:
            return cache_table.cache_table(self._hot, self._views.parent / "system")
        if name.name == models_table.NAME:
            return models_table.models_table(self._models, self._views.parent / "system")
        if name.name.startswith(SYSTEM):
            path = self._system.path(name.name.removeprefix(SYSTEM))
            return None if path is None else ArrowTable(name.name, str(path))
        table = self._table(name.name)
        if table is None or not table.columns:
            dataset = f"Dataset/{dataset_name(name.name)}"
            if dataset not in self._catalog.objects("Dataset"):
                return None
            raise TableUnknown(
                f"Table `{name}` is declared and holds nothing yet.", remedy=f"`lakectl why {dataset}` tells what it waits for."
            )
        wanted = table_under(table_at(table, moment), schema)
        # without a key there are readers of hidden columns, which are not held: they need the files
        if self._hot is not None and wanted.primary_key and not fresh:
            ready = self._hot.ready(wanted, present=wanted is table)
            if ready is not None:
                return replace(self._planned(wanted, name.name, kept=wanted is table), hot=str(ready))
        # A former view is made anew each time: whoever sweeps the folder does not know of it.
        source = self._view(table, name.name, fresh) if wanted is table else make_view(wanted, self._views, self._files, name.name).table
        if self._hot is None or source.former:  # what needs more than names to be read is not held
            return source
        return self._hot.choose(wanted, source, present=wanted is table)

    def versions(self, name: TableName, moment: Moment = None, *, schema: int | None = None) -> tuple[Table, Table] | None:
        """A Dataset's table now, and as `resolve` reads it; None where that is as it is now. Raises as `resolve` does."""
        table = self._table(name.name)
        return None if table is None or (moment is None and schema is None) else (table, table_under(table_at(table, moment), schema))

    def pair(self, name: TableName, former: int, later: int) -> Pair | None:
        """What has to be read of two versions of a Dataset to compare them; None if there is no such table. Raises as `resolve` does."""
        table = self._table(name.name)
        if table is None:
            return None
        sides = scopes(table_at(table, former), table_at(table, later))
        ours, theirs = (make_view(side, self._views, self._files, name.name).table for side in sides)
        return Pair(ours, theirs, table.primary_key, distinct=table.write == "upsert" or not table.primary_key)

    def _table(self, name: str) -> Table | None:
        return None if "." in name else self._catalog.table(dataset_name(name))

    def _ledgers(self, kind: LedgerKind) -> Table:
        """The same object as long as the catalog stays the same."""
        seq = self._catalog.seq
        known = self._known_ledgers.get(kind)
        if known is None or known[0] != seq:
            states = (state for of in ("Dataset", "Index") for state in self._catalog.objects(of).values())
            known = self._known_ledgers[kind] = seq, ledger_table(kind, states)
        return known[1]

    def _view(self, table: Table, name: str, fresh: bool, *, placed: bool = False) -> LakeTable:
        key = (table.name, name)
        with self._lock:
            known = self._known.get(key)
            if known is not None and known.table is table and not fresh and not self._is_over(known):
                self._known.move_to_end(key)
                for failure in known.view.failures:
                    self._files.again(failure)
                return known.view.table
        view = make_view(table, self._views, self._files, name, placed=placed)
        with self._lock:
            self._known[key] = _Known(table, view, self._clock())
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return view.table

    def _planned(self, table: Table, name: str, *, kept: bool) -> LakeTable:
        """As `_view`, without links: whoever finds the snapshot gone when it is opened finds none of its files either, and asks afresh."""
        with self._lock:
            known = self._known_plans.get((table.name, name))
        if known is not None and known[0] is table:
            return known[1]
        found = planned(table, self._views, name)
        if kept:
            with self._lock:
                self._known_plans[table.name, name] = table, found
                if len(self._known_plans) > REMEMBERED:
                    self._known_plans.popitem(last=False)
        return found

    def _is_over(self, known: _Known) -> bool:
        return bool(known.view.failures) and self._clock() - known.made > RESCUED_FOR


@dataclass(frozen=True, slots=True)
class _Known:
    """A view and what it was made of, at an instant of the clock."""

    table: Table
    view: View
    made: float
