"""GET /hnsw/trials/{index} and …/best: what was measured of an index's recipes, what a budget measures next, and which of them is best.

Rows are those of `system.trials`, under the same names, the newest row of each trial; they are read from the stream, in a thread. Trials
compare while they are by the same answers; `engines/trials/choice.py` says what is best, for whoever promotes as well, and
`basis.py` by which EvalSets and model where none is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import dropwhile, islice
from math import inf, isfinite
from typing import Any, Protocol, TypeVar

import orjson
from aiohttp import web
from pydantic import ConfigDict, Field, field_validator

from api.bodies import JSON, Document, at_most, encoded, read_parameters
from api.endpoints import Endpoint
from api.errors import ReadRefused
from api.reader import READER
from api.sight import index_seen, index_whole
from api.threads import Threads
from engines.errors import IndexUnknown
from engines.reading import Reader
from engines.trials.basis import basis, check_names
from engines.trials.choice import GATE, best, front
from engines.trials.objective import weights_of
from specs.resource import MARK, own_name
from state.catalog.fold import ObjectState
from state.catalog.indexes import IndexRecord
from state.trials import STREAM, Trial, trials_of
from state.tuning import STREAM as TUNING
from state.tuning import Note, open_proposal

_PROFILE = "Of what this Profile has of the index for itself; `evalSet` is that of the index."

_OBJECTIVE = "latencyP95, buildSeconds (CPU seconds) or memory; several by weights, as in latencyP95:3,memory:1"


class TrialSource(Protocol):
    """Streams, for reading."""

    def read(self, stream: str) -> Iterator[Mapping[str, Any]]:
        """Events, oldest first. Blocking while iterated."""


class IndexCatalog(Protocol):
    """The catalog, for reading. Blocking."""

    def get(self, name: str) -> ObjectState | None:
        """An object by "Kind/name"."""

    def objects(self, kind: str) -> Mapping[str, ObjectState]:
        """Every object of a kind, by "Kind/name"."""


class TrialParameters(Document):
    """Which trials; the newest hundred without."""

    eval_set: str | None = Field(None, description="Only trials by this EvalSet.")
    model: str | None = Field(None, description="Only trials of this model's vectors.")
    profile: str | None = Field(None, description=_PROFILE)
    limit: int = Field(100, ge=1, description="Trials on a page.")
    cursor: str | None = Field(None, description="`cursor` of the page before.")


class BestParameters(Document):
    """Which trial is best."""

    objective: str = Field("latencyP95", description=f"What is made small: {_OBJECTIVE}.")
    gate: float = Field(GATE, ge=0, le=1, description="The least recall that counts: its lower bound, in both halves of the queries.")
    eval_set: str | None = Field(None, description="By which EvalSet; without, that of the TrialBudget, else all: the worst word counts.")
    model: str | None = Field(None, description="Of which model's vectors; of the one that serves without.")
    profile: str | None = Field(None, description=_PROFILE)
    pareto: bool = Field(False, description="Whether to tell the trials besides that no other beats in recall and objective together.")

    @field_validator("objective")
    @classmethod
    def _known(cls, value: str) -> str:
        weights_of(value)
        return value


class TrialRow(Document):
    """One trial: a recipe over one snapshot, searched in one way, measured by one eval set. Names are those of `system.trials`."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=None)

    trial: str = Field(description="Its name, by its inputs.")
    index: str
    generation: str | None = Field(description="The IndexGeneration that names the recipe; null for others.")
    engine: str
    params: dict[str, Any] = Field(description="Of build and search.")
    fidelity: float = Field(description="The share of the chunks that was built over.")
    eval_set: str
    snapshot: str = Field(description="Of the dataset.")
    recall_at_1: float
    recall_at_10: float
    recall_low: float = Field(description="The lower bound of recall@10, at 95 %.")
    p50_us: float = Field(description="Microseconds of a query, one at a time.")
    p95_us: float
    p99_us: float
    qps: float | None = Field(description="Queries a second of several threads.")
    build_seconds: float | None
    build_cpu_seconds: float | None
    load_seconds: float | None
    memory_bytes: int = Field(description="What the open index holds of its own, beside the page cache.")
    disk_bytes: int
    proposed_by: str
    promoted: bool = Field(description="Whether it serves, or has served, since.")
    model: str | None = Field(description="Whose vectors they are; null for what was measured before that was told.")
    detail: dict[str, Any]
    at: str


