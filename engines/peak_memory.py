"""The most memory that this process has held: since it began, or since it was asked to forget. Linux only; elsewhere it is not known."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def forget_peak() -> int:
    """From now on the peak counts anew. Gives the bytes that are held now, 0 where it is not known."""
    with suppress(OSError):
        _FORGET.write_text("5")
    return _read("VmRSS")


def peak() -> int:
    """The most bytes held since, 0 where it is not known."""
    return _read("VmHWM")


def _read(name: str) -> int:
    with suppress(OSError, ValueError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0
