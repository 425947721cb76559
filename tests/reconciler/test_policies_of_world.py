"""Policies as the world has them: what is meant to govern a Dataset is known also where its document does not parse."""

from __future__ import annotations

import pytest
from small_lake import Past, dataset

from reconciler.blob_cache import BlobCache
from reconciler.policies import WorldSpecs
from reconciler.world import World

FILE = "specs/p.yaml"
GOOD = "apiVersion: lakehouse/v1\nkind: Policy\nmetadata: {name: p}\nspec: {dataset: x, rows: [{roles: a, where: 'true'}]}\n"


def specs_of(*revisions: str) -> WorldSpecs:
    world = World(Past([{FILE: text} for text in revisions]), BlobCache(None, "v"), lambda key, digest: None)
    for number in range(len(revisions)):
        world.advance(str(number))
    return WorldSpecs(world)


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (GOOD.replace("rows:", "mask: 3, rows:"), "p"),
        (GOOD.replace("roles: a", "roles: operator"), "p"),
        (GOOD.replace("'true'", "3"), "p"),
        (GOOD.replace("name: p", "name: P P"), FILE),
    ],
)
def test_one_that_never_parsed(fault: str, name: str) -> None:
    specs = specs_of(fault)
    assert specs.faulty("x") == (name,)
    assert specs.faulty("y") == ()
    assert list(specs.policies("x")) == []


def test_the_last_good_one_governs_instead() -> None:
    specs = specs_of(GOOD, GOOD.replace("rows:", "mask: 3, rows:"))
    assert specs.faulty("x") == ()
    assert [name for name, _ in specs.policies("x")] == ["p"]


def test_but_not_another_dataset_that_the_new_one_names() -> None:
    specs = specs_of(GOOD, GOOD.replace("rows:", "mask: 3, rows:").replace("dataset: x", "dataset: y"))
    assert (specs.faulty("x"), specs.faulty("y")) == ((), ("p",))


def test_a_nameless_one_beside_other_kinds() -> None:
    specs = specs_of(dataset("x"), dataset("x") + "---\n" + GOOD.replace("metadata: {name: p}", "metadata: {}"))
    assert specs.faulty("x") == (FILE,)


def test_it_is_corrected() -> None:
    assert specs_of(GOOD.replace("rows:", "mask: 3, rows:"), GOOD).faulty("x") == ()
