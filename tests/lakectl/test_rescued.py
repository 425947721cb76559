"""What `lakectl` says of answers that a rescue bucket gave, where no daemon runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from harness_daemon import Repository

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Said

    Lakectl = Callable[..., Said]

SPECS = """
apiVersion: lakehouse/v1
kind: Bucket
metadata: {name: primary}
spec: {local: {path: lake}}
---
apiVersion: lakehouse/v1
kind: Bucket
metadata: {name: archive}
spec: {local: {path: archive}, rescue: {bucket: mirror}}
---
apiVersion: lakehouse/v1
kind: Bucket
metadata: {name: mirror}
spec: {local: {path: mirror}}
---
apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: people}
spec: {bucket: archive, source: {files: "data/people/*.csv"}}
---
apiVersion: lakehouse/v1
kind: Index
metadata: {name: cities}
spec: {dataset: people, text: [city]}
"""
NOTE = "note: rescue bucket mirror answered in another's place; see `lakectl errors`.\n"
COUNT, SEARCH = ("query", "SELECT count(*) AS n FROM people"), ("search", "cities", "Chicago")


@pytest.fixture
def moved(in_folder: Path, lakectl: Lakectl) -> Repository:
    """Every object of a bucket is in its rescue bucket only."""
    repository = Repository(in_folder)
    repository.write("data/people/a.csv", "id,city\n1,Chicago\n2,Boston\n")
    repository.commit(all=SPECS)
    assert lakectl("apply").code == 0
    shutil.copytree(repository.path / "archive", repository.path / "mirror", dirs_exist_ok=True)
    for folder in ("datasets", "indexes"):
        shutil.rmtree(repository.path / "archive" / folder)
    return repository


def test_notes_and_rows(moved: Repository, lakectl: Lakectl) -> None:
    for words in (COUNT, (*COUNT, "-o", "csv"), SEARCH):
        said = lakectl(*words)
        assert (said.code, said.err) == (0, NOTE)
    for words in (COUNT, SEARCH):
        said = lakectl(*words, "-o", "json")
        assert (said.document["rescues"], said.err) == (["mirror"], "")
    found = lakectl("errors", "--bucket", "archive", "-o", "json").document["errors"]
    assert {(row["op"], row["class"], row["rescueBucket"]) for row in found} == {("get", "object-missing", "mirror")}
