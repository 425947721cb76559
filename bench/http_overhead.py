"""What our routes cost over a bare aiohttp route with the same bodies: milliseconds at p50 and p99, one client, one connection.

    python -m bench.http_overhead [--rounds 4000]

Both servers run in this process and answer in turns, so that load from elsewhere meets both alike. The services behind our routes answer at
once: what is left is parsing, validation, guards, limits, figures and encoding.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import orjson
from aiohttp import web

from api.app import Parts, build_app
from api.status import Daemon
from bench.report import write
from engines.reading import Reader
from engines.search_answer import Hit, SearchRequest, SearchResult
from engines.sql.query_request import QueryRequest
from state.buckets import Buckets

ROWS = [{"city": f"city {number}", "people": number} for number in range(10)]
HITS = tuple(Hit(key=f'["C-{number}"]', chunk=0, text="Java, Kafka and so on. " * 12, score=0.5) for number in range(10))
BODIES = {
    "query": (
        "/query",
        {"sql": "SELECT city, count(*) AS people FROM candidates WHERE state = $state GROUP BY 1", "params": {"state": "IL"}},
    ),
    "search by text": ("/search", {"index": "resumes", "text": "java in chicago", "k": 10}),
    "search by vector": ("/search", {"index": "resumes", "vector": [number / 256 for number in range(256)], "k": 10}),
}


@dataclass(frozen=True)
class Result:
    """Ten rows."""

    ipc: bytes = b""
    text: int = 400
    truncated: bool = False
    versions: Mapping[str, int] = field(default_factory=lambda: {"candidates": 3})
    rescues: tuple[str, ...] = ()
    lost: Mapping[str, int] = field(default_factory=dict)

    def columns(self) -> list[dict[str, str]]:
        return [{"name": "city", "type": "string"}, {"name": "people", "type": "int64"}]

    def rows(self) -> list[dict[str, Any]]:
        return ROWS


class Instant:
    """Both services; they answer at once."""

    async def run(self, request: QueryRequest, reader: Reader) -> Result:
        return Result()

    async def search(self, request: SearchRequest, reader: Reader) -> SearchResult:
        return SearchResult(hits=HITS, index=request.index, generation="resumes-g1", versions={"candidates": 3})

    async def judged(self, request: SearchRequest, reader: Reader) -> Mapping[str, frozenset[str]]:
        return {}

    async def queries(self, index: str, eval_set: str, reader: Reader) -> Mapping[tuple[str, str | None], frozenset[str]]:
        return {}


class Connection:
    """A client as thin as possible: its own cost is the same for both."""

    def __init__(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._port, self._reader, self._writer = port, reader, writer

    async def post(self, path: str, body: bytes) -> bytes:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        answered = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        if b" 200 " not in answered:
            raise RuntimeError(answered.decode())
        return await self._reader.readexactly(int(answered.split(b"content-length: ")[1].split(b"\r\n")[0]))


async def start(app: web.Application) -> Connection:
    """Serves the app until the process ends."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    return Connection(port, *await asyncio.open_connection("127.0.0.1", port))


def bare_app(answers: Mapping[str, bytes]) -> web.Application:
    """The routes with nothing but reading JSON and sending bytes."""

    async def handle(request: web.Request) -> web.Response:
        orjson.loads(await request.read())
        return web.Response(body=answers[request.path], content_type="application/json")

    app = web.Application()
    for path in answers:
        app.router.add_post(path, handle)
    return app


async def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds by case: bare and ours at p50 and p99, and the difference at p50."""
    instant = Instant()
    others: dict[str, Any] = {part.name: None for part in fields(Parts) if part.default is part.default_factory}  # not asked
    parts = Parts(**(others | {"queries": instant, "searches": instant, "buckets": Buckets(), "daemon": Daemon("", "", 0)}))
    ours = await start(build_app(parts))
    answers = {path: await ours.post(path, orjson.dumps(body)) for path, body in BODIES.values()}
    bare = await start(bare_app(answers))
    results = {}
    for name, (path, body) in BODIES.items():
        content = orjson.dumps(body)
        seconds: dict[str, list[float]] = {"bare": [], "ours": []}
        for _ in range(rounds):
            for side, connection in (("bare", bare), ("ours", ours)):
                begin = time.perf_counter()
                await connection.post(path, content)
                seconds[side].append(time.perf_counter() - begin)
        quantiles = {side: statistics.quantiles(values, n=100) for side, values in seconds.items()}
        results[name] = {f"{side} p{p}": round(quantiles[side][p - 1] * 1e3, 4) for side in seconds for p in (50, 99)}
        results[name]["overhead p50"] = round((quantiles["ours"][49] - quantiles["bare"][49]) * 1e3, 4)
    return results


def main() -> None:
    """Measure, and write bench/results/http_overhead.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=4_000)
    rounds = parser.parse_args().rounds
    write("http_overhead", asyncio.run(measure(rounds)), data=f"ten rows or hits an answer, {rounds} rounds", threads=1)


if __name__ == "__main__":
    main()
