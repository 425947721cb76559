"""The watch over event loops: blockbuster, told what is ours and what waits for nothing."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from blockbuster import blockbuster_ctx


@contextmanager
def watched_loop(*rooms: str) -> Iterator[None]:
    """Within it code of these rooms, or any code, that blocks a running event loop raises BlockingError."""
    gc.freeze()  # what former tests left in cycles has files to close, which is not this loop's fault
    try:
        with blockbuster_ctx(list(rooms) or None) as blockbuster:
            # its descriptor is opened so that a read never waits
            blockbuster.functions["os.read"].can_block_in("asyncinotify/__init__.py", {"_get"})
            yield
    finally:
        gc.unfreeze()
