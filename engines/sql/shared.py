"""A large result goes to the daemon as memory of its own that both map, instead of through their socket: bytes are written once.

The worker writes into a memory file without a name and says its number; the daemon, which is of the same user, opens that through the
worker's folder in /proc and maps it. The worker lets go when it is spoken to again; the pages are given back when the daemon lets go, too,
whatever becomes of the worker. Small results are cheaper in a frame. Next: `results.py`, which writes, `process.py`, which maps.
"""

from __future__ import annotations

import mmap
import os

import pyarrow as pa

from engines.sql.protocol import Closed

LARGE = 1 << 20
"""Bytes from which on it is worth it: to make, open and map such a file costs as much as a few hundred kilobytes through a socket."""


class Shared:
    """The writing end."""

    def __init__(self) -> None:
        self.number = os.memfd_create("result", os.MFD_CLOEXEC)
        self.sink = pa.OSFile(f"/proc/self/fd/{self.number}", "wb")

    def close(self) -> None:
        """What was mapped meanwhile stays."""
        self.sink.close()
        if self.number >= 0:
            os.close(self.number)
            self.number = -1


def mapped(pid: int, number: int, size: int) -> memoryview:
    """What a worker wrote, without a copy. Raises Closed where the worker is gone."""
    try:
        handle = os.open(f"/proc/{pid}/fd/{number}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Closed from error
    try:
        return memoryview(mmap.mmap(handle, size, access=mmap.ACCESS_READ))
    finally:
        os.close(handle)
