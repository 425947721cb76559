"""Whatever a file holds, parsing answers with specs or with errors that have a place: it never raises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.parse import ParsedFile, parse_file
from specs.registry import KINDS
from specs.schema import json_schema

VALID = (Path(__file__).parent / "valid.yaml").read_bytes()
WORDS = [
    "",
    "a",
    "A B",
    "x-y",
    "<text>",
    "<object>",
    "[key]",
    "*",
    "null",
    "auto",
    "builtin",
    "30s",
    "4GiB",
    "a.b",
    "data/*.csv",
    "\0",
    "é",
]
words = st.sampled_from([*WORDS, "string", "list<string>", "decimal(99,1)", "* * * * *", "SELECT * FROM a WHERE b = $c"]) | st.text(
    max_size=8
)
numbers = st.sampled_from([0, 1, 2, 8, 100, 0.5, -1, 1e300, 2**62, 2**70])
anything = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


def shaped(schema: dict[str, Any], node: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What a field may hold by its JSON Schema, or by what is near it; now and then anything at all."""
    if "$ref" in node:
        return st.deferred(lambda: shaped(schema, schema["$defs"][node["$ref"].rpartition("/")[2]]))
    return st.one_of(meant(schema, node), meant(schema, node), anything)


def meant(schema: dict[str, Any], node: dict[str, Any]) -> st.SearchStrategy[Any]:
    choices = node.get("anyOf") or ("properties" not in node and node.get("oneOf"))
    if choices:
        return st.one_of([shaped(schema, choice) for choice in choices])
    if "enum" in node:
        return st.sampled_from(node["enum"])
    match node.get("type"):
        case "object" if "properties" in node:
            fields = {name: shaped(schema, field) for name, field in node["properties"].items()}
            needed = {name: fields.pop(name) for name in node.get("required", ())}
            known = st.fixed_dictionaries(needed, optional=fields)
            return st.builds(lambda known, other: other | known, known, st.dictionaries(words, anything, max_size=1))
        case "object":
            return st.dictionaries(
                words,
                shaped(schema, node["additionalProperties"] if node.get("additionalProperties") not in (None, True) else {}),
                max_size=3,
            )
        case "array":
            return st.lists(shaped(schema, node.get("items", {})), max_size=3)
        case "integer" | "number":
            return numbers
        case "boolean":
            return st.booleans()
        case _:
            return words


def documents(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    schema = json_schema(kind)
    metadata, spec = (shaped(schema, schema["properties"][name]) for name in ("metadata", "spec"))
    whole = {"apiVersion": st.just("lakehouse/v1"), "kind": st.just(kind), "metadata": st.just({"name": "a"}) | metadata, "spec": spec}
    return st.fixed_dictionaries(whole)


def check(text: bytes) -> ParsedFile:
    """The file as parsed, every error in its place."""
    file = parse_file("specs/a.yaml", text)
    lines = text.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for error in file.errors:
        assert 1 <= error.line <= len(lines), error
        assert 1 <= error.column <= len(lines[error.line - 1]) + 1, error
        assert error.message
    return file


@given(st.sampled_from(sorted(KINDS)).flatmap(documents))
def test_any_document_is_a_resource_or_has_errors(document: dict[str, Any]) -> None:
    file = check(json.dumps(document, indent=1, ensure_ascii=False).encode())
    assert len(file.resources) == (0 if file.errors else 1)
    for resource in file.resources:
        assert resource.spec


@given(anything)
def test_any_data_are_no_surprise(data: Any) -> None:
    check(json.dumps(data).encode())


@given(st.binary(max_size=60) | st.text(alphabet="-a:#[]{}&*!|>%@`'\",? \t\r\n\0\x85\u2028é\ufeff<", max_size=60).map(str.encode))
def test_any_bytes_are_no_surprise(text: bytes) -> None:
    check(text)


@given(st.integers(0, len(VALID)), st.integers(0, 20), st.text(alphabet="-a:#[]{}&*!|>'\", \n0", max_size=5))
def test_any_slip_of_an_editor_is_no_surprise(at: int, lost: int, new: str) -> None:
    check(VALID[:at] + new.encode() + VALID[at + lost :])


@pytest.mark.parametrize(
    ("kind", "spec", "expected"),
    [
        (
            "Policy",
            "{dataset: a, columns: [{columns: x, roles: [a], except: [b], mask: 5}]}",
            [
                "4:63: Policy/x: `columns[0]`: `roles` and `except` exclude each other",
                "4:74: Policy/x: `columns[0].mask` needs one of null, redact, lastFour, firstFour, hash, year, "
                "or an object as in {constant: hidden}; found the number `5`",
            ],
        ),
        ("Bucket", "{memory: {}, <text>: 1}", ["4:20: Bucket/x: unknown field `<text>`; valid here: "]),
        ("Bucket", "{memory: {}, '[key]': 1}", ["4:20: Bucket/x: unknown field `[key]`; valid here: "]),
        (
            "Policy",
            "{dataset: a, columns: [{columns: x, mask: {<object>: 1, constant: 1}}]}",
            ["4:50: Policy/x: unknown field `<object>` in `columns[0].mask`; valid here: constant, expression"],
        ),
        (
            "Dataset",
            "{source: {files: a}, columns: {'[key]': 5, <text>: 6}}",
            ["4:47: Dataset/x: `columns.[key]` needs its type as text, or an object; found the number `5`", "4:58: "],
        ),
        (
            "Dataset",
            "{source: {files: a}, columns: {'': string}}",
            ["4:38: Dataset/x: the name `` in `columns` is not valid: it must not be empty"],
        ),
    ],
)
def test_names_that_look_like_marks_of_ours(kind: str, spec: str, expected: list[str]) -> None:
    file = check(f"apiVersion: lakehouse/v1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {spec}\n".encode())
    assert len(file.errors) == len(expected)
    for error, words in zip(file.errors, expected, strict=True):
        assert str(error).startswith(f"specs/a.yaml:{words}")
