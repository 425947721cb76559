"""The C library's allocator, told to keep what a daemon frees and soon asks for again.

By default glibc gives every freed piece of a MiB back to the kernel, which clears it and maps it anew for the next: half of the CPU seconds
of sending a large object went into that. Called once, before there are threads; other C libraries are left as they are.
"""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT = 16 << 20
"""Bytes of free memory that stay."""
_LARGE = 4 << 20
"""Bytes from which on a piece is the kernel's, as before."""


def keep_freed_memory() -> None:
    """No error where there is nothing to tell."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGE)
        mallopt(_TRIM_THRESHOLD, _KEPT)