class Proposal(Document):
    """What a TrialBudget measures next, or now."""

    budget: str
    engine: str
    params: dict[str, Any] = Field(description="Of the build.")
    searches: list[dict[str, Any]] = Field(description="The ways in which it is searched: a trial of each.")
    fidelity: float = Field(description="The share of the chunks that is built over.")
    trials: list[str] = Field(description="What the trials will be called.")
    why: str
    at: str


class TrialsAnswer(Document):
    """A page of trials, newest first."""

    trials: list[TrialRow]
    next: Proposal | None = Field(description="null where no budget measures anything.")
    cursor: str | None = Field(description="Of the next page; null on the last.")


class BestAnswer(Document):
    """The cheapest way to search above the gate. Of several EvalSets a row is that of the one that found the least."""

    best: TrialRow | None = Field(description="null where none is above the gate.")
    recall_low: float | None = Field(description="Of the best, what all EvalSets stand for: the least bound, of half the queries too.")
    cost: float | None = Field(
        description="Of the best, by the objective: the greatest that an EvalSet measured; of several measures, their geometric mean."
    )
    front: list[TrialRow] | None = Field(description="With `pareto`: cheapest first.")
    objective: str
    gate: float
    eval_sets: list[str] = Field(description="By whose queries, all of them; empty where nothing was measured.")
    model: str | None = Field(description="Of whose vectors; null where nothing was measured, and serves.")
    compared: int = Field(description="How many ways to search all of them have measured, at full fidelity and by the newest answers.")
    above: int = Field(description="How many of them are above the gate.")


@dataclass(frozen=True, slots=True)
class TrialRoutes:
    """Answers both. parameters: with the bound of a page."""

    source: TrialSource
    catalog: IndexCatalog
    parameters: type[TrialParameters]
    threads: Threads

    async def listed(self, request: web.Request) -> web.StreamResponse:
        """Raises IndexUnknown, for a hidden one as well."""
        asked, name = _named(read_parameters(request, self.parameters), request.match_info["index"])
        return encoded(await self.threads.run(lambda _: orjson.dumps(self._page(name, request[READER], asked))))

    async def best(self, request: web.Request) -> web.StreamResponse:
        """Raises IndexUnknown, for a hidden one as well."""
        asked, name = _named(read_parameters(request, BestParameters), request.match_info["index"])
        return encoded(await self.threads.run(lambda _: orjson.dumps(best_of(*self._trials(name, request[READER]), asked))))

    def _page(self, name: str, reader: Reader, asked: TrialParameters) -> dict[str, Any]:
        trials, record = self._trials(name, reader)
        check_names(trials, record, asked.eval_set, asked.model)
        truths = {truth.digest for truth in record.truths.values()}
        proposed = open_proposal(self.source.read(TUNING), name, frozenset(trial.trial for trial in trials), truths)
        return page(trials, asked) | {"next": None if proposed is None else proposal(proposed)}

    def _trials(self, name: str, reader: Reader) -> tuple[tuple[Trial, ...], IndexRecord]:
        state = self.catalog.get(f"Index/{name}")
        if state is None or state.gone or not index_seen(reader, state):
            raise self._unknown(name, reader)
        if not index_whole(reader, state):
            raise ReadRefused(f"Trials of index {name} are measured over rows that policies hide from you.")
        return trials_of(self.source.read(STREAM), name), state.index or IndexRecord(name)

    def _unknown(self, name: str, reader: Reader) -> IndexUnknown:
        """The same for a profile that is none, one that has nothing of the index for itself, and one that is another reader's."""
        index, owned, owner = name.partition(MARK)
        if not owned:
            known = self.catalog.objects("Index").values()
            return IndexUnknown.among(name, [state.name for state in known if not state.gone and index_seen(reader, state)])
        remedy = "One that asks for no other model, engine or bucket shares the index's builds, whose trials are there without `profile`."
        return IndexUnknown(f"Profile {owner!r} has nothing of an index {index!r} for itself.", remedy=remedy)


