"""Brings what the hot cache holds up to a version before anybody can see that version, so that the very next query finds it ready.

Only where it takes some milliseconds: few rows changed, or none, since deltas were folded into the base. What takes longer is followed once
it can be seen (`hot_builds.py`). It runs in the thread of whoever commits, before the entry is written, and may be for nothing: a snapshot
is named by its files, whether they become a version or not. One that is not there in time is made later. The rows are read from files of
our own making, and no statement is run here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from itertools import islice
from pathlib import Path

from engines.sql.hot import HotTask, TooLarge, build, document
from engines.sql.hot_cache import HotCache
from engines.sql.problems import QueryProblem, translated
from engines.sql.source import LakeTable
from engines.sql.tables import sql_name
from engines.sql.views import Files
from specs.errors import LakehouseError
from state.catalog.tables import Table

PATIENCE = 0.1
"""Seconds for which a commit waits until its tables are opened: workers that are idle take some milliseconds."""

MOST_TABLES = 4
"""Of one entry. Others are followed once they can be seen."""

_log = logging.getLogger(__name__)


class HotAhead:
    """Thread-safe, blocking."""

    def __init__(self, cache: HotCache, files: Files, opening: Callable[[Sequence[LakeTable]], Future[None]]) -> None:
        """files: of the tables. opening: has tables that are ready opened by those who will read them, on any thread."""
        self._cache = cache
        self._files = files
        self._opening = opening

    def prepare(self, tables: Iterable[Table]) -> Callable[[], None]:
        """These are about to be seen. Returns what waits until they are opened, for a moment at most."""
        ready = list(islice((held for table in tables if (held := self._prepared(table)) is not None), MOST_TABLES))
        if not ready:
            return _nothing
        opened = self._opening(ready)

        def wait() -> None:
            with suppress(TimeoutError, CancelledError):
                opened.result(PATIENCE)

        return wait

    def _prepared(self, table: Table) -> LakeTable | None:
        try:
            task = self._cache.ahead(table, lambda file: str(self._files.find(file.ref).path))
        except LakehouseError as error:
            _log.warning("Holding %s: %s", table.name, error.explain())
            return None
        if task is None or not self._made(task):
            return None
        held = str(document(Path(task.folder), task.name))
        return LakeTable(sql_name(table.name), table.version, task.columns, task.primary_key, hot=held)

    def _made(self, task: HotTask) -> bool:
        made = False
        try:
            with translated(), suppress(TooLarge):
                build(task)
                made = True
        except QueryProblem as problem:
            _log.warning("Holding %s: %s", task.dataset, problem.message)
        finally:
            (self._cache.done if made else self._cache.failed)(task)
        return made


def _nothing() -> None:
    return None
