"""A daemon as a process of its own: `python -P daemon_process.py REPO ['{"clock": -3600, "ttl": 1}']`, started by `harness_daemon.py`.

Says where it answers on its first line of stdout. Exits 0 after SIGTERM, 1 with one sentence for an error of ours. What a machine
does to a daemon and a test cannot, it does to itself: a clock that is wrong by some seconds, a lease of a shorter life, less
space for files.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import signal
import sys
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import reconciler.opening
import state.lease
from reconciler.daemon import daemon_settings, run_daemon
from reconciler.place import locate
from specs.errors import LakehouseError


def shift_clock(seconds: float) -> None:
    """As if somebody had set the machine's clock."""

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=seconds)

    reconciler.opening.datetime = Shifted  # type: ignore[attr-defined,misc]


def main(repo: str, how: dict[str, float]) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    if "clock" in how:
        shift_clock(how["clock"])
    if "ttl" in how:
        acquire = state.lease.Lease.acquire.__func__  # type: ignore[attr-defined]
        acquire.__defaults__ = (how["ttl"],)
    if "file_bytes" in how:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(how["file_bytes"]), resource.RLIM_INFINITY))
    try:
        place = locate(Path(repo))
        settings = daemon_settings(place, None)
        asyncio.run(run_daemon(place, settings, lambda url: print(url, flush=True)))
    except LakehouseError as error:
        print(f"{error.slug}: {error.explain()}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}))
