"""Live recall: some of the searches that were answered are answered again by comparing with every vector, and the two compared.

Both run over the open build that answered: its vectors, its tail, the rows that do not count any more, the filter's rows, all as the
reader was allowed them. Where something else serves by then, by the catalog, nothing is learnt from it. One search is judged at a time, by
a thread beside the event loop, which then rests twenty times as long as that took: it never takes more than a twentieth of a core. What
comes meanwhile is dropped. The thread's priority is not lowered: it would keep Python's lock while others have the processor.

Kept are counts alone, of the last searches by one build and its parameters: no text, no vector, no key. Exact engines are not judged.
Next: `search.py`, which offers; `controllers/index/recall.py`, which tells.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from engines.serving import Serving
from engines.trials.intervals import Interval, recall
from engines.trials.measure import TIE
from engines.vectors.engine import Mask, Vectors
from engines.vectors.matrix import nearest
from specs.digests import canonical_json
from specs.errors import LakehouseError
from state.catalog.indexes import ServingManifest

AT = 10
"""Hits that count, at most."""
WINDOW = 500
"""Searches that an estimate is of, at most; LEAST: at least."""
LEAST = 50
MOVED = 0.01
"""An estimate that differs by so much from the one that was told is told."""
REST = 20.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sample:
    """A search that was answered.

    Args:
        query: float32 (dimension,), of length 1. k: candidates that were asked for.
        allowed: of the build's chunks; None for all. keys: of the rows that may be found in the tail; None for all.
    """

    index: str
    serving: Serving
    query: Vectors
    k: int
    allowed: Mask | None
    keys: pa.Array | None


@dataclass(frozen=True, slots=True)
class Live:
    """What is told of an index: recall with its interval of 95 %, None until enough was judged; whether it is below its gate."""

    estimate: Interval | None
    samples: int
    gate: float
    below: bool


@dataclass(frozen=True, slots=True)
class _Window:
    """The newest searches by one way to answer: right hits, and how many there were to find."""

    way: bytes
    counts: tuple[tuple[int, int], ...] = ()
    estimate: Interval | None = None
    told: Live | None = None


def judge(sample: Sample) -> tuple[int, int]:
    """Right hits among the best ten, and how many there are to find. A hit as near as the last right one is right. Blocking.

    Raises as `VectorIndex.search` does.
    """
    serving, query, width = sample.serving, sample.query, min(AT, sample.k)
    ids, _ = serving.index.search(query, sample.k, sample.allowed)
    _, right = nearest(serving.vectors, query, width, sample.allowed)
    found = np.vecdot(serving.vectors.take(ids[:width], axis=0), query)
    if serving.tail is not None:
        _, beside = serving.tail.search(query, width, sample.keys)
        found, right = (np.sort(np.concatenate((scores, beside)))[::-1][:width] for scores in (found, right))
    return (int(np.count_nonzero(found >= right[-1] - TIE)) if len(right) else 0), len(right)


def below(estimate: Interval, gate: float, *, was: bool) -> bool:
    """Whether recall is to be called below its gate: once all of the interval is, until the estimate itself is not."""
    return estimate.value < gate if was else estimate.high < gate


class LiveRecall:
    """Thread-safe. `told` is called with an index's name when there is something new to tell of it, from a thread of its own."""

    def __init__(
        self,
        share: float,
        serves: Callable[[str], ServingManifest | None],
        gate: Callable[[str], float],
        *,
        draw: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """share: of searches, in [0, 1]. serves: what the catalog lets serve. gate: of an index. draw: in [0, 1). clock: seconds."""
        self._share = share
        self._serves = serves
        self._gate = gate
        self._draw = draw
        self._clock = clock
        self._lock = threading.Lock()
        self._busy = False
        self._next = float("-inf")
        self._windows: dict[str, _Window] = {}
        self._counted: Counter[tuple[str, str]] = Counter()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="live-recall")
        self.told: Callable[[str], None] = _nobody

    def wants(self, index: str, serving: Serving) -> bool:
        """Whether this search is one of the share, and can be judged now. Returns at once."""
        if serving.build.engine == "flat" or serving.stands_in or self._draw() >= self._share:
            return False
        with self._lock:
            free = not self._busy and self._clock() >= self._next
            if not free:
                self._counted[index, "dropped"] += 1
        return free

    def offer(self, sample: Sample) -> None:
        """Judge it, if nothing is being judged. Returns at once."""
        with self._lock:
            if self._busy:
                self._counted[sample.index, "dropped"] += 1
                return
            self._busy = True
        try:
            self._thread.submit(self._work, sample)
        except RuntimeError:  # closed
            self._busy = False

    def of(self, index: str) -> Live | None:
        """What was told last; None where there was nothing yet."""
        with self._lock:
            window = self._windows.get(index)
            return None if window is None else window.told

    def figures(self) -> tuple[dict[str, Interval], dict[tuple[str, str], int]]:
        """The estimates by index, as they are now; and searches by index and what became of them: judged or dropped."""
        with self._lock:
            estimates = {name: window.estimate for name, window in self._windows.items() if window.estimate is not None}
            counted = dict(self._counted)
        there = {name for name in {*estimates, *(name for name, _ in counted)} if self._serves(name) is not None}
        return (
            {name: estimate for name, estimate in estimates.items() if name in there},
            {key: count for key, count in counted.items() if key[0] in there},
        )

    def close(self) -> None:
        """Returns when nothing is being judged any more."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _work(self, sample: Sample) -> None:
        began, judged = self._clock(), None
        try:
            if self._current(sample) and sample.serving.whole():
                judged = judge(sample)
        except LakehouseError as error:  # whoever searches next meets it as well, and tells
            _log.debug("a search of Index %s was not judged: %s", sample.index, error.explain())
        finally:
            with self._lock:
                self._busy = False
                self._next = self._clock() + REST * (self._clock() - began)
        if judged is None or not self._current(sample):
            with self._lock:
                self._counted[sample.index, "dropped"] += 1
        elif self._add(sample, judged):
            self.told(sample.index)

    def _current(self, sample: Sample) -> bool:
        return self._serves(sample.index) == sample.serving.manifest

    def _add(self, sample: Sample, judged: tuple[int, int]) -> bool:
        """Whether there is something new to tell. By the one thread that changes windows."""
        way, former = _way(sample.serving.manifest), self._windows.get(sample.index)
        window, gate = former, self._gate(sample.index)
        if window is None or window.way != way:
            known = None if former is None or former.told is None else Live(None, 0, gate, below=False)
            window = _Window(way, told=known)
        counts = [*window.counts, judged] if judged[1] else [*window.counts]
        estimate = recall(*np.array(counts, dtype=np.int64).T) if len(counts) >= LEAST else None
        told = window.told if estimate is None else _to_tell(window.told, estimate, len(counts), gate)
        with self._lock:
            self._counted[sample.index, "judged"] += 1
            self._windows[sample.index] = _Window(way, tuple(counts[-WINDOW:]), estimate, told)
        return told is not (None if former is None else former.told)


def _to_tell(known: Live | None, estimate: Interval, samples: int, gate: float) -> Live:
    """What is known, unless that is another gate, the other side of it, or far from what was found since."""
    now = below(estimate, gate, was=known is not None and known.below)
    if known is None or known.estimate is None or (known.gate, known.below) != (gate, now):
        return Live(estimate, samples, gate, now)
    return known if abs(known.estimate.value - estimate.value) < MOVED else Live(estimate, samples, gate, now)


def _way(manifest: ServingManifest) -> bytes:
    return manifest.build.encode() + canonical_json(dict(manifest.search))


def _nobody(_: str) -> None:
    """Hears nothing."""
