"""A bare aiohttp route in a process of its own: reads JSON, and sends the bytes that a file has for it.

    python -m bench.bare_route ANSWERS      # {request body: answer}, as JSON; prints the port

What is left of a server when nothing is parsed, checked, limited or computed: the floor that our routes are measured against.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import orjson
from aiohttp import web


async def serve(answers: dict[bytes, bytes]) -> None:
    """Until the process is ended."""

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        orjson.loads(body)
        return web.Response(body=answers[body], content_type="application/json")

    app = web.Application()
    app.router.add_post("/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    found = orjson.loads(Path(sys.argv[1]).read_bytes())
    asyncio.run(serve({body.encode(): answer.encode() for body, answer in found.items()}))
