"""ADR 18 shows what `make bench-lance` found; `make golden` writes the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "bench" / "results" / "lance.json"
PAGE = ROOT / "docs" / "adr" / "0018-lance-beside-hnsw.md"
BEGIN, END = "<!-- lance: begin (written by `make golden` from bench/results/lance.json) -->\n", "<!-- lance: end -->"
COLUMNS = {
    "build, CPU s": ("build_cpu_seconds",),
    "from disk, s": ("load_from_disk_seconds",),
    "cached, s": ("load_seconds",),
    "recall@10": ("recall_at_10",),
    "p50 / p99, us": ("p50_us", "p99_us"),
    "CPU, us": ("cpu_us",),
    "memory / mapped, MiB": ("memory_mib", "mapped_mib"),
    "disk, MiB": ("disk_mib",),
    "append, s": ("append_seconds", "append_folded_seconds"),
}


def table(document: dict[str, Any]) -> str:
    names = ("vectors", "index", "search", *COLUMNS, "load, latency: word")
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for count, indexes in document["figures"]["sizes"].items():
        lines += [f"| {int(count):,} | {name} | {' | '.join(cells(found))} |" for name, found in indexes.items()]
    machine, ceiling = document["machine"], document["figures"]["ceiling"]
    limit = f"hnsw's ceiling: {ceiling['bytes_a_vector']:,} bytes a vector, {ceiling['vectors']:,} vectors in that memory."
    measured = f"Measured on {document['date'][:10]}: {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB."
    return "\n".join(
        (*lines, "", f"The rule says: **{document['figures']['verdict']}**. {measured} {limit}", "", document["data"] + ".", "")
    )


def cells(found: dict[str, Any]) -> list[str]:
    search = " ".join(f"{name}={value}" for name, value in (found["search"] or {}).items())
    return [search or "out of reach", *(figures(found, names) for names in COLUMNS.values()), ruled(found.get("rule"))]


def figures(found: dict[str, Any], names: tuple[str, ...]) -> str:
    return " / ".join(f"{found[name]:,.3g}" if found[name] < 1000 else f"{found[name]:,.0f}" for name in names if name in found)


def ruled(rule: dict[str, Any] | None) -> str:
    if rule is None:
        return ""
    return (
        rule["verdict"] if rule["load_ratio"] is None else f"{rule['load_ratio']:.3g} x, {rule['latency_ratio']:.3g} x: {rule['verdict']}"
    )


def test_the_decision_shows_what_was_measured(golden: Any) -> None:
    wanted = table(json.loads(RESULT.read_text(encoding="utf-8")))
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    listed, _, after = rest.partition(END)
    if golden.update:
        PAGE.write_text(f"{before}{BEGIN}{wanted}{END}{after}", encoding="utf-8")
        return
    assert listed == wanted, "ADR 18 differs from bench/results/lance.json; if the change is meant, run pytest --update-golden"


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        (
            {"search": None, "recall_at_10": 0.91, "build_cpu_seconds": 1234.5, "rule": {"verdict": "close", "load_ratio": None}},
            "out of reach",
        ),
        ({"search": {"ef": 12, "refineFactor": 2}, "recall_at_10": 0.97, "build_cpu_seconds": 2}, "ef=12 refineFactor=2"),
    ],
)
def test_an_index_that_misses_the_recall_has_a_row_too(found: dict[str, Any], shown: str) -> None:
    row = cells(found)
    assert row[0] == shown
    assert len(row) == len(COLUMNS) + 2
