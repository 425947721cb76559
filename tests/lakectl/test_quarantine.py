"""`lakectl quarantine`: rows that a contract set aside, at 80 columns and for programs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from conftest import Said

    Lakectl = Callable[..., Said]

SPEC = """\
apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: sheets}
spec:
  bucket: primary
  source: {files: "data/*.csv"}
  contract: {ranges: {hours: {max: 168}}, checks: "hours < 100 OR note IS NOT NULL"}
"""
ROWS = "id,hours,note\n1,40,\n2,200,\n3,120,\n4\n"


@pytest.fixture
def applied(in_folder: Path, lakectl: Lakectl) -> Path:
    """A lake in which three of four rows are set aside."""
    assert lakectl("init", "--commit").code == 0
    (in_folder / "data").mkdir(exist_ok=True)
    (in_folder / "data/a.csv").write_text(ROWS)
    (in_folder / "specs/sheets.yaml").write_text(SPEC)
    subprocess.run(["git", "add", "specs"], check=True, cwd=in_folder)
    subprocess.run(["git", "commit", "-qm", "x"], check=True, cwd=in_folder)
    assert lakectl("apply").code == 0
    return in_folder


def test_rows_with_place_reasons_and_text(applied: Path, lakectl: Lakectl) -> None:
    said = lakectl("quarantine", "sheets")
    assert said.code == 0
    assert said.out == (
        "sheets  data/a.csv:3  range: hours\n"
        "    `hours` is `200`, above 168; `hours < 100 OR note IS NOT NULL` does not hold\n"
        "    2,200,\n"
        "sheets  data/a.csv:4  check: hours < 100 OR note IS NOT NULL\n"
        "    `hours < 100 OR note IS NOT NULL` does not hold\n"
        "    3,120,\n"
        "sheets  data/a.csv:5  columns\n"
        "    the row has 1 cell, the header 3\n"
        "    4\n"
        "3 rows in quarantine\n"
    )


def test_filters_and_a_document(applied: Path, lakectl: Lakectl) -> None:
    document = lakectl("quarantine", "Dataset/sheets", "--rule", "range", "-o", "json").document
    assert [(row["line"], row["rule"], row["text"]) for row in document["quarantine"]] == [(3, "range: hours", "2,200,")]
    assert (document["total"], document["quarantine"][0]["key"]) == (1, None)
    assert lakectl("quarantine", "--rule", "rang").out == "0 rows in quarantine\n"
    assert lakectl("quarantine", "--source", "data/a.csv", "-n", "1").err == "note: these are the first 1; raise -n, or narrow them.\n"
    counted = lakectl("query", "SELECT count(*) AS n FROM system.quarantine WHERE dataset = 'sheets'", "-o", "json").document
    assert counted["rows"] == [{"n": 3}]


def test_a_text_without_a_vector_is_listed_by_its_rows_key(applied: Path, lakectl: Lakectl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.vectors.chunk_maker.embed", lambda model, texts: (np.zeros((len(texts), 256), np.float32), {0: "zero"}))
    texts = SPEC.replace("sheets", "texts").replace("data/", "texts/")
    texts = "".join(line for line in texts.splitlines(keepends=True) if "contract" not in line) + "  primaryKey: [id]\n  write: upsert\n"
    index = "apiVersion: lakehouse/v1\nkind: Index\nmetadata: {name: i}\nspec: {dataset: texts, text: [said]}\n"
    (applied / "texts").mkdir()
    (applied / "texts/a.csv").write_text("id,said\nT-1,hello\n")
    (applied / "specs/texts.yaml").write_text(f"{texts}---\n{index}")
    subprocess.run(["git", "add", "specs"], check=True, cwd=applied)
    subprocess.run(["git", "commit", "-qm", "y"], check=True, cwd=applied)
    assert lakectl("apply").code == 0
    said = lakectl("quarantine", "texts")
    assert said.out.splitlines()[0] == 'texts  Index/i:["T-1"]  vector: zero'
    sql = "SELECT text FROM system.quarantine WHERE key = '[\"T-1\"]'"
    assert lakectl("query", sql, "-o", "json").document["rows"] == [{"text": "hello"}]


def test_a_dataset_that_there_is_not(applied: Path, lakectl: Lakectl) -> None:
    said = lakectl("quarantine", "sheet")
    assert (said.code, said.err.splitlines()[0]) == (2, "error: there is no Dataset/sheet")


def test_before_anything_was_set_aside(in_folder: Path, lakectl: Lakectl) -> None:
    assert lakectl("init", "--commit").code == 0
    assert lakectl("apply").code == 0
    assert lakectl("quarantine").out == "0 rows in quarantine\n"
