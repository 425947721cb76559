"""The system calls of simulated processes: each takes a turn, may fail, and has no effect once its process is dead.

`Kernel.installed` puts these in place of the functions of `os` and `fcntl`, for the threads of a `Schedule` only. Nothing is really synced:
a `Disk` remembers what would be. Descriptors of a dead process are closed by `bury`, and its locks go with them.
Next: `harness_disk.py`, on what a power cut leaves.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from harness_disk import Disk
from harness_turns import Killed, Process, Schedule

import state.staging
import state.streams.wal

FAILS = {
    "open": errno.ENOSPC,
    "write": errno.ENOSPC,
    "mkdir": errno.ENOSPC,
    "link": errno.ENOSPC,
    "replace": errno.EIO,
    "rename": errno.EIO,
    "unlink": errno.EIO,
    "fsync": errno.EIO,
    "fdatasync": errno.EIO,
}
"""The calls that change something, and how they fail."""
SYNCS = ("fsync", "fdatasync")
QUIET = ("ftruncate", "rmdir")
"""Those that change something, too, and are not made to fail."""
REAL: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in (*FAILS, *QUIET, "close")}
FLOCK, GETPID = fcntl.flock, os.getpid
FIRST_PID = 50_000


class Kernel:
    """What the processes of a schedule share."""

    def __init__(self, schedule: Schedule, disks: Sequence[Disk], fails: float) -> None:
        """fails: how many of the calls fail."""
        self._schedule = schedule
        self._disks = disks
        self._fails = fails

    @contextmanager
    def installed(self) -> Iterator[None]:
        calls: dict[str, Any] = {name: self._stand_in(name) for name in REAL}
        with (
            patch.multiple(os, **calls, getpid=self._getpid),
            patch.object(fcntl, "flock", self._flock),
            patch.object(state.staging, "weakref", _NoFinalizers),
            patch.object(state.streams.wal, "weakref", _NoFinalizers),
            patch.object(state.staging, "secrets", self._random_names()),
        ):
            yield

    def bury(self, process: Process) -> None:
        """Closes what a process left open."""
        for descriptor in process.descriptors:
            with suppress(OSError):
                REAL["close"](descriptor)
        process.descriptors.clear()

    def _getpid(self) -> int:
        process = self._schedule.here
        return GETPID() if process is None else FIRST_PID + process.number

    def _random_names(self) -> object:
        """In place of `secrets`: the same names in every replay."""
        schedule = self._schedule

        class Secrets:
            @staticmethod
            def token_hex(size: int) -> str:
                return schedule.random.randbytes(size).hex()

        return Secrets

    def _stand_in(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            process = self._schedule.here
            if process is None:
                return REAL[name](*arguments, **options)
            if name == "close":
                process.descriptors.discard(arguments[0])
                return REAL["close"](*arguments)
            return self._call(process, name, arguments, options)

        return call

    def _call(self, process: Process, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        changes = name != "open" or arguments[1] & os.O_CREAT
        if process.dead and changes:
            raise Killed
        below = self._below(arguments[0]) if changes else ""
        if below and name not in QUIET:
            self._schedule.turn(f"{name} {below}")
            self._perhaps_fail(name, arguments[0])
        if name in SYNCS:
            return self._sync(arguments[0])
        if below and name == "write" and len(arguments[1]) > 1 and self._schedule.random.random() < self._fails:
            self._schedule.counts["write: half done"] += 1
            return REAL["write"](arguments[0], arguments[1][: self._schedule.random.randrange(1, len(arguments[1]))])
        found = REAL[name](*arguments, **options)
        if name == "open":
            process.descriptors.add(found)
        return found

    def _sync(self, descriptor: int) -> None:
        for disk in self._disks:
            disk.synced(descriptor)

    def _perhaps_fail(self, name: str, what: Any) -> None:
        """A sync that fails may have been done all the same."""
        if self._schedule.random.random() < self._fails:
            if name in SYNCS and self._schedule.random.random() < 0.5:
                self._sync(what)
            self._schedule.counts[f"{name}: failed"] += 1
            self._schedule.story.append(f"     {name} fails")
            raise OSError(FAILS[name], os.strerror(FAILS[name]), None if isinstance(what, int) else str(what))

    def _below(self, what: Any) -> str:
        """A path as of its disk's name; "" for what is on none: how deep that lies is the machine's that plays, and must not matter."""
        path = str(Path(f"/proc/self/fd/{what}").readlink()) if isinstance(what, int) else os.fspath(what)
        found = next((disk.root for disk in self._disks if path == str(disk.root) or path.startswith(f"{disk.root}/")), None)
        return "" if found is None else path.removeprefix(f"{found.parent}/")

    def _flock(self, descriptor: int, operation: int) -> None:
        while True:
            try:
                FLOCK(descriptor, operation if self._schedule.here is None else operation | fcntl.LOCK_NB)
            except BlockingIOError:
                if operation & fcntl.LOCK_NB:
                    raise
                self._schedule.give_way()
            else:
                return


class _NoFinalizers:
    """In place of `weakref`: what a process would clear away as it ends is not cleared by the collector, after its death and by anybody."""

    @staticmethod
    def finalize(_owner: object, work: Callable[..., object], *arguments: object) -> Callable[[], object]:
        return lambda: work(*arguments)
