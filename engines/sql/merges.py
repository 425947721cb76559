"""Merging the deltas of a table, apart from the queries that wait for it: within their limits, a long merge would be begun again by each
and ended with each. One merge a snapshot at a time; it goes on when those who wait for it give up.

It refuses to merge: a worker does. Next: `merge.py` for what is made, `service.py` for who asks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

from engines.errors import QueryTimeout
from engines.sql.process import WorkerProcess
from engines.sql.source import LakeTable, TableSource
from specs.errors import LakehouseError

_log = logging.getLogger(__name__)


def unmerged(sources: Iterable[TableSource]) -> list[LakeTable]:
    """The tables whose deltas nobody has merged yet. Blocking."""
    tables = [source for source in sources if isinstance(source, LakeTable) and source.merged is not None]
    return [table for table in tables if not Path(str(table.merged)).exists()]


class Merges:
    """Used on one event loop."""

    def __init__(self, conversation: Callable[[], AbstractAsyncContextManager[WorkerProcess]]) -> None:
        """conversation: with a worker, for as long as a merge may take."""
        self._conversation = conversation
        self._running: dict[str, asyncio.Task[None]] = {}

    async def wait(self, tables: Iterable[LakeTable], seconds: float) -> None:
        """They are merged on return, unless a worker could not: then a query over them will tell why.

        Raises QueryTimeout after so many seconds, and what ends a worker.
        """
        tables = list(tables)
        running = [self._merge(table) for table in tables]
        if not running:
            return
        _, late = await asyncio.wait(running, timeout=seconds)
        if late:
            names = " and ".join(f"`{table.name}`" for table in tables)
            message = f"Changes of {names} are still being merged after {seconds:g} seconds."
            raise QueryTimeout(message, remedy="Ask again in a moment: the merge goes on, and is done once for all.")
        for task in running:
            task.result()

    def _merge(self, table: LakeTable) -> asyncio.Task[None]:
        name = str(table.merged)
        if name not in self._running:
            task = self._running[name] = asyncio.get_running_loop().create_task(self._converse(table))
            task.add_done_callback(partial(self._ended, name))
        return self._running[name]

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        del self._running[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("Merging into %s: %s", name, error.explain() if isinstance(error, LakehouseError) else error)

    async def _converse(self, table: LakeTable) -> None:
        async with self._conversation() as worker:
            await worker.ask({"op": "merge", "source": table.to_dict()})
            worker.finish()
