"""TrialBudget: how far an Index may be tuned by itself, and what must hold before anything is promoted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from specs.kinds.index_generation import Breadth, Links
from specs.model import Fault, Part, Spec, dump
from specs.resource import Key, own_name
from specs.scalars import Duration, Name, Object, OneOrMany, Opt, Share, Size, Word, word_or_object
from specs.scalars import Sequence as ListOf

_PAIR = Field(min_length=2, max_length=2)
Metric = Literal["latencyP95", "buildSeconds", "memory"]


class Space(Part):
    """What may be tried: engines, and for each parameter the smallest and the largest value."""

    engine: OneOrMany[Literal["flat", "hnsw", "lance"]] = Field(default=("hnsw",), description="The engines to try.")
    m: Annotated[ListOf[Links], _PAIR] = Field(default=(8, 48), description="Links of a node: [smallest, largest].")
    ef_construction: Annotated[ListOf[Breadth], _PAIR] = Field(
        default=(16, 400), description="Breadth while building: [smallest, largest]."
    )
    ef_search: Annotated[ListOf[Breadth], _PAIR] = Field(default=(10, 400), description="Breadth while answering: [smallest, largest].")

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Fault]:
        """The smallest comes first."""
        for name in ("m", "efConstruction", "efSearch"):
            match given.get(name):
                case [int(low), int(high)] if low > high:
                    yield Fault(f"`{name}` needs the smallest value first: {low} > {high}", (name,))


class Limits(Part):
    """What the search may cost; the first limit reached ends it."""

    trials: Annotated[int, Field(ge=1)] = Field(default=40, description="How many trials.")
    wall_clock: Duration = Field(default=timedelta(minutes=10), description="How long in all.")
    memory: Opt[Size] = Field(default=None, description="The most memory of a build; what is predicted to need more is refused.")
    cpu_share: Annotated[float, Field(gt=0, le=1)] = Field(default=0.5, description="The share of the machine's processors.")


class Gate(Part):
    """What no promotion may fall below."""

    recall_at_10: Share = Field(default=0.9, alias="recallAt10", description="The lower confidence bound of recall among ten hits.")


class Weighted(Part):
    """Several measures at once."""

    weighted: Mapping[Metric, Annotated[float, Field(ge=0)]] = Field(
        description="A weight for each measure, as in {latencyP95: 3, memory: 1}.", min_length=1
    )

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Fault]:
        """Something has to be made small."""
        weights = given.get("weighted")
        if isinstance(weights, Mapping) and weights and all(weight == 0 for weight in weights.values()):
            yield Fault("`weighted` needs a weight over 0", ("weighted",))


Objective = Annotated[
    Annotated[Metric, Word] | Annotated[Weighted, Object],
    word_or_object("needs one of latencyP95, buildSeconds, memory, or an object as in {weighted: {latencyP95: 3, memory: 1}}"),
]


class TrialBudgetSpec(Spec):
    """How far an Index may be tuned by itself."""

    index: Name = Field(description="The Index that is tuned.")
    eval_set: Name = Field(description="The EvalSet that measures it.")
    profile: Opt[Name] = Field(default=None, description="The Profile whose builds these are; left out, the index's own.")
    space: Space = Field(default=Space(), description="What may be tried.")
    limits: Limits = Field(default=Limits(), description="What it may cost.")
    gate: Gate = Field(default=Gate(), description="What no promotion may fall below.")
    objective: Objective = Field(default="latencyP95", description="What is made small within the gate.")
    promote: Literal["auto", "propose"] = Field(
        default="auto", description="Whether the best serves by itself, or waits for a person's word."
    )
    on_append: Literal["retrial", "ignore"] = Field(
        default="retrial", description="What new rows lead to: a new trial of the incumbent, or nothing."
    )


def references(spec: TrialBudgetSpec) -> Iterator[Key]:
    """Index, eval set and profile, and what that has of both for itself."""
    yield Key("Index", spec.index)
    yield Key("EvalSet", spec.eval_set)
    if spec.profile is not None:
        yield Key("Profile", spec.profile)
        yield Key("Index", own_name(spec.index, spec.profile))
        yield Key("EvalSet", own_name(spec.eval_set, spec.profile))


def transformation(spec: TrialBudgetSpec) -> Mapping[str, object]:
    """All but what is done with the result."""
    return dump(spec, "index", "eval_set", "profile", "space", "limits", "gate", "objective")
