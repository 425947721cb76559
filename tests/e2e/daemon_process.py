"""Daemons as processes of their own, forked from one that has imported everything: most of what a start costs is imports.

Started by `harness_forks.py` as `python -P daemon_process.py FD`, with a socket. A message there asks for a daemon, its stdout and stderr
go with it; `started` and `ended` are told back. Nothing but imports happens before the fork: no thread, no file, no setting is shared.

A daemon says where it answers on its first line of stdout. It exits 0 after SIGTERM, 1 with one sentence for an error of ours. What a
machine does to a daemon and a test cannot, it does to itself (`how`): a clock that is wrong by some seconds, a lease of a shorter life,
less space for files.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import selectors
import signal
import socket
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


def serve(control: socket.socket) -> dict[str, Any] | None:
    """Forks until the other end is closed, which ends all; in a fork it returns what was asked for, there None."""
    with selectors.DefaultSelector() as events:
        events.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in events.select():
                if key.fileobj is not control:
                    events.unregister(key.fileobj)
                    os.close(key.fd)
                    tell(control, {"ended": key.data, "code": os.waitstatus_to_exitcode(os.waitpid(key.data, 0)[1])})
                    continue
                message, descriptors, _, _ = socket.recv_fds(control, 1 << 20, 2)
                if not message:
                    for daemon in events.get_map().values():
                        if daemon.data is not None:
                            os.kill(daemon.data, signal.SIGKILL)
                    return None
                pid = os.fork()
                if pid == 0:
                    return become(control, json.loads(message), *descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)
                events.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
                tell(control, {"started": pid})


def tell(control: socket.socket, message: dict[str, int]) -> None:
    control.send(json.dumps(message).encode())


def become(control: socket.socket, wanted: dict[str, Any], out: int, err: int) -> dict[str, Any]:
    """What a new process would have: its own output, folder and environment, and nothing else that is open."""
    control.close()
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, max(int(name) for name in os.listdir("/proc/self/fd")) + 1)  # noqa: PTH208 - names, not paths
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    return wanted


if __name__ == "__main__":
    wanted = serve(socket.socket(fileno=int(sys.argv[1])))
    if wanted is not None:
        sys.exit(main(wanted["repo"], wanted["how"]))
