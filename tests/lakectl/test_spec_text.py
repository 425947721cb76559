"""A spec is changed in one place; all else stays as it was written."""

from __future__ import annotations

import pytest

from reconciler.lakectl.spec_text import with_serve
from specs.kinds.index import IndexSpec, ServeGeneration
from specs.parse import parse_file

HEAD = "apiVersion: lakehouse/v1\nkind: Index\nmetadata: {name: i}\n"
OTHER = "apiVersion: lakehouse/v1\nkind: Index\nmetadata: {name: other}\nspec: {dataset: d, text: t, serve: auto}\n---\n# mine\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("spec: {dataset: d, text: t}\n", "spec: {serve: {generation: g2}, dataset: d, text: t}\n"),
        ("spec: {dataset: d, text: t, serve: auto} # why\n", "spec: {dataset: d, text: t, serve: {generation: g2}} # why\n"),
        ("spec: {dataset: d, serve: {generation: g1}, text: t}\n", "spec: {dataset: d, serve: {generation: g2}, text: t}\n"),
        ("spec:\n  dataset: d  # the people\n  text: t\n", "spec:\n  serve: {generation: g2}\n  dataset: d  # the people\n  text: t\n"),
        ("spec:\n  dataset: d\n  text: t\n  serve: auto\n", "spec:\n  dataset: d\n  text: t\n  serve: {generation: g2}\n"),
        (
            "spec:\n  dataset: d\n  serve:\n    generation: g1  # the first\n  text: t\n",
            "spec:\n  dataset: d\n  serve:\n    generation: g2  # the first\n  text: t\n",
        ),
        ('spec: {dataset: d, text: "ü: {", serve: "auto"}\n', 'spec: {dataset: d, text: "ü: {", serve: {generation: g2}}\n'),
    ],
)
def test_only_what_serves_is_another(before: str, after: str) -> None:
    text = OTHER + HEAD + before
    changed = with_serve(text, "i", "g2")
    assert changed == OTHER + HEAD + after
    parsed = parse_file("specs/x.yaml", changed.encode())
    assert not parsed.errors
    served = [resource.spec_as(IndexSpec).serve for resource in parsed.resources]
    assert served == ["auto", ServeGeneration(generation="g2")]


def test_what_is_not_declared_is_none() -> None:
    with pytest.raises(KeyError):
        with_serve(OTHER, "i", "g2")
