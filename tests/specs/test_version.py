"""The versions that caches and users rely on."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from specs.digests import digest
from specs.parse import parse_file
from specs.schema import json_schemas
from specs.version import PARSER_VERSION, VERSION

HERE = Path(__file__).parent


def test_the_release_is_the_projects() -> None:
    project = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["version"] == VERSION


def test_caches_are_left_behind_when_parsing_changes(golden: Any) -> None:
    """If this fails, raise PARSER_VERSION in specs/version.py, then run pytest --update-golden."""
    records = [resource.to_record() for resource in parse_file("valid.yaml", (HERE / "valid.yaml").read_bytes()).resources]
    golden.check("parser_version.txt", f"{PARSER_VERSION} {digest([json_schemas(), records])}")
