"""What a user reads when a spec is wrong: golden files, and that no input escapes with a jargon message."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specs.parse import MAX_ERRORS, MAX_FILE_ERRORS, parse_file
from specs.registry import KINDS

HERE = Path(__file__).parent
DOCUMENTS = [dict(resource.document) for resource in parse_file("valid.yaml", (HERE / "valid.yaml").read_bytes()).resources]
JARGON = re.compile(
    r"pydantic|https?://errors|Input should|\bdict\b|\bstr\b|\bNone\b|Extra inputs|Field required|lakehouse_|is not valid;|<text>|<object>"
)


@pytest.mark.parametrize("name", sorted(path.stem for path in (HERE / "faulty").glob("*.yaml")))
def test_errors_as_the_user_reads_them(name: str, golden: Any) -> None:
    file = parse_file(f"specs/{name}.yaml", (HERE / "faulty" / f"{name}.yaml").read_bytes())
    read = [f"read: {resource.key}" for resource in file.resources]
    golden.check(f"{name}.txt", "\n".join([*map(str, file.errors), *read]))


def paths(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, entry in inner for found in paths(entry, (*path, key)))]


PLACES = [(number, path) for number, document in enumerate(DOCUMENTS) for path in paths(document) if path]
anything = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        3,
        1.5,
        "",
        "x",
        "auto",
        "A B",
        "yes",
        "9" * 30,
        [],
        [1],
        ["a", "a"],
        [[]],
        {},
        {"a": 1},
        {"type": {}},
        [{}],
        "x" * 100,
    ]
)


@settings(max_examples=300)
@given(st.sampled_from(PLACES), anything, st.sampled_from(["replace", "rename", "remove", "add"]))
def test_every_fault_has_a_place_and_a_plain_sentence(place: tuple[int, tuple[Any, ...]], value: Any, how: str) -> None:
    number, path = place
    document = copy.deepcopy(DOCUMENTS[number])
    parent = document
    for step in path[:-1]:
        parent = parent[step]
    if how == "replace" or not isinstance(parent, dict):
        parent[path[-1]] = value
    elif how == "add":
        parent["surprise"] = value
    else:
        kept = parent.pop(path[-1])
        if how == "rename":
            parent[f"{path[-1]}x"] = kept
    text = json.dumps(document, indent=1)
    file = parse_file("specs/a.yaml", text.encode())
    assert len(file.resources) == (0 if file.errors else 1)
    for error in file.errors:
        assert 1 <= error.line <= text.count("\n") + 1
        assert 1 <= error.column <= len(text.splitlines()[error.line - 1])
        assert not JARGON.search(str(error)), str(error)
        assert str(error).startswith(f"specs/a.yaml:{error.line}:{error.column}: ")
    assert list(file.errors) == sorted(file.errors, key=lambda error: (error.line, error.column, error.message))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"x" * 10_000_000, "a.yaml:1:1: the file has 10,000,000 bytes; at most 4,194,304 are read; split it into several files"),
        (b"a: 1\r\nb: \xc3\xa4 caf\xe9\n", "a.yaml:2:9: the byte 0xe9 is not UTF-8; save the file as UTF-8"),
        (b"a: 1\nb: caf\xe9\n", "a.yaml:2:7: the byte 0xe9 is not UTF-8; save the file as UTF-8"),
        (b"\xff\xfea\x00", "a.yaml:1:1: the byte 0xff is not UTF-8; save the file as UTF-8"),
        (
            b"a: 1\n" + b"# " + b"x" * 1_100_000,
            "a.yaml:1:1: the document has 1,100,007 characters; at most 1,048,576 are read; split it into several documents",
        ),
    ],
)
def test_files_that_are_no_specs_at_all(text: bytes, expected: str) -> None:
    assert [str(error) for error in parse_file("a.yaml", text).errors] == [expected]


def test_a_secret_in_the_wrong_place_is_not_repeated() -> None:
    head = "apiVersion: lakehouse/v1\nkind: Dataset\nmetadata: {name: x}\nspec: {source: {postgres: {table: t, dsn: "
    for wrong in ("postgres://me:hunter2@host/db", "{secret: 'postgres://me:hunter2@host/db'}", "{secrt: hunter2}", "[hunter2]"):
        errors = parse_file("a.yaml", f"{head}{wrong}}}}}}}\n".encode()).errors
        assert errors
        assert "hunter2" not in repr(errors)


def test_a_thousand_errors_are_counted_rather_than_told() -> None:
    fields = "".join(f"  field{number}: 1\n" for number in range(1000))
    errors = parse_file(
        "a.yaml", f"apiVersion: lakehouse/v1\nkind: Bucket\nmetadata: {{name: x}}\nspec:\n  memory: {{}}\n{fields}".encode()
    ).errors
    assert len(errors) == MAX_ERRORS + 1
    assert "more errors in this document" in errors[-1].message


def test_a_file_of_broken_documents_is_counted_too() -> None:
    errors = parse_file("a.yaml", b"---\nkind: Bucket\n" * MAX_FILE_ERRORS).errors
    assert len(errors) == MAX_FILE_ERRORS + 1
    assert str(errors[-1]) == f"{errors[-2].path}:{errors[-2].line}:1: and 2,000 more errors in this file"


LONG = 100_000
HEAD = "apiVersion: lakehouse/v1\nkind: {}\nmetadata: {{name: x}}\nspec: "


@pytest.mark.parametrize(
    ("kind", "spec", "errors"),
    [
        ("Dataset", {"source": {"files": "a"}, "columns": {"a": f"list<{' ' * LONG}"}}, 1),
        ("Dataset", {"source": {"files": "a"}, "columns": {"a": "list<" * LONG}}, 1),
        ("Dataset", {"source": {"sql": "/* " * LONG}}, 0),
        ("Dataset", {"source": {"sql": ") as not " * LONG}}, 0),
        (
            "Tool",
            {
                "description": "x",
                "parameters": {"type": "object", "properties": {f"p{number}": {} for number in range(LONG // 10)}},
                "query": " ".join(f"$q{number}" for number in range(LONG // 10)),
            },
            MAX_ERRORS,
        ),
    ],
    ids=["blanks in a type", "lists in a type", "open comments", "names of a query's own", "parameters"],
)
def test_long_texts_take_time_by_their_length(kind: str, spec: dict[str, Any], errors: int) -> None:
    """By its square or its cube these would take hours."""
    file = parse_file("a.yaml", f"{HEAD.format(kind)}{json.dumps(spec)}\n".encode())
    assert len(file.errors) == errors


def test_merge_keys_cost_nothing() -> None:
    lines = ["a0: &a0 {x: 1}"] + [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 40)]
    assert parse_file("a.yaml", "\n".join(lines).encode()).errors


def test_every_kind_has_an_example_here() -> None:
    assert {document["kind"] for document in DOCUMENTS} == set(KINDS)
