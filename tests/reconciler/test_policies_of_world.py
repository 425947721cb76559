"""Policies as the world has them: what is meant to govern a Dataset is known also where its document does not parse."""

from __future__ import annotations

import pytest
from small_lake import Past, dataset, index

from reconciler.blob_cache import BlobCache
from reconciler.policies import WorldSpecs
from reconciler.world import World
from specs.parse import MAX_DOCUMENT_BYTES, MAX_FILE_BYTES, MAX_FILE_ERRORS, MAX_KINDS, ParsedFile, parse_file

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
        (GOOD.replace("kind: Policy", "kind: policy"), FILE),
        (GOOD.replace("dataset: x, ", "").replace("kind: Policy", "kind: Policy\ndataset: x"), "p"),
        (GOOD.replace("dataset: x", "dataset: X"), "p"),
        (GOOD.replace("dataset: x", "datset: x"), "p"),
        (GOOD.replace("dataset: x", "datasets: [x]"), "p"),
        (GOOD.replace("kind: Policy", "kin: Policy"), FILE),
        (GOOD.replace("metadata: {name: p}", "metadata: {name: p"), FILE),  # whose `spec` is never reached
        ("spec: [\n" + GOOD, FILE),
        ("%YAML 1.2\n" + GOOD, FILE),
        (GOOD.replace("name: p", "name: p\x07"), FILE),
        ("\0".join(GOOD), FILE),
        ("".join(f"kind: a{number}\n" for number in range(MAX_KINDS + 1)) + "dataset: x\nkind: [", FILE),  # too many to be compared
        (dataset("x") + "---\n\t" + GOOD.replace("dataset: x", '"dataset" : "x"'), FILE),
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


@pytest.mark.parametrize("broken", ["spec: [\n" + GOOD, GOOD.replace("name: p", "name: P P"), "%YAML 1.2\n" + GOOD])
def test_also_where_nobody_can_read_its_name(broken: str) -> None:
    other = GOOD.replace("name: p", "name: q").replace("dataset: x", "dataset: y")
    specs = specs_of(f"{GOOD}---\n{other}", f"{broken}---\n{other}")
    assert (specs.faulty("x"), specs.faulty("y")) == ((), ())
    assert [name for name, _ in specs.policies("x")] == ["p"]


def test_but_not_a_dataset_that_is_new_in_what_nobody_can_read() -> None:
    specs = specs_of(GOOD, "spec: [\n" + GOOD.replace("dataset: x", "dataset: z"))
    assert (specs.faulty("x"), specs.faulty("z")) == ((), (FILE,))


def test_text_that_is_no_policy_closes_nothing() -> None:
    for text in ("spec: [\n" + index("i", "x"), index("i", "x").replace("text:", "texts:")):
        assert specs_of(text).faulty("x") == ()


def test_one_that_is_declared_twice() -> None:
    """The first stands; what the other was to govern is closed."""
    specs = specs_of(f"{GOOD}---\n{GOOD.replace('dataset: x', 'dataset: y')}---\n{GOOD}")
    assert (specs.faulty("x"), specs.faulty("y")) == ((), ("p",))


def test_one_whose_errors_are_counted_only() -> None:
    specs = specs_of("---\nkind: [\n" * MAX_FILE_ERRORS + "---\n" + GOOD.replace("'true'", "3"))
    assert specs.faulty("x") == (FILE,)


def test_a_file_of_which_nothing_is_read() -> None:
    for content in (
        GOOD.encode() + b"# \xff",
        GOOD.encode("utf-16"),
        b"#" * MAX_FILE_BYTES + b"\n" + GOOD.encode(),
        b"#" * MAX_DOCUMENT_BYTES + b"\n" + GOOD.encode(),
    ):
        (error,) = parse_file(FILE, content).errors
        assert error.governs == ("x",)
        assert ParsedFile.from_record(ParsedFile(FILE, (), (error,)).to_record()).errors == (error,)


def test_a_file_under_another_suffix() -> None:
    world = World(Past([{"specs/p.yml": GOOD}]), BlobCache(None, "v"), lambda key, digest: None)
    world.advance("0")
    assert WorldSpecs(world).faulty("x") == ("specs/p.yml",)


def test_but_not_another_dataset_that_the_new_one_names() -> None:
    specs = specs_of(GOOD, GOOD.replace("rows:", "mask: 3, rows:").replace("dataset: x", "dataset: y"))
    assert (specs.faulty("x"), specs.faulty("y")) == ((), ("p",))


def test_a_nameless_one_beside_other_kinds() -> None:
    specs = specs_of(dataset("x"), dataset("x") + "---\n" + GOOD.replace("metadata: {name: p}", "metadata: {}"))
    assert specs.faulty("x") == (FILE,)


def test_it_is_corrected() -> None:
    assert specs_of(GOOD.replace("rows:", "mask: 3, rows:"), GOOD).faulty("x") == ()
