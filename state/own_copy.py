"""An object of one bucket as a local file, unverified, and never from its rescue bucket: for whoever judges the bucket itself.

Everybody else reads by `reader.py`, which verifies.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from state.objects import ObjectStore


@contextmanager
def own_copy(store: ObjectStore, key: str) -> Iterator[Path]:
    """In place, or fetched for the while. Raises what the store raises."""
    path = store.path(key)
    if path is not None:
        yield path
        return
    with TemporaryDirectory(prefix="lakehouse-") as folder:
        fetched = Path(folder, "object")
        opened = store.open(key)
        with fetched.open("wb") as file, closing(opened.pieces):
            for piece in opened.pieces:
                file.write(piece)
        yield fetched
