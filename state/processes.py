"""Which process is which: pids are reused, so a process is its pid and the instant at which it started.

Refuses to signal or list anything. Next: `lease.py`, which asks whether a former holder is still alive.
"""

from __future__ import annotations

import os
from pathlib import Path

import psutil

_PROC = Path("/proc")


def machine() -> str:
    """What two processes share if pids mean the same to both: one boot of one kernel, one pid namespace."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink(_PROC / 'self/ns/pid')}"  # noqa: PTH115  (Path.readlink would parse "pid:[4026531836]")
    except OSError:
        return f"{psutil.boot_time():.0f}"  # no Linux


def started(pid: int) -> str | None:
    """When the process began, as text to compare with itself; None if there is no such process, or it has ended unreaped.

    On Linux in ticks since the boot, which setting the clock does not change.
    """
    if not _PROC.is_dir():
        return _started_elsewhere(pid)
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything; state is field 3, start time field 22
    return None if fields[0] in "ZX" else fields[19]


def _started_elsewhere(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return None
