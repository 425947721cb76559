"""Profile: a reader. It sees what is bound to it, and nothing else; an empty binding means nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from specs.kinds.index import Embedding, OllamaModel
from specs.kinds.index_generation import Breadth, Flat, Lance, Links
from specs.model import Part, Spec, dump
from specs.resource import Key
from specs.scalars import Moment, Name, OneOrMany, Opt, Role

Count = Annotated[int, Field(ge=1)]


class ProfileHnsw(Part):
    """Parameters of the graph; what is left out is as the index has it."""

    m: Opt[Links] = Field(default=None, description="Links of a node; another value than the index's makes a graph of its own.")
    ef_construction: Opt[Breadth] = Field(
        default=None, description="Breadth while building; another value than the index's makes a graph of its own."
    )
    ef_search: Opt[Breadth] = Field(default=None, description="Breadth while answering.")


class Engine(Part):
    """The engine of this reader's searches: exactly one of flat, hnsw, lance."""

    one_of: ClassVar = ("flat", "hnsw", "lance")

    flat: Opt[Flat] = Field(default=None, description="Exact search; write `flat: {}`.")
    hnsw: Opt[ProfileHnsw] = Field(default=None, description="A graph in memory.")
    lance: Opt[Lance] = Field(default=None, description="An index on disk.")


class Quota(Part):
    """What the reader may ask for; what is left out is unlimited."""

    queries_per_minute: Opt[Count] = Field(default=None, description="Queries, searches and descriptions of datasets in a minute.")
    concurrent: Opt[Count] = Field(default=None, description="Queries and searches at the same time.")
    rows_per_day: Opt[Count] = Field(default=None, description="Rows returned in a day.")


class ProfileSpec(Spec):
    """A reader: a person, an agent or a local model, and all that it may see."""

    model: Opt[OllamaModel] = Field(default=None, description='The chat model that this reader is or uses, as in {ollama: "qwen2.5:7b"}.')
    bucket: Name = Field(default="primary", description="The Bucket that keeps what is built for this reader.")
    datasets: OneOrMany[Name] = Field(default=(), description="The Datasets it may query.")
    indexes: OneOrMany[Name] = Field(default=(), description="The Indexes it may search.")
    embed: Opt[Embedding] = Field(default=None, description="The embedder of its searches; left out, the index's.")
    engine: Opt[Engine] = Field(default=None, description="The engine of its searches; left out, the index's.")
    role: Opt[Role] = Field(default=None, description="The role by which policies know it.")
    at: Moment = Field(default="latest", description="Which version of its world it sees: latest, a version, or a time.")
    active: bool = Field(default=False, description="Whether what it binds is kept warm.")
    trusted: bool = Field(default=False, description="Whether it gets the wider limits of trusted readers.")
    quota: Quota = Field(default=Quota(), description="What it may ask for.")


def references(spec: ProfileSpec) -> Iterator[Key]:
    """Bucket, datasets and indexes."""
    yield Key("Bucket", spec.bucket)
    yield from (Key("Dataset", name) for name in spec.datasets)
    yield from (Key("Index", name) for name in spec.indexes)


def transformation(spec: ProfileSpec) -> Mapping[str, object]:
    """What is built for the reader."""
    return dump(spec, "bucket", "indexes", "embed", "engine")
