"""Trials as the stream `trials` keeps them: what was measured of which recipe, and what has served since.

A trial is named by its inputs, so that a measurement whose row is there is not made again. Its row is appended when it was measured, and
once more when what was measured serves: the newest row of a trial is what it is. The stream is the memory that proposals are made from;
nothing else keeps it.

`Trial` is a fact, `folded` and `TrialBook` are how rows become trials. Refuses to judge which is better: `engines/trials/choice.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import orjson

from specs.digests import digest
from state.streams.stream import Streams

STREAM = "trials"
_JSON = ("params", "detail")


def trial_id(build: str, search: Mapping[str, Any], truth: str, fidelity: float) -> str:
    """The name of the trial of these inputs. build: its digest, truth: that of the answers."""
    return digest({"build": build, "search": dict(search), "truth": truth, "fidelity": fidelity})


@dataclass(frozen=True, slots=True)
class Trial:
    """One recipe over one snapshot, searched in one way, measured by one eval set.

    `params` are those of build and search together. `fidelity` is the share of the chunks that was built over. Recall is a share of the
    queries' answers, `recall_low` the lower bound of recall@10 at 95 %; `p50_us` and the like are microseconds of one query at a time,
    `qps` queries a second of several threads; `memory_bytes` what the open index holds of its own, `disk_bytes` all its files. None: not
    measured. `model` is the name of that whose vectors they are; None for what was measured before that was told. `detail` has the rest:
    `build`, `search`, `truth` and `corpus` by digest, and what `engines/trials/measure.py` says.
    """

    trial: str
    index: str
    generation: str | None
    engine: str
    params: Mapping[str, Any] = field(hash=False)
    fidelity: float
    eval_set: str
    snapshot: str
    recall_at_1: float
    recall_at_10: float
    recall_low: float
    p50_us: float
    p95_us: float
    p99_us: float
    qps: float | None
    build_seconds: float | None
    build_cpu_seconds: float | None
    load_seconds: float | None
    memory_bytes: int
    disk_bytes: int
    proposed_by: str
    promoted: bool = False
    model: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict, hash=False)
    at: str = ""

    def to_row(self) -> dict[str, Any]:
        """As the stream takes it; `at` is the stream's to say."""
        return {part.name: getattr(self, part.name) for part in fields(self) if part.name != "at"}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Raises KeyError where a column is missing."""
        values: dict[str, Any] = {part.name: row.get(part.name) for part in fields(cls)}
        values |= {name: orjson.loads(value) if isinstance(value := row[name], str) else value or {} for name in _JSON}
        return cls(**{**values, "promoted": bool(values["promoted"])})


def folded(rows: Iterable[Mapping[str, Any]]) -> dict[str, Trial]:
    """Trials by name, in the order in which they were measured; rows: oldest first. `at` is of the measurement."""
    found: dict[str, Trial] = {}
    for row in rows:
        trial = Trial.from_row(row)
        known = found.get(trial.trial)
        found[trial.trial] = trial if known is None else replace(trial, at=known.at)
    return found


def _nobody(_: Sequence[str]) -> None:
    return None


class TrialBook:
    """All trials, in memory once they were asked for; for the one process that measures. Thread-safe, blocking."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._lock = threading.Lock()
        self._known: dict[str, Trial] | None = None
        self.wake: Callable[[Sequence[str]], None] = _nobody
        """Called with the objects ("Index/name") that something was measured of."""

    def of(self, index: str) -> tuple[Trial, ...]:
        """In the order in which they were measured. Raises what reading the stream raises."""
        with self._lock:
            return tuple(trial for trial in self._all().values() if trial.index == index)

    def find(self, trial: str) -> Trial | None:
        """By its name."""
        with self._lock:
            return self._all().get(trial)

    def add(self, trials: Iterable[Trial]) -> None:
        """Durable on return; one that is known already is not written again."""
        with self._lock:
            new = [trial for trial in trials if trial.trial not in self._all()]
            self._append(new)
        if new:
            self.wake(sorted({f"Index/{trial.index}" for trial in new}))

    def promoted(self, index: str, build: str, search: Mapping[str, Any]) -> None:
        """This build, searched so, serves: its trials say so from now on."""
        with self._lock:
            own = (trial for trial in self._all().values() if trial.index == index and not trial.promoted)
            found = [trial for trial in own if (trial.detail.get("build"), trial.detail.get("search")) == (build, dict(search))]
            self._append([replace(trial, promoted=True) for trial in found])

    def _append(self, trials: Sequence[Trial]) -> None:
        self._streams.append_many(STREAM, [trial.to_row() for trial in trials])
        self._all().update({trial.trial: trial for trial in trials})

    def _all(self) -> dict[str, Trial]:
        if self._known is None:
            self._known = folded(self._streams.read(STREAM))
        return self._known


def trials_of(rows: Iterator[Mapping[str, Any]], index: str) -> tuple[Trial, ...]:
    """Those of one index, in the order in which they were measured. rows: the stream's, oldest first."""
    return tuple(folded(row for row in rows if row["index"] == index).values())
