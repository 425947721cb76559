"""GET /storage/buckets/{bucket}/objects/{key}: MB a second of a large object, over bare obstore; and how much memory it takes.

    python -m bench.object_route [--megabytes 256] [--rounds 15]

On S3 three processes share the machine: the server, this one, and the client. `cpu_seconds` of all of them are given for both ways: on two
cores a way that needs more of them takes longer, however well it is written, and `share_by_cpu` is what is left if nobody ever waits.
`relay` is the least that passing on an object can take here: obstore's pieces sent by a bare socket, without a route, a reader or an audit.

The object is read by a client in a process of its own that throws the bytes away, from the route in this process; then by obstore's
own best way in this process, in turns. On a local bucket, and on the S3 server.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import obstore
import psutil
from aiohttp import web
from obstore.store import LocalStore as BareLocal
from obstore.store import ObjectStore as BareStore

from api.objects import endpoints
from api.reader import READER
from api.threads import RequestThreads
from bench.bars import Bar
from bench.report import peak_rss_mib, write
from engines.audit import Audit
from engines.reading import ANONYMOUS
from examples.s3_server import REGION, S3Server
from reconciler.allocator import keep_freed_memory
from state.buckets import Buckets
from state.places import BucketConfig, Service
from state.reader import ObjectReader
from state.secrets import SECRET_PREFIX
from state.streams.wal import WalRecord

KEY = "large/object.bin"
CLIENT = """
import socket, sys, time
host, port, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
began = time.perf_counter()
link = socket.create_connection((host, port))
link.sendall(f"GET {path} HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n".encode())
buffer, total = memoryview(bytearray(4 << 20)), 0
while count := link.recv_into(buffer, 0, socket.MSG_TRUNC):  # the kernel drops them: what a client does with them is its own affair
    total += count
print(total, time.perf_counter() - began)
"""


def streamed(store: BareStore) -> float:
    """Seconds to read it all by obstore, in pieces of a MiB: the best on S3, of 1, 4 and 10 MiB and all at once."""
    began = time.perf_counter()
    total = sum(len(piece) for piece in obstore.get(store, KEY).stream(min_chunk_size=1 << 20))
    assert total > 0
    return time.perf_counter() - began


def at_once(store: BareStore) -> float:
    """Seconds to read it all by obstore at once: the best on a local disk, twice as fast as any stream."""
    began = time.perf_counter()
    assert len(obstore.get(store, KEY).bytes()) > 0
    return time.perf_counter() - began


def fetch(port: int, bucket: str, size: int) -> float:
    """Seconds to read it all from the route, as the client saw them."""
    path = f"/storage/buckets/{bucket}/objects/{KEY}"
    done = subprocess.run([sys.executable, "-c", CLIENT, "127.0.0.1", str(port), path], check=True, capture_output=True, text=True)
    total, seconds = done.stdout.split()
    assert size < int(total) < size + 2_000, total
    return float(seconds)


class NoJournal:
    """Takes what the audit writes."""

    def encode(self, stream: str, event: Mapping[str, Any]) -> WalRecord:
        """See `engines.audit.Journal`."""
        return WalRecord(stream, "", b"{}")

    def commit(self, records: Iterable[WalRecord]) -> None:
        """See `encode`."""

    def append(self, stream: str, event: Mapping[str, Any]) -> str:
        """See `encode`."""
        return ""


class Relay:
    """A server of nothing but one object, for whoever connects: obstore's stream into a socket, in a thread that ends with the process."""

    def __init__(self, store: BareStore) -> None:
        self._store = store
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            link, _ = self._listener.accept()
            with link:
                link.recv(4096)
                link.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                for piece in obstore.get(self._store, KEY).stream(min_chunk_size=1 << 20):
                    link.sendall(piece)


