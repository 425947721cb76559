"""Index: a logical vector index over a Dataset. How it is built is an IndexGeneration's word, or the daemon's own choice.

A model has a name, as a search, the catalog and a model's fingerprint use it: `builtin`, `builtin-128`, `minilm`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from specs.model import Fault, Part, Spec, dump
from specs.resource import Key
from specs.scalars import Name, Object, OneOrMany, Opt, Sequence, Share, Text, Word, word_or_object

BUILTIN = "builtin"
_WHOLE = 256
"""Numbers of a vector of the built-in model as it is."""


class OllamaModel(Part):
    """A model that an Ollama server runs."""

    ollama: Text = Field(description="The model's name on the server, as in nomic-embed-text.")


class BuiltinSize(Part):
    """How much is kept of the built-in model's vectors: fewer numbers are compared faster, and tell less apart."""

    dimensions: Literal[64, 128, 256] = Field(default=256, description="Numbers in a vector; the first ones tell most.")


class ModelObject(Part):
    """A model with its parameters: exactly one of builtin, ollama."""

    one_of: ClassVar = ("builtin", "ollama")

    builtin: Opt[BuiltinSize] = Field(default=None, description="The built-in model, shortened.")
    ollama: Opt[Text] = Field(default=None, description="A model that an Ollama server runs, by its name there, as in nomic-embed-text.")

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Fault]:
        """A name is of one model."""
        name = given.get("ollama")
        if isinstance(name, str) and (name == "minilm" or name == BUILTIN or name.startswith(f"{BUILTIN}-")):
            yield Fault(f"`{name}` is the name of a model that needs no server; write `ollama: {name}:latest`", ("ollama",))


EmbeddingModel = Annotated[
    Annotated[Literal["builtin", "minilm"], Word] | Annotated[ModelObject, Object],
    word_or_object("needs `builtin`, `minilm`, or an object as in {builtin: {dimensions: 128}}"),
]


def model_name(model: EmbeddingModel) -> str:
    """What the model is called."""
    if isinstance(model, str):
        return model
    if model.ollama is not None:
        return model.ollama
    dimensions = _WHOLE if model.builtin is None else model.builtin.dimensions
    return BUILTIN if dimensions == _WHOLE else f"{BUILTIN}-{dimensions}"


def model_called(name: str) -> EmbeddingModel | None:
    """The model of this name that needs no server; None for another."""
    models: tuple[EmbeddingModel, ...] = ("builtin", "minilm", *(ModelObject(builtin=BuiltinSize(dimensions=size)) for size in (64, 128)))
    return next((model for model in models if model_name(model) == name), None)


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

    model: EmbeddingModel = Field(
        default="builtin",
        description="`builtin`, which needs no server, the same shortened, {builtin: {dimensions: N}}, `minilm`, or {ollama: NAME}.",
    )


class IndexEmbedding(Embedding):
    """What turns an index's texts into vectors: the model that serves, and others beside it."""

    also: Sequence[EmbeddingModel] = Field(
        default=(), description="Models kept beside the one that serves; a search names one by `model`.", examples=[["minilm"]]
    )

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Fault]:
        """Each model once."""
        also = given.get("also", ())
        seen = {_name_in(given.get("model", BUILTIN)): ", which serves"}
        for at, model in enumerate(also if isinstance(also, list | tuple) else ()):
            name = _name_in(model)
            if name is not None and name in seen:
                yield Fault(f"`also` names {name}{seen[name]}", ("also", at))
            seen[name] = " twice"


def _name_in(given: object) -> str | None:
    """`model_name` in plain data; None for what is no model."""
    if isinstance(given, str):
        return given
    match given:
        case {"ollama": str(name)}:
            return name
        case {"builtin": dict(size)} if size.get("dimensions", _WHOLE) in (64, 128, _WHOLE):
            return model_name(ModelObject(builtin=BuiltinSize(dimensions=size.get("dimensions", _WHOLE))))
    return None


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
    embed: IndexEmbedding = Field(default=IndexEmbedding(), description="What turns texts into vectors.")
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
    """What the vectors that serve depend on."""
    return dump(spec, "dataset", "text", "chunk") | ({"embed": embed} if (embed := dump(spec.embed, "model")) else {})


def models(spec: IndexSpec) -> tuple[str, ...]:
    """The models that the spec names; first the one that is to serve."""
    return tuple(dict.fromkeys(model_name(model) for model in (spec.embed.model, *spec.embed.also)))


def by_model(spec: IndexSpec, name: str) -> IndexSpec:
    """The same index over vectors of one model: one that the spec names, or that needs no server.

    Raises KeyError for another.
    """
    named = {model_name(model): model for model in (spec.embed.model, *spec.embed.also)}
    model = named.get(name) or model_called(name)
    if model is None:
        raise KeyError(name)
    return spec.model_copy(update={"embed": IndexEmbedding(model=model)})
