"""JSON Schemas for editors, and the trees that `lakectl explain` prints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from specs.parse import parse_file
from specs.registry import KINDS, KindUnknown, find_kind
from specs.schema import FieldHelp, FieldUnknown, explain, json_schema, json_schemas
from specs.yaml_source import read_documents

HERE = Path(__file__).parent
DOCUMENTS = [document.data for document in read_documents((HERE / "valid.yaml").read_text(), 1_000_000)]


def tree(field: FieldHelp, depth: int = 0) -> Iterator[str]:
    marks = [field.type, *(["required"] if field.required else []), *([f"default {field.default}"] if field.default is not None else [])]
    yield f"{'  ' * depth}{field.name} ({'; '.join(marks)}): {field.description}"
    for inner in field.fields:
        yield from tree(inner, depth + 1)


def every_field(field: FieldHelp) -> Iterator[FieldHelp]:
    yield field
    for inner in field.fields:
        yield from every_field(inner)


@pytest.mark.parametrize("kind", KINDS)
def test_explain_as_the_user_reads_it(kind: str, golden: Any) -> None:
    golden.check(f"explain/{kind}.txt", "\n".join(tree(explain(kind))))


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_described(kind: str) -> None:
    for field in every_field(explain(kind)):
        assert field.description.endswith((".", "]]")), field
        assert field.type, field


def titles(node: Any, path: str) -> Iterator[str]:
    """Fields of the schema that lack a title or a description."""
    if isinstance(node, dict):
        for name, field in node.get("properties", {}).items() if isinstance(node.get("properties"), dict) else ():
            if isinstance(field, dict) and "$ref" not in field and not {"title", "description"} <= set(field):
                yield f"{path}.{name}"
        for key, value in node.items():
            yield from titles(value, f"{path}.{key}")
    elif isinstance(node, list):
        for entry in node:
            yield from titles(entry, path)


@pytest.mark.parametrize("kind", KINDS)
def test_every_schema_field_has_title_and_description(kind: str) -> None:
    assert list(titles(json_schema(kind), kind)) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document["metadata"]["name"])
def test_editors_accept_what_the_parser_accepts(document: dict[str, Any]) -> None:
    for name in (f"{document['kind']}.json", "lakehouse.json"):
        schema = json_schemas()[name]
        jsonschema.Draft7Validator.check_schema(schema)
        assert [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(document)] == []


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("Bucket", {"memry": {}}), ("Bucket", {"memory": {}, "local": {"path": "x"}}), ("Bucket", {}),
        ("Bucket", {"memory": {}, "timeout": "5"}),
        ("Dataset", {}), ("Dataset", {"source": {"files": "a"}, "write": "upsrt"}), ("Dataset", {"source": {"files": []}}),
        ("Dataset", {"source": {"files": "a"}, "columns": {"a": "text"}}), ("Dataset", {"source": {"files": "a"}, "primary_key": ["a"]}),
        ("Index", {"dataset": "A_B", "text": "t"}), ("Index", {"dataset": "a", "text": "t", "embed": {"model": "bultin"}}),
        ("IndexGeneration", {"index": "i", "hnsw": {"m": 1}}), ("TrialBudget", {"index": "i", "evalSet": "e", "space": {"m": [1]}}),
        ("Index", {"dataset": "a", "text": "t", "bucket": None}),
    ],
)  # fmt: skip
def test_editors_refuse_what_the_parser_refuses(kind: str, spec: dict[str, Any]) -> None:
    document = {"apiVersion": "lakehouse/v1", "kind": kind, "metadata": {"name": "a"}, "spec": spec}
    assert not jsonschema.Draft7Validator(json_schema(kind)).is_valid(document)
    assert not jsonschema.Draft7Validator(json_schemas()["lakehouse.json"]).is_valid(document)


def test_one_field_is_explained_by_its_path() -> None:
    assert explain("dataset", "spec.write").default == "append"
    assert explain("datasets", "columns.*.type").path == "columns.*.type"
    assert [field.name for field in explain("Index", "chunk").fields] == ["by", "tokens", "overlap"]
    assert explain("Policy", "columns.mask").required
    assert explain("Bucket", "metadata.name").type == "name"
    assert explain("TrialBudget", "limits").default == "{trials: 40, wallClock: 10m, cpuShare: 0.5}"
    with pytest.raises(FieldUnknown, match=r"`Index.chunk` has no field `token`") as caught:
        explain("Index", "chunk.token")
    assert caught.value.remedy == "did you mean `tokens`?"
    with pytest.raises(FieldUnknown, match="has no field"):
        explain("Index", "keep.x")


def test_kinds_are_found_as_people_write_them() -> None:
    assert find_kind("indexgenerations").kind == "IndexGeneration"
    assert find_kind("EVALSET").kind == "EvalSet"
    with pytest.raises(KindUnknown) as caught:
        find_kind("datset")
    assert "did you mean `Dataset`?" in caught.value.explain()


def test_a_schema_cannot_be_changed_through_its_copy() -> None:
    json_schema("Index")["properties"]["spec"].clear()
    assert json_schema("Index")["properties"]["spec"]["properties"]
    assert parse_file("valid.yaml", (HERE / "valid.yaml").read_bytes()).errors == ()


def test_definitions_of_equal_names_are_equal() -> None:
    every = json_schemas()["lakehouse.json"]["$defs"]
    for kind in KINDS:
        for name, definition in json_schema(kind)["$defs"].items():
            assert every[name] == definition, name
