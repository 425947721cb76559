"""What `lakectl describe` shows of a dataset's own words, within the terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest

from reconciler.lakectl.dataset_page import dataset_lines
from reconciler.lakectl.terminal import Terminal, text_width


def column(name: str, kind: str = "string", **given: Any) -> dict[str, Any]:
    known = {"description": None, "sensitivity": [], "evidence": None, "entities": [], "nullShare": 0.0, "distinct": 3}
    return {"id": 1, "name": name, "type": kind, **known, "min": None, "max": None, "examples": [], **given}


DOCUMENT = {
    "description": "6 columns, 100,000 rows from 12 files: candidate_id (key), mail, salary, city, notes, and 1 more; contains pii in mail",
    "drafted": True,
    "owner": "recruiting-ops",
    "tags": ["staffing", "people"],
    "sensitivity": ["pii", "financial"],
    "columns": [
        column("candidate_id", min="C-000001", max="C-100000", distinct=100_123),
        column("mail", sensitivity=["pii"], entities=["email"], nullShare=0.004),
        column("salary", "decimal(10,2)", sensitivity=["pii", "financial"], entities=["amount"], nullShare=None, distinct=None),
        column("city", min="Aachen", max="Aachen"),
        column("a_column_with_a_name_that_is_longer_than_it_is_wide", description="What somebody\nwrote \x1b[31mof it", nullShare=1.0),
        column("straße", min="a" * 60, max="z" * 60),
    ],
    "bindings": [
        {
            "path": f"data/candidates/a-rather-long-folder-name/export-{number}.csv",
            "digest": f"{number:064x}",
            "size": 1,
            "present": number != 1,
        }
        for number in range(12)
    ],
    "lineage": [
        {"fromKind": "content", "fromName": f"{0:064x}", "toKind": "job", "toName": "1234567890abcdef"},
        {"fromKind": "job", "fromName": "1234567890abcdef", "toKind": "dataset", "toName": "candidates"},
    ],
}


def shown(width: int) -> list[str]:
    return list(dataset_lines(DOCUMENT, Terminal(io.StringIO(), io.StringIO(), width=width)))


def test_the_page(golden: Any) -> None:
    golden.check("dataset-page.txt", "\n".join(shown(80)))


@pytest.mark.parametrize("width", [80, 100, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert [line for line in shown(width) if text_width(line) > width or not line.isprintable()] == []


def test_files_that_are_not_told_have_no_heading() -> None:
    lines = list(dataset_lines({**DOCUMENT, "bindings": [], "lineage": []}, Terminal(io.StringIO(), io.StringIO(), width=80)))
    assert "sources" not in lines
    assert lines[-1].strip()
