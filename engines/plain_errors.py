"""What a reader who is no operator is told where a read fails for reasons of ours: that it did, and neither where files lie, what server
runs models, nor for whose sake one waits. The kind of error stays, so that clients and the audit know it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from engines.errors import BuildFailed, ModelUnavailable
from engines.reading import Reader
from specs.errors import LakehouseError
from state.errors import StateError

_AGAIN = "Ask again in a moment; if that does not help, tell an operator of the lake."
_TOLD: tuple[tuple[type[LakehouseError], str], ...] = (
    (StateError, "What this reads cannot be read at the moment."),
    (ModelUnavailable, "The model that this needs does not answer at the moment."),
    (BuildFailed, "The index cannot be opened at the moment."),
)


@contextmanager
def plainly(reader: Reader) -> Iterator[None]:
    """Errors of the block, as this reader is told of them."""
    try:
        yield
    except LakehouseError as error:
        said = next((said for kind, said in _TOLD if isinstance(error, kind)), None)
        if reader.operator or said is None:
            raise
        told = type(error).__new__(type(error))  # others may be told of the same one
        told.args, told.remedy = (said,), _AGAIN
        raise told from error
