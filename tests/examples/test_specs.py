"""The examples' specs are valid, refer to each other only, and find the files that the generators write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.settings import load_settings
from specs.parse import parse_file
from specs.resource import Resource

EXAMPLES = Path(__file__).parents[2] / "examples"


def resources(example: str) -> list[Resource]:
    files = [parse_file(str(path), path.read_bytes()) for path in sorted((EXAMPLES / example / "specs").glob("*.yaml"))]
    assert [str(error) for file in files for error in file.errors] == []
    return [resource for file in files for resource in file.resources]


@pytest.mark.parametrize(
    ("example", "kinds"),
    [
        ("staffing", ["Bucket", *["Dataset"] * 7, "Index", "IndexGeneration", "Policy", "Profile"]),
        ("cloud-docs", ["Bucket", "Dataset", "Index", "Profile"]),
        ("knowledge-base", ["Bucket", *["Dataset"] * 2, "Index"]),
        ("two-readers", ["Bucket", *["Dataset"] * 2, *["Index"] * 2, *["Profile"] * 2]),
    ],
)
def test_specs_are_valid_and_complete(example: str, kinds: list[str]) -> None:
    found = resources(example)
    assert sorted(resource.key.kind for resource in found) == kinds
    assert {key for resource in found for key in resource.references} <= {resource.key for resource in found}


def test_what_is_beside_the_specs_fits_them() -> None:
    path = EXAMPLES / "cloud-docs" / "tuning.yaml"
    file = parse_file(str(path), path.read_bytes())
    assert not file.errors
    assert [resource.key.kind for resource in file.resources] == ["EvalSet", "TrialBudget"]
    known = {resource.key for resource in (*resources("cloud-docs"), *file.resources)}
    assert {key for resource in file.resources for key in resource.references} <= known


@pytest.mark.parametrize("example", ["staffing", "cloud-docs", "knowledge-base", "two-readers"])
def test_settings_are_valid(example: str) -> None:
    assert load_settings((EXAMPLES / example / "lakehouse.yaml").read_bytes(), {}).state.bucket == "primary"


@pytest.mark.parametrize("example", ["staffing", "cloud-docs"])
def test_every_generated_file_belongs_to_one_dataset(tmp_path: Path, example: str) -> None:
    if example == "cloud-docs":
        pytest.importorskip("botocore")
    subprocess.run([sys.executable, str(EXAMPLES / example / "generate.py"), str(tmp_path)], check=True, capture_output=True)
    generated = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    globs = [resource.document["spec"]["source"]["files"] for resource in resources(example) if resource.key.kind == "Dataset"]
    assert sorted(path for pattern in globs for path in tmp_path.glob(pattern)) == generated
