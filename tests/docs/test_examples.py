"""Examples of whole resources in docs/ can be committed as they stand. One without `kind` is a part of a resource, or of lakehouse.yaml."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from specs.parse import parse_file

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RESOURCES = [
    pytest.param(block[1], id=f"{page.name}:{text[: block.start()].count(chr(10)) + 1}")
    for page in sorted(DOCS.glob("*.md"))
    for text in [page.read_text(encoding="utf-8")]
    for block in BLOCK.finditer(text)
    if re.search(r"^kind:", block[1], re.MULTILINE)
]


@pytest.mark.parametrize("example", RESOURCES)
def test_a_whole_resource_has_no_fault(example: str) -> None:
    found = parse_file("example.yaml", example.encode())
    assert [error.explain() for error in found.errors] == []
    assert len(found.resources) == len(re.findall(r"^kind:", example, re.MULTILINE))
