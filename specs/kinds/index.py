"""Index: a logical vector index over a Dataset. How it is built is an IndexGeneration's word, or the daemon's own choice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from specs.model import Fault, Part, Spec, dump
from specs.resource import Key
from specs.scalars import Name, Object, OneOrMany, Opt, Share, Text, Word, word_or_object


class OllamaModel(Part):
    """A model that an Ollama server runs."""

    ollama: Text = Field(description="The model's name on the server, as in nomic-embed-text.")


EmbeddingModel = Annotated[
    Annotated[Literal["builtin"], Word] | Annotated[OllamaModel, Object],
    word_or_object("needs `builtin` or an object as in {ollama: nomic-embed-text}"),
]


class Chunking(Part):
    """How texts are cut before embedding."""

    by: Literal["tokens", "structure"] = Field(
        default="tokens",
        description="`structure` reads Markdown and HTML: sections are kept apart, and code, tables and list items whole where they fit.",
    )
    tokens: Annotated[int, Field(ge=8, le=8192)] = Field(default=256, description="The longest piece, in tokens.")
    overlap: Annotated[int, Field(ge=0)] = Field(default=32, description="How many tokens a piece repeats of the one before it.")

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Fault]:
        """A piece repeats less than itself."""
        tokens, overlap = given.get("tokens", 256), given.get("overlap", 32)
        if isinstance(tokens, int) and isinstance(overlap, int) and overlap >= tokens:
            yield Fault(
                f"`overlap` must be smaller than `tokens`: {overlap} >= {tokens}", ("overlap",) if "overlap" in given else ("tokens",)
            )


class Embedding(Part):
    """What turns texts into vectors."""

    model: EmbeddingModel = Field(default="builtin", description="`builtin`, which needs no server, or {ollama: NAME}.")


class ServeGeneration(Part):
    """One generation, fixed by hand."""

    generation: Name = Field(description="The IndexGeneration that answers.")


Serve = Annotated[
    Annotated[Literal["auto"], Word] | Annotated[ServeGeneration, Object],
    word_or_object("needs `auto` or an object as in {generation: resumes-g1}"),
]


class IndexSpec(Spec):
    """A logical vector index: which texts of which dataset, cut and embedded how, and which generation answers."""

    dataset: Name = Field(description="The Dataset whose texts are indexed.")
    text: OneOrMany[Text] = Field(description="The text columns, joined in this order.", examples=[["title", "body"]])
    chunk: Chunking = Field(default=Chunking(), description="How texts are cut.")
    embed: Embedding = Field(default=Embedding(), description="What turns texts into vectors.")
    lexical: bool = Field(default=False, description="Whether a keyword index is kept beside the vectors.")
    serve: Serve = Field(default="auto", description="`auto`, the best generation measured, or {generation: NAME}.")
    rebuild_share: Share = Field(
        default=0.1,
        description="Share of the rows that may be new, changed or gone since a build until another is made; 256 may unless it is 0.",
    )
    keep: Annotated[int, Field(ge=1, le=100)] = Field(default=3, description="How many former builds are kept for a rollback.")
    bucket: Opt[Name] = Field(default=None, description="The Bucket that keeps vectors and builds; left out, the dataset's.")


def references(spec: IndexSpec) -> Iterator[Key]:
    """Dataset and bucket. Not the generation it serves: that one refers to the index, and waits for it."""
    yield Key("Dataset", spec.dataset)
    if spec.bucket is not None:
        yield Key("Bucket", spec.bucket)


def transformation(spec: IndexSpec) -> Mapping[str, object]:
    """What the vectors depend on."""
    return dump(spec, "dataset", "text", "chunk", "embed")
