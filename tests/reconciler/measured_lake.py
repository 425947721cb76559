"""What tests of eval sets start from: an index over texts of words that the model knows, and who asks for trials of it."""

from __future__ import annotations

import json
import random
from typing import Any

from small_lake import BUCKET, Bench, dataset, generation, index

from state.catalog.indexes import EvalTruth, IndexRecord
from state.requests import Request
from state.status import Status

_TEXT = """java python nurse chef warehouse driver welder teacher lawyer cloud kubernetes hospital pastry forklift night shift senior
    junior remote chicago berlin lagos osaka lima contract finance audit sales marketing robotics battery solar wind garden bakery school
    clinic court"""
WORDS = _TEXT.split()
KEYED = ", primaryKey: [id], write: upsert"
FLAT, HNSW = generation("exact", "i"), generation("graph", "i", "hnsw: {m: 8, efConstruction: 40, efSearch: 40}")


def rows(count: int, seed: int = 1, first: int = 0) -> str:
    """Distinct texts of words that the model knows."""
    draw = random.Random(seed)
    return "id,text\n" + "".join(f"{at},{' '.join(draw.sample(WORDS, 12))} {at}\n" for at in range(first, first + count))


def eval_set(name: str, more: str = "generate: {queries: 60, seed: 7}", of: str = "i", k: int = 10) -> str:
    return f"apiVersion: lakehouse/v1\nkind: EvalSet\nmetadata: {{name: {name}}}\nspec: {{index: {of}, k: {k}, {more}}}\n"


def record(bench: Bench) -> IndexRecord:
    known = bench.catalog.index("i")
    assert known is not None
    return known


def truth(bench: Bench, name: str = "e") -> EvalTruth:
    return record(bench).truths[name]


def lake(bench: Bench, *more: str, count: int = 400, spec: str = "") -> dict[str, Status]:
    bench.write("data/x/1.csv", rows(count))
    bench.commit(BUCKET, dataset("x", KEYED), index("i", "x", more=spec), *more)
    return bench.settle()


def trials(bench: Bench) -> list[dict[str, Any]]:
    return list(bench.streams.read("trials"))


def ask(bench: Bench, payload: dict[str, Any], of: str = "Index/i") -> dict[str, Any]:
    """How a request for a trial ended."""
    number = len(list(bench.streams.read("requests")))
    bench.requests.submit(Request(f"01J0000000000000000000{number:04d}", "trial-run", of, "ann", "a test", payload))
    for key in bench.operator.answer():
        bench.reconciler.visit(key)
    return list(bench.streams.read("requests"))[-1]


def given(bench: Bench, *queries: dict[str, Any] | str) -> None:
    lines = (query if isinstance(query, str) else json.dumps(query) for query in queries)
    bench.write("evals/q.jsonl", "".join(f"{line}\n" for line in lines))


GIVEN = 'queries: "evals/q.jsonl"'