_Asked = TypeVar("_Asked", TrialParameters, BestParameters)


def _named(asked: _Asked, index: str) -> tuple[_Asked, str]:
    """What is asked for, and the name of its index: those of the profile, where one is named."""
    if asked.profile is None:
        return asked, index
    eval_set = asked.eval_set and own_name(asked.eval_set, asked.profile)
    return asked.model_copy(update={"eval_set": eval_set}), own_name(index, asked.profile)


def page(trials: tuple[Trial, ...], asked: TrialParameters) -> dict[str, Any]:
    """A document of trials. trials: of the index, in the order in which they were measured."""
    wanted = (trial for trial in reversed(trials) if asked.eval_set in (None, trial.eval_set))
    newest = [trial for trial in wanted if asked.model in (None, trial.model)]
    left: Iterator[Trial] = iter(newest)
    if asked.cursor is not None:
        left = islice(dropwhile(lambda trial: trial.trial != asked.cursor, newest), 1, None)
    found = list(islice(left, asked.limit + 1))
    shown = found[: asked.limit]
    return {"trials": [row(trial) for trial in shown], "cursor": shown[-1].trial if len(found) > len(shown) else None}


def proposal(note: Note) -> dict[str, Any]:
    """As the answers have it."""
    said = {"budget": note.budget, "engine": note.engine, "params": dict(note.params), "searches": [dict(s) for s in note.searches]}
    return said | {"fidelity": note.fidelity, "trials": list(note.trials), "why": note.message, "at": note.at}


def best_of(trials: tuple[Trial, ...], record: IndexRecord, asked: BestParameters) -> dict[str, Any]:
    """The document of the best. Raises SearchInvalid, ModelMismatch for names that are none."""
    by = basis(trials, record, asked.eval_set, asked.model)
    weights = weights_of(asked.objective)
    found = best(by.words, weights, asked.gate)
    cost = inf if found is None else found.cost(weights)
    return {
        "best": None if found is None else row(found.weakest),
        "recallLow": None if found is None else found.sure_recall,
        "cost": cost if isfinite(cost) else None,
        "front": [row(word.weakest) for word in front(by.words, weights)] if asked.pareto else None,
        "objective": asked.objective,
        "gate": asked.gate,
        "evalSets": list(by.eval_sets),
        "model": by.model,
        "compared": len(by.words),
        "above": sum(word.sure_recall >= asked.gate for word in by.words),
    }


def row(trial: Trial) -> dict[str, Any]:
    """As the answers have it."""
    return {part.name: getattr(trial, part.name) for part in fields(trial)}


def endpoints(source: TrialSource, catalog: IndexCatalog, most: int, threads: Threads) -> tuple[Endpoint, ...]:
    """Both routes. most: trials of a page."""
    parameters = at_most(TrialParameters, "limit", most)
    routes = TrialRoutes(source, catalog, parameters, threads)
    listed, chosen = "What was measured of an index, newest first", "The best recipe of an index that was measured"
    path = "/hnsw/trials/{index}"
    return (
        Endpoint("GET", path, listed, routes.listed, {JSON: TrialsAnswer}, parameters=parameters, problems=(400,), readers="scoped"),
        Endpoint(
            "GET",
            f"{path}/best",
            chosen,
            routes.best,
            {JSON: BestAnswer},
            parameters=BestParameters,
            problems=(400,),
            readers="scoped",
        ),
    )
