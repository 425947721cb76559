"""Digests: blind to order and defaults, awake to everything else."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.digests import canonical_json, digest
from specs.parse import parse_file
from specs.resource import Resource

RESOURCES = parse_file("valid.yaml", (Path(__file__).parent / "valid.yaml").read_bytes()).resources


def shuffled(value: Any, order: random.Random) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        order.shuffle(keys)
        return {key: shuffled(value[key], order) for key in keys}
    return [shuffled(entry, order) for entry in value] if isinstance(value, list) else value


def resource(document: Any) -> Resource:
    file = parse_file("a.yaml", json.dumps(document).encode())
    assert file.errors == ()
    return file.resources[0]


def dataset(**spec: Any) -> Resource:
    document = {"apiVersion": "lakehouse/v1", "kind": "Dataset", "metadata": {"name": "a"}, "spec": {"source": {"files": "a.csv"}, **spec}}
    return resource(document)


def index(kind: str = "IndexGeneration", **spec: Any) -> Resource:
    return resource({"apiVersion": "lakehouse/v1", "kind": kind, "metadata": {"name": "a"}, "spec": spec})


@given(st.sampled_from(RESOURCES), st.randoms(use_true_random=False))
def test_the_order_of_keys_changes_nothing(original: Resource, order: random.Random) -> None:
    other = resource(shuffled(dict(original.document), order))
    assert (other.key, other.digest, other.transformation, other.references) == (
        original.key, original.digest, original.transformation, original.references,
    )  # fmt: skip


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.integers())), st.randoms(use_true_random=False))
def test_canonical_json_reads_back(data: dict[str, Any], order: random.Random) -> None:
    assert json.loads(canonical_json(data)) == data
    assert canonical_json(shuffled(data, order)) == canonical_json(data)
    assert b": " not in canonical_json({"a": {"b": [1, 2]}})


def test_digests_are_32_characters_and_stable() -> None:
    assert digest({"b": 1, "a": [None, True]}) == digest({"a": [None, True], "b": 1})
    assert len(digest({})) == 32
    with pytest.raises(ValueError, match="JSON"):
        digest(float("nan"))


def test_all_that_is_set_is_in_the_digest() -> None:
    plain = dataset()
    assert dataset(owner="ops").digest != plain.digest
    assert dataset(tags=["a"]).digest != plain.digest
    document = {**plain.document, "metadata": {"name": "a", "labels": {"team": "ops"}}}
    assert resource(document).digest != plain.digest
    assert resource({**plain.document, "metadata": {"name": "b"}}).digest != plain.digest


@pytest.mark.parametrize(
    "spec",
    [
        {"owner": "ops"}, {"tags": ["a"]}, {"description": "x"}, {"sensitivity": "pii"}, {"freshness": {"staleAfter": "1h"}},
        {"refresh": {"every": "1h"}, "cache": {"pin": True}}, {"deletion": "delete"}, {"write": "append"}, {"bucket": "primary"},
        {"columns": {"a": {"description": "x", "sensitivity": ["pii"]}}}, {"source": {"files": ["a.csv"]}}, {"keep": {"versions": 3}},
        {"migrations": [{"from": 1, "drop": "a"}]}, {"publish": "together"}, {"policy": "none"},
    ],
)  # fmt: skip
def test_what_the_rows_do_not_depend_on_reads_nothing_again(spec: dict[str, Any]) -> None:
    assert dataset(**spec).transformation == dataset().transformation


@pytest.mark.parametrize(
    "spec",
    [
        {"source": {"files": "b.csv"}}, {"source": {"files": "a.csv", "encoding": "latin-1"}}, {"write": "replace"}, {"bucket": "other"},
        {"source": {"files": "a.csv", "header": True}}, {"source": {"files": "a.xlsx", "sheet": "x"}},
        {"source": {"files": "a.pdf", "ocr": True}}, {"columns": {"a": {"format": "DMY"}}},
        {"primaryKey": ["id"]}, {"columns": {"a": "string"}}, {"columns": {"a": {"nullable": False}}}, {"contract": {"required": ["a"]}},
    ],
)  # fmt: skip
def test_what_the_rows_depend_on_is_in_the_transformation(spec: dict[str, Any]) -> None:
    assert dataset(**spec).transformation != dataset().transformation


def test_spellings_of_the_same_transformation_are_equal() -> None:
    assert dataset(columns={"a": "decimal(10, 2)"}).transformation == dataset(columns={"a": {"type": "decimal(10,2)"}}).transformation
    latin = [dataset(source={"files": "a.csv", "encoding": name}).transformation for name in ("latin-1", "latin1", "ISO-8859-1")]
    assert len(set(latin)) == 1


def test_search_parameters_rebuild_nothing() -> None:
    plain = index(index="i", hnsw={})
    assert index(index="i", hnsw={"m": 16, "efConstruction": 80, "efSearch": 400}).transformation == plain.transformation
    assert index(index="i", hnsw={"m": 17}).transformation != plain.transformation
    assert index(index="i", flat={}).transformation != plain.transformation
    vectors = index("Index", dataset="d", text="t")
    assert index("Index", dataset="d", text=["t"], serve={"generation": "g"}, keep=9).transformation == vectors.transformation
    assert index("Index", dataset="d", text="t", chunk={"tokens": 100}).transformation != vectors.transformation
