"""What a profile has of an index for itself follows from the specs of both."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from specs.kinds.eval_set import EvalSetSpec
from specs.kinds.index import IndexSpec, ServeGeneration, model_name
from specs.kinds.index_generation import IndexGenerationSpec
from specs.own import own_resources, tuned
from specs.parse import parse_file
from specs.resource import Key, Resource, base_name, own_name

INDEX = "kind: Index\nmetadata: {name: resumes}\nspec: {dataset: people, text: [text]%s}\n"
PEOPLE = "kind: Dataset\nmetadata: {name: people}\nspec: {source: {files: '*.csv'}%s}\n"
EVAL = "kind: EvalSet\nmetadata: {name: ev}\nspec: {index: resumes, generate: {queries: 10}}\n"
GENERATION = "kind: IndexGeneration\nmetadata: {name: %s}\nspec: {index: resumes, %s}\n"
PROFILE = "kind: Profile\nmetadata: {name: p}\nspec: {indexes: [resumes]%s}\n"


def parsed(*texts: str) -> dict[Key, Resource]:
    text = "---\n".join(f"apiVersion: lakehouse/v1\n{text}" for text in texts)
    file = parse_file("all.yaml", text.encode())
    assert not file.errors
    return {resource.key: resource for resource in file.resources}


def own(*texts: str) -> dict[Key, Resource]:
    known = parsed(*texts)

    def of(kind: str, key: Key) -> Iterable[Resource]:
        return [one for one in known.values() if one.key.kind == kind and key in one.references]

    return {one.key: one for one in own_resources(known[Key("Profile", "p")], known.get, of)}


def test_a_profile_without_parameters_of_its_own_shares() -> None:
    assert own(PEOPLE % "", INDEX % "", EVAL, PROFILE % "") == {}
    assert own(PEOPLE % "", PROFILE % "") == {}
    assert own(PEOPLE % "", INDEX % "", PROFILE % ", embed: {model: builtin}") == {}


def test_another_model_is_an_index_of_its_own_in_the_profiles_bucket() -> None:
    found = own(PEOPLE % "", INDEX % ", embed: {also: [minilm]}", EVAL, PROFILE % ", embed: {model: minilm}, bucket: mine")
    assert list(found) == [Key("Index", "resumes@p"), Key("EvalSet", "ev@p")]
    index = found[Key("Index", "resumes@p")]
    spec = index.spec_as(IndexSpec)
    assert (model_name(spec.embed.model), spec.embed.also, spec.bucket, spec.dataset) == ("minilm", (), "mine", "people")
    assert index.references == (Key("Bucket", "mine"), Key("Dataset", "people"), Key("Index", "resumes"))
    assert found[Key("EvalSet", "ev@p")].spec_as(EvalSetSpec).index == "resumes@p"
    assert (index.origin.path, index.origin.line) == ("all.yaml", 16)


def test_another_bucket_is_one_as_well() -> None:
    assert list(own(PEOPLE % ", bucket: lake", INDEX % "", PROFILE % "")) == [Key("Index", "resumes@p")]
    assert list(own(PEOPLE % ", bucket: lake", INDEX % "", PROFILE % ", bucket: lake")) == []
    assert list(own(PEOPLE % "", INDEX % ", bucket: lake", PROFILE % "")) == [Key("Index", "resumes@p")]


def test_an_engine_is_a_recipe_of_its_own() -> None:
    found = own(
        PEOPLE % "", INDEX % ", serve: {generation: g}", GENERATION % ("g", "flat: {}"), PROFILE % ", engine: {hnsw: {efSearch: 64}}"
    )
    assert list(found) == [Key("Index", "resumes@p"), Key("IndexGeneration", "resumes@p")]
    recipe = found[Key("IndexGeneration", "resumes@p")].spec_as(IndexGenerationSpec)
    assert recipe.index == "resumes@p"
    assert recipe.hnsw is not None
    assert recipe.hnsw.model_fields_set == {"ef_search"}  # all else is as the index has it
    assert found[Key("Index", "resumes@p")].spec_as(IndexSpec).serve == "auto"


@pytest.mark.parametrize(
    ("engine", "recipe", "shares"),
    [
        ("hnsw: {efSearch: 64}", "hnsw: {m: 24}", True),
        ("hnsw: {efSearch: 65}", "hnsw: {m: 24}", False),
        ("hnsw: {m: 24}", "hnsw: {m: 24}", True),
        ("flat: {}", "flat: {}", True),
        ("flat: {}", "flat: {precision: int8}", False),
        ("lance: {}", "hnsw: {}", False),
    ],
)
def test_an_engine_that_the_index_has_is_shared(engine: str, recipe: str, shares: bool) -> None:
    found = own(PEOPLE % "", INDEX % "", GENERATION % ("g", recipe), PROFILE % f", engine: {{{engine}}}")
    assert (not found) == shares


def test_with_its_own_model_it_has_the_recipes_of_the_index() -> None:
    recipes = (GENERATION % ("g1", "hnsw: {m: 24}"), GENERATION % ("g2", "flat: {}"))
    found = own(PEOPLE % "", INDEX % ", serve: {generation: g1}", *recipes, PROFILE % ", embed: {model: minilm}")
    assert list(found) == [Key("Index", "resumes@p"), Key("IndexGeneration", "g1@p"), Key("IndexGeneration", "g2@p")]
    serve = found[Key("Index", "resumes@p")].spec_as(IndexSpec).serve
    assert isinstance(serve, ServeGeneration)
    assert serve.generation == "g1@p"
    hnsw = found[Key("IndexGeneration", "g1@p")].spec_as(IndexGenerationSpec).hnsw
    assert hnsw is not None
    assert (hnsw.m, hnsw.model_fields_set) == (24, {"m", "ef_construction", "ef_search", "seed"})


def test_the_same_specs_give_the_same_digest_and_others_another() -> None:
    def digest(more: str) -> str:
        return own(PEOPLE % "", INDEX % "", PROFILE % more)[Key("Index", "resumes@p")].digest

    assert digest(", embed: {model: minilm}") == digest(", embed: {model: minilm}, role: r, active: true")
    assert digest(", embed: {model: minilm}") != digest(", embed: {model: minilm}, bucket: mine")


def test_a_budget_of_a_profile_is_of_its_index_and_eval_set() -> None:
    text = "kind: TrialBudget\nmetadata: {name: b}\nspec: {index: resumes, evalSet: ev%s}\n"
    whole, of_profile = (parsed(text % more)[Key("TrialBudget", "b")] for more in ("", ", profile: p"))
    assert (tuned(whole).index, tuned(whole).eval_set) == ("resumes", "ev")
    assert (tuned(of_profile).index, tuned(of_profile).eval_set) == ("resumes@p", "ev@p")
    assert Key("Index", "resumes@p") in of_profile.references


def test_no_spec_can_take_such_a_name() -> None:
    text = "apiVersion: lakehouse/v1\nkind: EvalSet\nmetadata: {name: e}\nspec: {index: resumes@p, generate: {}}\n"
    assert [error.key for error in parse_file("a.yaml", text.encode()).errors] == [Key("EvalSet", "e")]
    assert base_name(own_name("resumes", "p")) == base_name("resumes") == "resumes"
