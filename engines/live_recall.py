"""Live recall: some of the searches that were answered are answered again by comparing with every vector, and the two compared.

They are compared over what answered: its vectors, its tail, the rows that do not count any more, the filter's rows, all as the reader was
allowed them; its index is let go of. Where something else serves by then, by the catalog, nothing is learnt from it. One search is judged
at a time, by a thread beside the event loop, which then rests twenty times as long as that took, estimate and all: it never takes more than
a twentieth of a core. What comes meanwhile is dropped. The thread's priority is not lowered: it would keep Python's lock while others have
the processor.

Kept are counts alone, of the last searches by one build and its parameters: no text, no vector, no key. They say something of that build
alone: where another one serves, or the same is searched otherwise, nothing is below any gate. Exact engines are not judged.
Next: `search.py`, which offers; `controllers/index/recall.py`, which tells.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from engines.serving import Mapped, Serving, uncut
from engines.trials.intervals import Interval, recall
from engines.trials.measure import TIE
from engines.vectors.engine import Ids, Mask, Vectors
from engines.vectors.matrix import nearest
from engines.vectors.tail_index import TailIndex
from specs.digests import canonical_json
from state.catalog.indexes import ServingManifest

EXACT = "flat"
"""The engine that misses nothing."""
AT = 10
"""Hits that count, at most."""
WINDOW = 500
"""Searches that an estimate is of, at most; LEAST: at least."""
LEAST = 50
MOVED = 0.01
"""An estimate that differs by so much from the one that was told is told."""
REST = 20.0
CLOSE = 10.0
"""Seconds that the end waits for what is being judged."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sample:
    """A search that was answered, and what is needed to answer it again; not the index, which may be to go.

    Args:
        manifest: that it was answered by. model: by whose vectors, by its name.
        ids: int64, of the build's chunks that its index found, best first. k: candidates that were asked for.
        query: float32 (dimension,), of length 1.
        vectors: float32 (chunks of the build, dimension), mapped; mapped: the files that are.
        allowed: of the build's chunks; None for all. keys: of the rows that may be found in the tail; None for all.
    """

    index: str
    manifest: ServingManifest
    model: str
    ids: Ids
    k: int
    query: Vectors
    vectors: Vectors
    mapped: Mapped
    tail: TailIndex | None
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
    model: str
    counts: tuple[tuple[int, int], ...] = ()
    estimate: Interval | None = None
    told: Live | None = None


def judge(sample: Sample) -> tuple[int, int]:
    """Right hits among the best ten, and how many there are to find. A hit as near as the last right one is right. Blocking."""
    query, width = sample.query, min(AT, sample.k)
    _, right = nearest(sample.vectors, query, width, sample.allowed)
    found = np.vecdot(sample.vectors.take(sample.ids[:width], axis=0), query)
    if sample.tail is not None:
        _, beside = sample.tail.search(query, width, sample.keys)
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
        self._counted: Counter[tuple[str, str, str]] = Counter()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="live-recall")
        self._judging: Future[None] | None = None
        self.told: Callable[[str], None] = _nobody

    def wants(self, index: str, serving: Serving) -> bool:
        """Whether this search is one of the share, by what serves, and can be judged now. Returns at once."""
        if serving.build.engine == EXACT or serving.stands_in or self._draw() >= self._share:
            return False
        if self._serves(index) != serving.manifest:  # another model, or what served before
            return False
        with self._lock:
            free = not self._busy and self._clock() >= self._next
            if not free:
                self._counted[index, serving.model_name, "dropped"] += 1
        return free

    def offer(self, sample: Sample) -> None:
        """Judge it, if nothing is being judged. Returns at once."""
        with self._lock:
            if self._busy:
                self._counted[sample.index, sample.model, "dropped"] += 1
                return
            self._busy = True
        try:
            judging = self._judging = self._thread.submit(self._work, sample)
        except RuntimeError:  # closed
            self._busy = False
            return
        judging.add_done_callback(lambda _: _surprise(sample.index, judging))

    def of(self, index: str) -> Live | None:
        """What was told last, of the build that serves and the way it is searched; None where there was nothing yet."""
        with self._lock:
            window = self._windows.get(index)
        if window is None or window.told is None:
            return None
        return window.told if self._is_of(window, index) else Live(None, 0, self._gate(index), below=False)

    def figures(self) -> tuple[dict[tuple[str, str], Interval], dict[tuple[str, str, str], int]]:
        """The estimates by index and model, as they are now; and searches by both and what became of them: judged or dropped."""
        with self._lock:
            windows, counted = dict(self._windows), dict(self._counted)
        there = {name for name in {*windows, *(name for name, *_ in counted)} if self._serves(name) is not None}
        return (
            {(name, one.model): one.estimate for name, one in windows.items() if one.estimate is not None and self._is_of(one, name)},
            {key: count for key, count in counted.items() if key[0] in there},
        )

    def close(self) -> None:
        """Returns when nothing is being judged any more, or it takes too long."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._judging is not None and not wait([self._judging], CLOSE).done:
            _log.warning("A search is still being judged; the end of the process waits for it.")

    def _is_of(self, window: _Window, index: str) -> bool:
        """Whether it was measured on what serves."""
        serving = self._serves(index)
        return serving is not None and window.way == _way(serving)

    def _work(self, sample: Sample) -> None:
        began, told = self._clock(), False
        try:
            judged = judge(sample) if self._current(sample) and uncut(sample.mapped) else None
            if judged is None or not self._current(sample):
                with self._lock:
                    self._counted[sample.index, sample.model, "dropped"] += 1
            else:
                told = self._add(sample, judged)
        finally:  # all that takes time is counted
            with self._lock:
                self._busy = False
                self._next = self._clock() + REST * (self._clock() - began)
        if told:
            self.told(sample.index)

    def _current(self, sample: Sample) -> bool:
        return self._serves(sample.index) == sample.manifest

    def _add(self, sample: Sample, judged: tuple[int, int]) -> bool:
        """Whether there is something new to tell. By the one thread that changes windows."""
        way, former = _way(sample.manifest), self._windows.get(sample.index)
        window, gate = former, self._gate(sample.index)
        if window is None or window.way != way:
            known = None if former is None or former.told is None else Live(None, 0, gate, below=False)
            window = _Window(way, sample.model, told=known)
        counts = [*window.counts, judged] if judged[1] else [*window.counts]
        estimate = recall(*np.array(counts, dtype=np.int64).T) if len(counts) >= LEAST else None
        told = window.told if estimate is None else _to_tell(window.told, estimate, len(counts), gate)
        with self._lock:
            self._counted[sample.index, sample.model, "judged"] += 1
            self._windows[sample.index] = _Window(way, sample.model, tuple(counts[-WINDOW:]), estimate, told)
        return told is not (None if former is None else former.told)


def _to_tell(known: Live | None, estimate: Interval, samples: int, gate: float) -> Live:
    """What is known, unless that is another gate, the other side of it, or far from what was found since."""
    now = below(estimate, gate, was=known is not None and known.below)
    if known is None or known.estimate is None or (known.gate, known.below) != (gate, now):
        return Live(estimate, samples, gate, now)
    return known if abs(known.estimate.value - estimate.value) < MOVED else Live(estimate, samples, gate, now)


def _way(manifest: ServingManifest) -> bytes:
    return manifest.build.encode() + canonical_json(dict(manifest.search))


def _surprise(index: str, judging: Future[None]) -> None:
    if not judging.cancelled() and judging.exception() is not None:
        _log.error("A search of Index %s could not be judged.", index, exc_info=judging.exception())


def _nobody(_: str) -> None:
    """Hears nothing."""
