"""Merging the deltas of a table, apart from the queries that wait for it: within their limits, a long merge would be begun again by each
and ended with each. One merge a snapshot at a time; it goes on when those who wait for it give up.

It refuses to merge: a worker does. Next: `merge.py` for what is made, `service.py` for who asks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from engines.errors import QueryTimeout
from engines.sql.hot import HotTask
from engines.sql.hot_cache import HotCache
from engines.sql.hot_shown import ShownForms, ShownTask
from engines.sql.process import WorkerProcess
from engines.sql.source import LakeTable, TableSource
from specs.errors import LakehouseError

_log = logging.getLogger(__name__)


Pending: TypeAlias = LakeTable | HotTask | ShownTask
"""A table whose deltas are to be merged, a snapshot of the hot cache that is to be brought up to date, or what is shown of one."""


def pending(sources: Iterable[TableSource], hot: HotCache | None = None) -> list[Pending]:
    """What a query over these tables is better preceded by. Blocking."""
    tables = [replace(source, shown=None) for source in sources if isinstance(source, LakeTable) and source.hot is None]
    tasks = {table.name: hot.refresh(table) for table in tables} if hot is not None else {}
    unmerged = (table for table in tables if table.merged is not None and not Path(table.merged).exists())
    return [*(task for task in tasks.values() if task is not None), *(table for table in unmerged if tasks.get(table.name) is None)]


class Merges:
    """Used on one event loop."""

    def __init__(
        self,
        conversation: Callable[[], AbstractAsyncContextManager[WorkerProcess]],
        hot: HotCache | None = None,
        forms: ShownForms | None = None,
    ) -> None:
        """conversation: with a worker, for as long as a merge may take. forms: of `hot`."""
        self._conversation = conversation
        self._hot = hot
        self._forms = forms
        self._running: dict[str, asyncio.Task[None]] = {}

    async def wait(self, tables: Iterable[Pending], seconds: float) -> None:
        """They are merged on return, unless a worker could not: then a query over them will tell why.

        Raises QueryTimeout after so many seconds, and what ends a worker.
        """
        tables = list(tables)
        running = self.start(tables)
        if not running:
            return
        _, late = await asyncio.wait(running, timeout=seconds)
        if late:
            names = " and ".join(f"`{_named(table)}`" for table in tables)
            message = f"Changes of {names} are still being merged after {seconds:g} seconds."
            raise QueryTimeout(message, remedy="Ask again in a moment: the merge goes on, and is done once for all.")
        for task in running:
            task.result()

    def start(self, tables: Iterable[Pending]) -> list[asyncio.Task[None]]:
        """The merges of these tables, begun unless they are under way."""
        return [self._merge(table) for table in tables]

    def _merge(self, table: Pending) -> asyncio.Task[None]:
        name = str(table.merged) if isinstance(table, LakeTable) else table.name
        if name not in self._running:
            task = self._running[name] = asyncio.get_running_loop().create_task(self._run(table))
            task.add_done_callback(partial(self._ended, name))
        return self._running[name]

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        del self._running[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("Merging into %s: %s", name, error.explain() if isinstance(error, LakehouseError) else error)

    async def _run(self, table: Pending) -> None:
        if isinstance(table, ShownTask):
            await self._show(table)
            return
        held = False
        try:
            held = await self._converse(table)
        finally:
            if self._hot is not None and isinstance(table, HotTask):
                await asyncio.to_thread(self._hot.done if held else self._hot.failed, table)

    async def _show(self, task: ShownTask) -> None:
        assert self._forms is not None
        made: int | None = None
        try:
            async with self._conversation() as worker:
                answer = await worker.ask({"op": "show", "task": asdict(task)})
                worker.finish()
                made = answer.header["bytes"] if answer.op == "shown" else None
        finally:
            if made is None:
                self._forms.failed(task)
            else:
                await asyncio.to_thread(self._forms.done, task, made)

    async def _converse(self, table: LakeTable | HotTask) -> bool:
        async with self._conversation() as worker:
            if isinstance(table, LakeTable):
                await worker.ask({"op": "merge", "source": table.to_dict()})
                worker.finish()
                return True
            answer = await worker.ask({"op": "hold", "task": asdict(table)})
            worker.finish()
        return answer.op == "held"


def _named(table: Pending) -> str:
    match table:
        case LakeTable():
            return table.name
        case HotTask():
            return table.dataset
        case ShownTask():
            return table.table
