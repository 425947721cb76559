"""Listening, and ending without dropping a request."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from api.app import build_app
from api.server import address, listener, serving

pytestmark = pytest.mark.anyio


async def test_a_free_port_is_bound_and_named(world: Any) -> None:
    bound = listener("127.0.0.1", 0)
    async with serving(build_app(world.parts), bound), aiohttp.ClientSession() as session:
        assert (await session.get(f"http://{address(bound)}/healthz")).status == 200


async def test_requests_in_flight_finish_and_new_ones_are_refused(world: Any) -> None:
    world.queries.gate = asyncio.Event()
    stop, stopped = asyncio.Event(), asyncio.Event()
    up: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def serve() -> None:
        bound = listener("127.0.0.1", 0)
        async with serving(build_app(world.parts), bound):
            up.set_result(address(bound))
            await stop.wait()
        stopped.set()

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
        tasks.create_task(serve())
        url = f"http://{await up}"
        asking = tasks.create_task(session.post(f"{url}/query", json={"sql": "SELECT 1"}))
        await world.queries.begun.wait()
        stop.set()
        with pytest.raises(aiohttp.ClientConnectorError):
            await _ask_until_closed(session, f"{url}/healthz")
        assert not stopped.is_set()
        world.queries.gate.set()
        response = await asking
        assert (response.status, len((await response.json())["rows"])) == (200, 2)
    assert stopped.is_set()


async def _ask_until_closed(session: aiohttp.ClientSession, url: str) -> None:
    while True:
        await (await session.get(url, headers={"Connection": "close"})).read()


async def test_a_client_that_leaves_cancels_its_query(world: Any) -> None:
    world.queries.gate = asyncio.Event()
    bound = listener("127.0.0.1", 0)
    async with serving(build_app(world.parts), bound):
        session = aiohttp.ClientSession()
        asking = asyncio.create_task(session.post(f"http://{address(bound)}/query", json={"sql": "SELECT 1"}))
        await world.queries.begun.wait()
        asking.cancel()
        await session.close()
        async with asyncio.timeout(10):
            await world.queries.cancelled.wait()
        await asyncio.gather(asking, return_exceptions=True)