async def serve(buckets: Buckets, cache: Path) -> int:
    """The route alone, until the process ends; its port."""

    @web.middleware
    async def anybody(request: web.Request, handler: Any) -> Any:
        request[READER] = ANONYMOUS
        return await handler(request)

    app = web.Application(middlewares=[anybody])
    (route,) = endpoints(ObjectReader(buckets, cache, 1 << 30), Audit(NoJournal()), RequestThreads().storage)
    app.router.add_get(route.path, route.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return int(runner.addresses[0][1])


async def compare(
    port: int, bucket: str, store: BareStore, bare: Callable[[], float], size: int, rounds: int, server: psutil.Process
) -> dict[str, float | dict[str, float]]:
    """MB a second of each, medians, the first round left out; CPU seconds a read of all processes; and ratios, medians of the rounds'."""
    ways = {"route": partial(fetch, port, bucket, size), "obstore": bare, "relay": partial(fetch, Relay(store).port, bucket, size)}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            before = cpu_seconds(server)
            taken[name].append(await asyncio.to_thread(way))
            cpu[name].append(cpu_seconds(server) - before)
    speeds = {name: round(size / statistics.median(seconds[1:]) / 1e6, 1) for name, seconds in taken.items()}
    costs = {name: round(statistics.median(seconds[1:]), 3) for name, seconds in cpu.items()}
    found: dict[str, float | dict[str, float]] = {f"{name}_mb_per_second": speed for name, speed in speeds.items()}

    def ratio(slower: str, faster: str) -> float:
        """Of neighbours in time: this machine's speed changes within minutes."""
        return round(statistics.median(one / other for one, other in zip(taken[faster][1:], taken[slower][1:], strict=True)), 3)

    shares = {
        "share": ratio("route", "obstore"),
        "share_by_cpu": round(costs["obstore"] / costs["route"], 3),
        "relay_share": ratio("relay", "obstore"),
        "share_of_relay": ratio("route", "relay"),
    }
    return found | {"cpu_seconds": costs} | shares


def cpu_seconds(server: psutil.Process) -> float:
    """Of this process, its ended children (the client's start included), and the S3 server."""
    times = server.cpu_times()
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime + times.user + times.system


async def measure(folder: Path, server: S3Server, megabytes: int, rounds: int) -> dict[str, Any]:
    """Both backends, and the peak of memory before and after."""
    assert server.process is not None
    size, buckets, process = megabytes << 20, Buckets(), psutil.Process(server.process.pid)
    local, service = folder / "lake", Service("bench", server.endpoint, REGION, secret="bench")
    for config in (BucketConfig("near", "local", str(local)), BucketConfig("far", "s3", service=service)):
        store = buckets.attach(config)
        staged = store.stage()
        with staged.open("wb") as file:
            for _ in range(megabytes):
                file.write(os.urandom(1 << 20))
        await asyncio.to_thread(store.put_file, KEY, staged)
    port = await serve(buckets, folder / "cache")
    before = peak_rss_mib()
    for bucket in ("near", "far"):
        await asyncio.to_thread(fetch, port, bucket, size)
    after = peak_rss_mib()  # before obstore has it all at once
    bare, remote = BareLocal(local), server.client("bench")
    near = await compare(port, "near", bare, partial(at_once, bare), size, rounds, process)
    far = await compare(port, "far", remote, partial(streamed, remote), size, rounds, process)
    return {"local": near, "s3": far, "peak_rss_mib": {"before": before, "after": after}}


def main() -> None:
    """Measure, and write bench/results/object_route.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, S3Server(Path(name, "s3"), ("bench",)) as server:
        os.environ |= {
            f"{SECRET_PREFIX}BENCH__ACCESS_KEY_ID": server.access_key,
            f"{SECRET_PREFIX}BENCH__SECRET_ACCESS_KEY": server.secret_key,
        }
        keep_freed_memory()  # as the daemon does
        figures = asyncio.run(measure(Path(name), server, arguments.megabytes, arguments.rounds))
    memory = figures["peak_rss_mib"]
    bars = [
        Bar("object route over bare obstore, local bucket", "x", figures["local"]["share"], must=0.8, at_least=True),
        Bar("object route over bare obstore, S3", "x", figures["s3"]["share"], must=0.8, at_least=True),
        Bar("a bare relay over bare obstore, S3", "x", figures["s3"]["relay_share"]),
        Bar("object route over a bare relay, S3", "x", figures["s3"]["share_of_relay"]),
        Bar("memory that reading it adds", "MiB", memory["after"] - memory["before"], must=64),
    ]
    write("object_route", figures, bars=bars, data=f"one object of {arguments.megabytes} MiB of random bytes", threads=2)


if __name__ == "__main__":
    main()
