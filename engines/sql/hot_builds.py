"""Fills the hot cache beside the queries, by a worker of its own that is let go when it has nothing to do. Used on one event loop.

A change of a table that is held is followed at once, so that the next query finds it; one that is pinned is held before anybody asks.
It refuses to choose: `hot_cache.py` does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from engines.errors import EngineError
from engines.sql.hot import HotTask
from engines.sql.hot_cache import HotCache
from engines.sql.limits import Limits
from engines.sql.pool import WorkerPool
from engines.sql.process import WorkerProcess
from engines.sql.protocol import Closed
from engines.sql.service import QueryService
from engines.sql.source import LakeTable

EVERY = 5.0
"""Seconds after which specs are looked at for tables that are pinned since: nothing tells of that."""

_DATASET = "Dataset/"
_log = logging.getLogger(__name__)


class HotBuilds:
    """Runs while its context does."""

    def __init__(
        self, cache: HotCache, queries: QueryService, pool: WorkerPool, limits: Limits, datasets: Callable[[], Iterable[str]]
    ) -> None:
        """pool: of this alone. datasets: names of all there are."""
        self._cache = cache
        self._queries = queries
        self._pool = pool
        self._limits = limits
        self._datasets = datasets
        self._look = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Builds what is wanted, until the block ends."""
        loop = asyncio.get_running_loop()

        def look() -> None:
            loop.call_soon_threadsafe(self._look.set)

        self._cache.wanted = look
        task = loop.create_task(self._run())
        try:
            yield
        finally:
            self._cache.wanted = lambda: None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.shield(self._pool.close())

    async def follow(self, objects: Iterable[str]) -> None:
        """These have changed, or may be held now."""
        for name in objects:
            dataset = name.removeprefix(_DATASET)
            if name.startswith(_DATASET) and self._cache.concerns(dataset):
                await self._queries.prepare(dataset)
                self._look.set()

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await self._look.wait()
            self._look.clear()
            for dataset in await asyncio.to_thread(self._unheld):
                await self._queries.prepare(dataset)
            while (found := await asyncio.to_thread(self._cache.build)) is not None:
                await self._build(*found)

    def _unheld(self) -> list[str]:
        return self._cache.unheld(self._datasets())

    async def _build(self, task: HotTask, table: LakeTable) -> None:
        held = False
        try:
            async with self._pool.worker(self._limits.waiting) as worker:
                worker.begin(self._limits.memory)
                held = await _hold(worker, task, table)
                worker.finish()
        except (EngineError, Closed) as error:
            _log.warning("Holding %s: %s", task.dataset, error.explain() if isinstance(error, EngineError) else "the worker ended")
        finally:
            await asyncio.to_thread(self._cache.done if held else self._cache.failed, task)


async def _hold(worker: WorkerProcess, task: HotTask, table: LakeTable) -> bool:
    if table.merged is not None and not await asyncio.to_thread(Path(table.merged).exists):
        await worker.ask({"op": "merge", "source": table.to_dict()})
    answer = await worker.ask({"op": "hold", "task": asdict(task)})
    if answer.op != "held":
        _log.warning("Holding %s: %s", task.dataset, answer.header["message"])
    return answer.op == "held"
