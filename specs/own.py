"""Own: what a profile has of an index for itself, where its model, its engine or its bucket are others than the index's; pure.

It is an Index like any other, with recipes and EvalSets like any other, under the index's name with the profile's behind an `@`:
`resumes@staffing-recruiter`. No spec can name it, since names have no `@`; it follows from the specs of the profile and of the index, and
goes with either. Whoever searches asks for the index: `engines/search.py` knows whose it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias, TypeVar

from specs.kinds.dataset import DatasetSpec
from specs.kinds.eval_set import EvalSetSpec
from specs.kinds.index import IndexEmbedding, IndexSpec, ServeGeneration, model_name
from specs.kinds.index_generation import Hnsw, IndexGenerationSpec
from specs.kinds.profile import Engine, ProfileSpec
from specs.kinds.trial_budget import TrialBudgetSpec
from specs.model import Part, Spec
from specs.registry import API_VERSION, digest_of, references_of, transformation_of
from specs.resource import MARK, Key, Origin, Resource, own_name

KINDS = frozenset({"Profile", "Index", "IndexGeneration", "EvalSet", "Dataset"})
"""Whose specs say what profiles have for themselves."""

Wanted: TypeAlias = Callable[[Key], Resource | None]
"""The spec in force of an object, None if nobody wants it."""
Of: TypeAlias = Callable[[str, Key], Iterable[Resource]]
"""The specs in force of a kind that refer to an object."""

_P = TypeVar("_P", bound=Part)


def own_resources(profile: Resource, wanted: Wanted, of: Of) -> Iterator[Resource]:
    """Indexes, recipes and eval sets that the profile has for itself. Nothing for an index that is not there, or that it shares."""
    spec = profile.spec_as(ProfileSpec)
    for name in spec.indexes:
        index = wanted(Key("Index", name))
        generations = [] if index is None else sorted(_of_index("IndexGeneration", index.key, of), key=lambda one: one.key)
        if index is not None and _differs(spec, index.spec_as(IndexSpec), generations, wanted):
            yield from _own(profile, index, generations, _of_index("EvalSet", index.key, of))


def tuned(budget: Resource) -> TrialBudgetSpec:
    """The budget's spec, with index and eval set as they are called: those of its profile, where it names one."""
    spec = budget.spec_as(TrialBudgetSpec)
    if spec.profile is None:
        return spec
    return _with(spec, index=own_name(spec.index, spec.profile), eval_set=own_name(spec.eval_set, spec.profile))


def _differs(spec: ProfileSpec, index: IndexSpec, generations: Iterable[Resource], wanted: Wanted) -> bool:
    """Whether the index's own builds are not what this profile is to be answered by."""
    if spec.embed is not None and model_name(spec.embed.model) != model_name(index.embed.model):
        return True
    dataset = wanted(Key("Dataset", index.dataset)) if index.bucket is None else None
    kept = index.bucket if dataset is None else dataset.spec_as(DatasetSpec).bucket
    if kept not in (None, spec.bucket):
        return True
    return spec.engine is not None and not _is_recipe(spec.engine, _serving(index, generations))


def _serving(index: IndexSpec, generations: Iterable[Resource]) -> IndexGenerationSpec | None:
    """The recipe by which the index answers as far as specs say."""
    named = {generation.key.name: generation.spec_as(IndexGenerationSpec) for generation in generations}
    if isinstance(index.serve, ServeGeneration):
        return named.get(index.serve.generation)
    return next(iter(named.values())) if len(named) == 1 else None


def _is_recipe(engine: Engine, recipe: IndexGenerationSpec | None) -> bool:
    """Whether both ask for the same; what a profile leaves out of a graph's parameters is as the index has it."""
    if recipe is None:
        return False
    if engine.hnsw is not None and recipe.hnsw is not None:
        has = recipe.hnsw.model_dump()
        return all(has[name] == value for name, value in engine.hnsw.model_dump(exclude_none=True).items())
    return (engine.hnsw, engine.flat, engine.lance) == (recipe.hnsw, recipe.flat, recipe.lance)


def _own(profile: Resource, index: Resource, generations: Iterable[Resource], eval_sets: Iterable[Resource]) -> Iterator[Resource]:
    spec, has = profile.spec_as(ProfileSpec), index.spec_as(IndexSpec)
    mine = own_name(index.key.name, profile.key.name)
    model = has.embed.model if spec.embed is None else spec.embed.model
    serve = has.serve
    if spec.engine is not None:
        serve = "auto"
    elif isinstance(serve, ServeGeneration):
        serve = _with(serve, generation=own_name(serve.generation, profile.key.name))
    embed = IndexEmbedding.model_validate({"model": model})
    yield _resource(Key("Index", mine), _with(has, embed=embed, serve=serve, bucket=spec.bucket), profile, index)
    if spec.engine is not None:
        yield _resource(Key("IndexGeneration", mine), _recipe(spec.engine, mine), profile, index)
    for generation in generations if spec.engine is None else ():
        recipe = generation.spec_as(IndexGenerationSpec)
        whole = None if recipe.hnsw is None else Hnsw.model_validate(recipe.hnsw.model_dump(by_alias=True))  # left out is its default here
        name = Key("IndexGeneration", own_name(generation.key.name, profile.key.name))
        yield _resource(name, _with(recipe, index=mine, hnsw=whole), profile, index)
    for eval_set in eval_sets:
        name = Key("EvalSet", own_name(eval_set.key.name, profile.key.name))
        yield _resource(name, _with(eval_set.spec_as(EvalSetSpec), index=mine), profile, index)


def _recipe(engine: Engine, index: str) -> IndexGenerationSpec:
    """hnsw: only what the profile says."""
    hnsw = None if engine.hnsw is None else Hnsw.model_validate(engine.hnsw.model_dump(by_alias=True, exclude_none=True))
    given = {"index": index, "flat": engine.flat, "hnsw": hnsw, "lance": engine.lance}
    return IndexGenerationSpec.model_construct(None, **{name: value for name, value in given.items() if value is not None})


def _resource(key: Key, spec: Spec, profile: Resource, index: Resource) -> Resource:
    """As if it had been written beside the profile. It refers to the index besides: what that becomes is looked at."""
    given = spec.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
    document = {"apiVersion": API_VERSION, "kind": key.kind, "metadata": {"name": key.name}, "spec": given}
    references = tuple(sorted({*references_of(key.kind, spec), index.key}))
    origin = Origin(profile.origin.path, profile.origin.line)
    return Resource.of_spec(key, digest_of(document), transformation_of(key.kind, spec), references, origin, document, spec)


def _of_index(kind: str, index: Key, of: Of) -> list[Resource]:
    """Written ones: what profiles have for themselves refers to the index as well."""
    return [resource for resource in of(kind, index) if MARK not in resource.key.name]


def _with(part: _P, **values: object) -> _P:
    """The same with other values, which need not be what somebody may write."""
    return part.model_copy(update=values)
