"""EvalSet: held-out queries with exact answers, by which the generations of an Index are measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from specs.kinds.dataset_source import Glob
from specs.model import Part, Spec, dump
from specs.resource import Key
from specs.scalars import Name, Opt


class Generate(Part):
    """Queries made from held-out rows: paraphrased or perturbed, never the row itself."""

    queries: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=500, description="How many queries. 20 leave an interval of 0.045 around recall, 500 of 0.009."
    )
    seed: Annotated[int, Field(ge=0)] = Field(default=7, description="The seed of the choice.")


class EvalSetSpec(Spec):
    """Held-out queries: exactly one of queries, generate."""

    one_of: ClassVar = ("queries", "generate")

    index: Name = Field(description="The Index that is measured.")
    k: Annotated[int, Field(ge=1, le=1000)] = Field(default=10, description="How many hits count.")
    queries: Opt[Glob] = Field(default=None, description="A JSONL file of queries: text, and if known the relevant keys and a filter.")
    generate: Opt[Generate] = Field(default=None, description="Make the queries from the data.")


def references(spec: EvalSetSpec) -> Iterator[Key]:
    """The index."""
    yield Key("Index", spec.index)


def transformation(spec: EvalSetSpec) -> Mapping[str, object]:
    """All of it."""
    return dump(spec)
