"""Who is told of every call of a model: for whom it was, by which model, and how many tokens it took.

`Calls` is the seam: a context that the call runs in, so that whoever keeps a record of it has the last word on whether the answer is given.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from functools import wraps
from typing import Any, Literal, ParamSpec, Protocol, TypeAlias

from engines.reading import ANONYMOUS, Reader

Purpose: TypeAlias = Literal["embed", "chat"]


@dataclass(slots=True)
class Spent:
    """Texts and tokens of one call, as far as they are known; whoever calls fills it in."""

    texts: int = 0
    read: int = 0
    written: int = 0


class Calls(Protocol):
    """Keeps a record of calls."""

    def __call__(self, purpose: Purpose, model: str, reader: Reader) -> AbstractContextManager[Spent]:
        """A call, from here to the end of the block, by value or error. What it raises at the end is raised in place of the answer."""


@contextmanager
def untold(purpose: Purpose, model: str, reader: Reader) -> Iterator[Spent]:
    """Keeps none: for a process that nobody listens to, and for a job, whose calls are counted (`counting`)."""
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


_P = ParamSpec("_P")
_KEY = "modelCalls"


@dataclass(slots=True)
class Tally:
    """All calls of one job: a `Calls` that sums them up. seconds: that they took."""

    calls: int = 0
    texts: int = 0
    read: int = 0
    seconds: float = 0.0

    @contextmanager
    def __call__(self, purpose: Purpose, model: str, reader: Reader) -> Iterator[Spent]:
        """See `Calls`."""
        spent, since = Spent(), time.perf_counter()
        try:
            yield spent
        finally:
            self.calls += 1
            self.texts += spent.texts
            self.read += spent.read
            self.seconds += time.perf_counter() - since


_tally: ContextVar[Tally | None] = ContextVar("model_tally", default=None)


def counted(calls: Calls) -> Calls:
    """Who is told of a call from here: within a job its tally, whatever process runs it; else these."""
    return _tally.get() or calls


def counting(job: Callable[_P, dict[str, Any]]) -> Callable[_P, dict[str, Any]]:
    """A job's function whose result tells how often it called a model, if it did; see `taken`."""

    @wraps(job)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> dict[str, Any]:
        tally = Tally()
        token = _tally.set(tally)
        try:
            result = job(*args, **kwargs)
        finally:
            _tally.reset(token)
        return {**result, _KEY: asdict(tally)} if tally.calls else result

    return run


def taken(result: Mapping[str, Any]) -> tuple[dict[str, Any], Tally | None]:
    """A job's own result, and its calls of a model; None where it called none."""
    rest = dict(result)
    told = rest.pop(_KEY, None)
    return rest, None if told is None else Tally(**told)
