"""IndexGeneration: a recipe for building an Index. What comes of it is a build; which build answers is the Index's word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from specs.model import Part, Spec, dump
from specs.resource import Key
from specs.scalars import Name, Opt

Links = Annotated[int, Field(ge=2, le=128)]
Breadth = Annotated[int, Field(ge=1, le=10_000)]


class Flat(Part):
    """Exact search by comparing with every vector: nothing to tune, time grows with the data."""

    precision: Literal["float32", "int8"] = Field(default="float32", description="How vectors are held; int8 is re-scored exactly.")


class Hnsw(Part):
    """A graph in memory: fast, approximate. Source of the parameters' meaning: hnswlib's ALGO_PARAMS.md."""

    m: Links = Field(default=16, description="Links of a node: more find better and take more memory.")
    ef_construction: Breadth = Field(default=80, description="Breadth of the search while building: more builds a better graph, slower.")
    ef_search: Breadth = Field(
        default=64, description="Breadth of the search while answering: more finds better, slower. Needs no rebuild."
    )
    seed: Annotated[int, Field(ge=0)] = Field(default=100, description="The seed of the graph's levels.")


class Lance(Part):
    """An index on disk, for what does not fit into memory. Source of the parameters' meaning: LanceDB's documentation of its indexes."""

    type: Literal["IVF_HNSW_SQ", "IVF_PQ", "IVF_RQ"] = Field(default="IVF_HNSW_SQ", description="LanceDB's index type.")
    partitions: Opt[Annotated[int, Field(ge=1)]] = Field(default=None, description="How many partitions; left out, by the number of rows.")
    m: Links = Field(default=16, description="Links of a node, for IVF_HNSW_SQ.")
    ef_construction: Breadth = Field(default=80, description="Breadth of the search while building, for IVF_HNSW_SQ.")
    nprobes: Annotated[int, Field(ge=1)] = Field(
        default=20, description="Partitions that a search reads: more find better, slower. Needs no rebuild."
    )
    refine_factor: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=10, description="Candidates for each result, which are compared exactly: more find better, slower. Needs no rebuild."
    )
    ef: Opt[Breadth] = Field(
        default=None,
        description="Breadth of the search within a partition, for IVF_HNSW_SQ; left out, LanceDB decides. Needs no rebuild.",
    )


_SEARCH = {"hnsw": ("efSearch",), "lance": ("nprobes", "refineFactor", "ef")}
"""Parameters that only matter when an index answers."""


class IndexGenerationSpec(Spec):
    """A recipe for building an Index: exactly one of flat, hnsw, lance."""

    one_of: ClassVar = ("flat", "hnsw", "lance")

    index: Name = Field(description="The Index that is built.")
    flat: Opt[Flat] = Field(default=None, description="Exact search; write `flat: {}`.")
    hnsw: Opt[Hnsw] = Field(default=None, description="A graph in memory.")
    lance: Opt[Lance] = Field(default=None, description="An index on disk.")


def references(spec: IndexGenerationSpec) -> Iterator[Key]:
    """The index."""
    yield Key("Index", spec.index)


def transformation(spec: IndexGenerationSpec) -> Mapping[str, object]:
    """What the build depends on."""
    recipe = dump(spec, "index", "flat", "hnsw", "lance")
    for engine, names in _SEARCH.items():
        for name in names:
            recipe.get(engine, {}).pop(name, None)
    return recipe
