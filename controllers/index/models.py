"""Which models an Index has; pure.

One serves: the one that the spec names, unless somebody chose another in its place. Beside it are those that the spec names besides, and
the one that served before, which follows the rows while it is the way back, and is neither embedded nor built anew.

Each is seen as an index of its own (`IndexRecord.by_model`), and planned as one: `plan.py`.
"""

from specs.kinds.index import IndexEmbedding, IndexSpec, ModelObject, by_model, model_name, models
from state.catalog.indexes import IndexRecord


def in_force(spec: IndexSpec, record: IndexRecord | None) -> IndexSpec:
    """The index by the model that is to serve."""
    choice = record.choice if record is not None else None
    if choice is None or choice.model is None or choice.instead_of != model_name(spec.embed.model):
        return by_model(spec, model_name(spec.embed.model))
    try:
        return by_model(spec, choice.model)
    except KeyError:  # it was of a server that the spec does not name any more
        return by_model(spec, model_name(spec.embed.model))


def kept(spec: IndexSpec, record: IndexRecord | None) -> tuple[str, ...]:
    """The models that are embedded and built beside the one that is to serve."""
    serves = model_name(in_force(spec, record).embed.model)
    return tuple(model for model in models(spec) if model != serves)


def former(spec: IndexSpec, record: IndexRecord | None) -> str | None:
    """The model that served before, where none of the others is it."""
    if record is None or record.previous is None:
        return None
    model = record.corpus_of(record.previous).model
    others = {model_name(in_force(spec, record).embed.model), *kept(spec, record)}
    return model if model in record.beside and model not in others else None


def beside(spec: IndexSpec, model: str) -> IndexSpec:
    """The index by a model beside the one that serves: what is built for it is not the spec's word."""
    try:
        found = by_model(spec, model)
    except KeyError:  # of a server that the spec does not name any more
        found = spec.model_copy(update={"embed": IndexEmbedding(model=ModelObject(ollama=model))})
    return found.model_copy(update={"serve": "auto"})
