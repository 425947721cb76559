"""A whole daemon in this process, watched by blockbuster: whatever it is asked, its event loop waits for no disk, lock or process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from harness_daemon import Repository
from harness_shop import ITEMS, dataset, stocked

from reconciler.daemon import daemon_settings, run_daemon
from reconciler.place import locate

ROOMS = ["specs", "state", "engines", "controllers", "api", "reconciler"]
PATIENCE = 60.0


def test_the_event_loop_is_never_blocked(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    watch_loop: Callable[..., AbstractContextManager[None]],
) -> None:
    monkeypatch.setenv("LAKEHOUSE_LISTEN", "127.0.0.1:0")
    monkeypatch.setenv("LAKEHOUSE_WORK_RESYNC", "1s")
    monkeypatch.setenv("LAKEHOUSE_WORK_INLINE_BYTES", "20000")
    caplog.set_level(logging.INFO)
    repository = stocked(tmp_path / "repository")
    with watch_loop(*ROOMS):
        asyncio.run(life(repository))
    assert "Blocking" not in caplog.text
    # a fault in a spec is told as a warning; nothing else is one
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING and "InvalidSpec" not in record.message], (
        caplog.text
    )


async def life(repository: Repository) -> None:
    place = await asyncio.to_thread(locate, repository.path)
    settings = await asyncio.to_thread(daemon_settings, place, None)
    up: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    daemon = asyncio.create_task(run_daemon(place, settings, up.set_result))
    await asyncio.wait((daemon, up), return_when=asyncio.FIRST_COMPLETED)
    if daemon.done():
        daemon.result()
    async with ClientSession(up.result()) as client:
        changes = asyncio.create_task(keeps_changing(repository, client))
        asked = asyncio.gather(*(keeps_asking(client, changes) for _ in range(4)), changes)
        await asyncio.wait((daemon, asked), return_when=asyncio.FIRST_COMPLETED)
        if daemon.done():
            asked.cancel()
            daemon.result()
        await asked
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(daemon, PATIENCE)


async def keeps_asking(client: ClientSession, changes: asyncio.Task[None]) -> None:
    """For as long as something changes."""
    await until(lambda: searches(client), "the index answers")
    while not changes.done():
        for sql in ("SELECT * FROM items", "SELECT count(*) AS n FROM system.status", "SELECT count(*) AS n FROM system.events"):
            assert await ask(client, "/query", {"sql": sql}) is not None
        assert await ask(client, "/search", {"index": "titles", "text": "chair", "filter": "id < 3"}) is not None
        assert await ask(client, "/search", {"index": "titles", "text": "chair " * 500, "k": 3}) is not None
        for path in ("/status", "/events", "/catalog/datasets", "/healthz", "/metrics", "/openapi.json"):
            async with client.get(path) as answer:
                assert answer.status == 200, await answer.text()


async def keeps_changing(repository: Repository, client: ClientSession) -> None:
    """Commits, data, faults, a dataset that comes and goes, a job in a process."""
    extra = dataset("extra", write="replace")
    await asyncio.to_thread(repository.write, "data/extra/1.csv", "a\n1\n")
    await asyncio.to_thread(repository.commit, "one more", extra=extra)
    await until(lambda: counts(client, "extra", 1), "a dataset is added")
    lines = "".join(f"{n},{n}\n" for n in range(5000))
    await asyncio.to_thread(repository.write, "data/extra/1.csv", f"a,b\n{lines}")
    await until(lambda: counts(client, "extra", 5000), "a job in a process is done")
    await asyncio.to_thread(repository.commit, "faulty", extra="kind: [")
    await until(lambda: is_reason(client, "InvalidSpec"), "a fault is told")
    await asyncio.to_thread(repository.commit, "other recipe", extra=extra, items=ITEMS.replace("text: [title]", "text: [title], keep: 1"))
    await asyncio.to_thread(repository.write, "data/items/2.csv", "id,title\n4,a white door\n")
    await until(lambda: counts(client, "items", 4), "data is followed")
    await asyncio.to_thread((repository.path / "specs/extra.yaml").unlink)
    await asyncio.to_thread(repository.commit, "one less")
    await until(lambda: is_reason(client, "Retained"), "a dataset is let go")


async def until(condition: Callable[[], Awaitable[Any]], what: str) -> None:
    end = asyncio.get_running_loop().time() + PATIENCE
    while not await condition():
        assert asyncio.get_running_loop().time() < end, f"after {PATIENCE:g} s still not: {what}"
        await asyncio.sleep(0.02)


async def ask(client: ClientSession, path: str, body: dict[str, Any]) -> Any:
    async with client.post(path, json=body) as answer:
        document = await answer.json()
        assert answer.status in (200, 404, 503), document
        return document if answer.status == 200 else None


async def searches(client: ClientSession) -> bool:
    return await ask(client, "/search", {"index": "titles", "text": "chair"}) is not None


async def counts(client: ClientSession, table: str, rows: int) -> bool:
    found = await ask(client, "/query", {"sql": f"SELECT count(*) AS n FROM {table}"})
    return found is not None and found["rows"] == [{"n": rows}]


async def is_reason(client: ClientSession, reason: str) -> bool:
    async with client.get("/status") as answer:
        document = await answer.json()
        return any(row["reason"] == reason for row in document["objects"])
