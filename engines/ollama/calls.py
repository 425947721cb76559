"""Who is told of every call of a model: for whom it was, by which model, and how many tokens it took.

`Calls` is the seam: a context that the call runs in, so that whoever keeps a record of it has the last word on whether the answer is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from engines.reading import ANONYMOUS, Reader

Purpose: TypeAlias = Literal["embed", "chat"]


@dataclass(slots=True)
class Spent:
    """Tokens of one call, as far as they are known; whoever calls fills it in."""

    read: int = 0
    written: int = 0


class Calls(Protocol):
    """Keeps a record of calls."""

    def __call__(self, purpose: Purpose, model: str, reader: Reader) -> AbstractContextManager[Spent]:
        """A call, from here to the end of the block, by value or error. What it raises at the end is raised in place of the answer."""


@contextmanager
def untold(purpose: Purpose, model: str, reader: Reader) -> Iterator[Spent]:
    """Keeps none: for a job, whose object's events tell of it."""
    yield Spent()


_reader: ContextVar[Reader] = ContextVar("model_reader", default=ANONYMOUS)


@contextmanager
def speaking_for(reader: Reader) -> Iterator[None]:
    """Calls within are this reader's."""
    token = _reader.set(reader)
    try:
        yield
    finally:
        _reader.reset(token)


def reader() -> Reader:
    """Whose call this is."""
    return _reader.get()
