"""How long a read takes that its rescue bucket answers, while the bucket's server accepts and never replies.

    python -m bench.rescue [--reads 1000] [--timeout 0.5]

That is the worst way to be down: a refused connection is known at once, silence only after the timeout. Each read is of another object, so
that no cache answers. Pauses between reads spread them over the breaker's openings, when one read asks the dead bucket again.
"""

from __future__ import annotations

import argparse
import os
import socket
import tempfile
import threading
import time
from pathlib import Path

from bench.bars import Bar
from bench.percentiles import milliseconds
from bench.report import write
from state.buckets import Buckets
from state.objects import ObjectRef
from state.places import BucketConfig, Service
from state.reader import ObjectReader
from state.secrets import SECRET_PREFIX
from state.watched_store import PATIENCE

SECONDS = 20.0


def silent() -> socket.socket:
    """A server that takes connections and says nothing."""
    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def accept() -> None:
        while True:
            held.append(listener.accept()[0])

    threading.Thread(target=accept, daemon=True).start()
    return listener


def measure(folder: Path, reads: int, timeout: float) -> tuple[list[float], list[float]]:
    """Seconds of the reads until the breaker opens, and of those after."""
    buckets, content = Buckets(), os.urandom(4096)
    service = Service("bench", f"http://127.0.0.1:{silent().getsockname()[1]}", "us-east-1", secret="bench")
    mirror = buckets.attach(BucketConfig("mirror", "local", str(folder / "mirror")))
    buckets.attach(BucketConfig("far", "s3", service=service, timeout=timeout, rescue="mirror"))
    refs = [ObjectRef.of("far", f"datasets/t/{number}.parquet", content + b"%d" % number) for number in range(reads)]
    for number, ref in enumerate(refs):
        mirror.put(ref.key, content + b"%d" % number)
    reader, taken = ObjectReader(buckets, folder / "cache", 1 << 30), []
    for ref in refs:
        began = time.perf_counter()
        assert reader.find(ref).rescue == "mirror"
        taken.append(time.perf_counter() - began)
        time.sleep(SECONDS / reads)
    return taken[:PATIENCE], taken[PATIENCE:]


def main() -> None:
    """Measure, and write bench/results/rescue.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reads", type=int, default=1_000)
    parser.add_argument("--timeout", type=float, default=0.5)
    arguments = parser.parse_args()
    os.environ |= {f"{SECRET_PREFIX}BENCH__ACCESS_KEY_ID": "a", f"{SECRET_PREFIX}BENCH__SECRET_ACCESS_KEY": "b"}
    with tempfile.TemporaryDirectory() as name:
        first, after = measure(Path(name), arguments.reads, arguments.timeout)
    figures = {"timeout_ms": arguments.timeout * 1e3, "until_the_breaker_opens": milliseconds(first), "after": milliseconds(after)}
    bars = [
        Bar("failing over to rescue, over the timeout, p99", "ms", (max(first) - arguments.timeout) * 1e3, must=50),
        Bar("failing over once the breaker is open, p99", "ms", milliseconds(after)["p99_ms"], must=10),
    ]
    write("rescue", figures, bars=bars, data=f"{arguments.reads} objects of 4 KiB, a server that accepts and never replies", threads=1)


if __name__ == "__main__":
    main()
