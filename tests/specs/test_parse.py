"""Files to resources: order, origins, recovery, duplicates, records."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from specs.errors import SpecInvalid
from specs.kinds.bucket import BucketSpec
from specs.kinds.dataset import DatasetSpec
from specs.parse import ParsedFile, duplicates, parse_file
from specs.resource import Key, Origin, Resource

VALID = (Path(__file__).parent / "valid.yaml").read_bytes()


def bucket(name: str, spec: str = "{memory: {}}") -> str:
    return f"apiVersion: lakehouse/v1\nkind: Bucket\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def parse(text: str, path: str = "specs/a.yaml") -> ParsedFile:
    return parse_file(path, text.encode())


def test_the_documented_specs_are_read() -> None:
    file = parse_file("specs/all.yaml", VALID)
    assert file.errors == ()
    assert len(file.resources) == 19
    assert file.resources[0].key == Key("Bucket", "primary")
    assert file.resources[0].origin == Origin("specs/all.yaml", 2)
    assert file.resources[1].origin.line == 7
    assert [resource.origin.line for resource in file.resources] == sorted(resource.origin.line for resource in file.resources)


def test_a_bad_document_takes_no_other_with_it() -> None:
    file = parse("---\n".join([bucket("a"), bucket("b", "{memry: {}}"), bucket("c"), "a: [\n", bucket("d"), "- x\n", bucket("e")]))
    assert [str(resource.key) for resource in file.resources] == ["Bucket/a", "Bucket/c", "Bucket/d", "Bucket/e"]
    assert {error.key for error in file.errors} == {Key("Bucket", "b"), None}


@pytest.mark.parametrize("text", ["", "\n\n", "# only a note\n", "---\n", "---\n---\n...\n", "\ufeff"])
def test_empty_files_are_empty(text: str) -> None:
    assert parse(text) == ParsedFile("specs/a.yaml", (), ())


def test_line_ends_and_byte_order_marks_change_nothing() -> None:
    (plain,) = parse(bucket("a")).resources
    (windows,) = parse("\ufeff" + bucket("a").replace("\n", "\r\n")).resources
    assert plain == windows


def test_the_typed_spec_is_built_when_asked_for() -> None:
    (resource,) = parse(bucket("a", "{local: {path: lake}, timeout: 1h30m}")).resources
    spec = resource.spec_as(BucketSpec)
    assert spec.timeout.total_seconds() == 5400
    assert resource.spec is spec
    assert resource.metadata.name == "a"
    assert resource.document["spec"] == {"local": {"path": "lake"}, "timeout": "1h30m"}
    with pytest.raises(TypeError, match="Bucket/a has a BucketSpec"):
        resource.spec_as(DatasetSpec)


def test_records_and_pickles_keep_all_but_the_model() -> None:
    file = parse_file("specs/all.yaml", VALID + b"---\nkind: 5\n")
    assert file.errors
    back = ParsedFile.from_record(json.loads(json.dumps(file.to_record())))
    assert back == file
    assert pickle.loads(pickle.dumps(file)) == file
    assert hash(back.resources[3]) == hash(file.resources[3])
    moved = ParsedFile.from_record(file.to_record(), "other/b.yaml")
    assert {resource.origin.path for resource in moved.resources} == {"other/b.yaml"}
    assert {error.path for error in moved.errors} == {"other/b.yaml"}


def test_a_record_that_this_release_refuses_says_so() -> None:
    (resource,) = parse(bucket("a")).resources
    record = resource.to_record()
    record[-1] = record[-1].replace('"memory"', '"tape"')
    with pytest.raises(SpecInvalid, match="Bucket/a is not valid"):
        _ = Resource.from_record(record).spec


def test_the_first_of_equal_keys_stands() -> None:
    files = [parse(bucket("a") + "---\n" + bucket("b"), "specs/z.yaml"), parse(bucket("b") + "---\n" + bucket("b"), "specs/b.yaml")]
    assert [str(error) for error in duplicates(files)] == [
        "specs/b.yaml:6:1: Bucket/b: already declared at specs/b.yaml:1, which stands; remove one of the two, or rename it",
        "specs/z.yaml:6:1: Bucket/b: already declared at specs/b.yaml:1, which stands; remove one of the two, or rename it",
    ]
    assert duplicates(reversed(files)) == duplicates(files)
    assert duplicates(files[:1]) == ()


@pytest.mark.parametrize("text", ["Dataset", "Dataset/", "/x", "a/b/c", ""])
def test_keys_are_kind_and_name(text: str) -> None:
    assert Key.parse("Dataset/candidates") == Key("Dataset", "candidates")
    assert str(Key("Dataset", "candidates")) == "Dataset/candidates"
    with pytest.raises(SpecInvalid) as caught:
        Key.parse(text)
    assert "Kind/name" in caught.value.explain()


def test_records_are_read_without_the_cost_of_models() -> None:
    code = "import sys, specs.resource, specs.references; sys.exit('pydantic' in sys.modules or 'yaml' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
