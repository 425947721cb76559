"""Ten minutes of a TrialBudget that nobody looks after: what it finds, what serves meanwhile, and what becomes of rows that arrive later.

    python -m bench.unattended [--texts 100000] [--minutes 10] [--gate 0.97]

A repository declares 100 000 real texts, an Index of them whose one generation is the widespread default (hnsw, M 16, efConstruction 80,
efSearch 30), an EvalSet and a TrialBudget; it is committed once, and `lakectl daemon` does the rest. Four searches a second are sent all
the while: none may fail, and each answer names what it is from. When the budget has ended, a quarter more texts are laid beside the first
ones: the index is built over them, and what serves is measured again. Figures of trials are read from GET /hnsw/trials/docs, as any user
would read them; promotions are events.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from bench.bars import Bar
from bench.corpora import texts as real_texts
from bench.daemon_process import Connection, DaemonProcess
from bench.percentiles import milliseconds
from bench.report import write
from bench.repository import BUCKET, HEAD, Repository, dataset
from bench.search import SEED, K

DEFAULT = {"m": 16, "efConstruction": 80, "efSearch": 30}
_EVERY = 0.25
_EVENTS = "SELECT at, reason, message FROM system.events WHERE object = 'Index/docs' AND reason = 'Promoted' ORDER BY at"
_ENDED = "SELECT at FROM system.tuning WHERE step = 'ended'"


def specs(minutes: float, gate: float) -> list[tuple[str, str]]:
    """What is committed, once."""
    default = ", ".join(f"{name}: {value}" for name, value in DEFAULT.items())
    space = "space: {engine: [hnsw], m: [8, 48], efConstruction: [16, 400], efSearch: [10, 400]}"
    limits = f"limits: {{trials: 40, wallClock: {round(minutes * 60)}s, memory: 4GiB, cpuShare: 0.5}}"
    rest = f"{limits}, gate: {{recallAt10: {gate}}}, objective: latencyP95, promote: auto, onAppend: retrial"
    return [
        ("README.md", "# Bench\n"),
        ("specs/primary.yaml", BUCKET),
        ("specs/texts.yaml", dataset("texts", "data/*.parquet", "Texts", ", primaryKey: [id]")),
        ("specs/docs.yaml", _document("Index", "docs", "dataset: texts, text: [text], embed: {model: builtin}")),
        ("specs/default.yaml", _document("IndexGeneration", "docs-default", f"index: docs, hnsw: {{{default}}}")),
        ("specs/eval.yaml", _document("EvalSet", "docs-eval", "index: docs, k: 10, generate: {queries: 500, seed: 7}")),
        ("specs/tuning.yaml", _document("TrialBudget", "docs-tuning", f"index: docs, evalSet: docs-eval, {space}, {rest}")),
    ]


def _document(kind: str, name: str, spec: str) -> str:
    return f"{HEAD}kind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"


def lay(folder: Path, name: str, texts: Sequence[str], first: int) -> None:
    """A file of rows, there all at once. first: the id of the first."""
    whole = folder / f"{name}.part"
    pq.write_table(pa.table({"id": range(first, first + len(texts)), "text": list(texts)}), whole)
    whole.rename(folder / "data" / f"{name}.parquet")


@dataclass
class Searches:
    """Four a second from `__enter__` to `__exit__`, over a connection of their own.

    seconds: of each answer. served: seconds since the begin at which each generation answered first. failed: what else was answered.
    """

    url: str
    questions: Sequence[str]
    seconds: list[float] = field(default_factory=list)
    served: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    unnamed: int = 0

    def __enter__(self) -> Self:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        connection, begun, number = Connection(self.url), time.perf_counter(), 0
        while not self._ended.wait(_EVERY):
            started = time.perf_counter()
            try:
                answer = connection.post("/search", {"index": "docs", "text": self.questions[number % len(self.questions)], "k": K})
            except RuntimeError as problem:
                self.failed.append(str(problem))
            else:
                self.seconds.append(time.perf_counter() - started)
                self.unnamed += not answer["generation"]
                self.served.setdefault(str(answer["generation"]), round(started - begun, 1))
            number += 1
        connection.close()


def query(connection: Connection, sql: str) -> list[dict[str, Any]]:
    """Rows of an answer."""
    return list(connection.post("/query", {"sql": sql})["rows"])


def trials(connection: Connection) -> list[dict[str, Any]]:
    """All of them, newest first."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = connection.get(f"/hnsw/trials/docs?limit=100{cursor}")
        found += page["trials"]
        if page["cursor"] is None:
            return found
        cursor = f"&cursor={page['cursor']}"


def told(trial: dict[str, Any] | None) -> dict[str, Any] | None:
    """What a figure says of a trial."""
    names = ("generation", "params", "recall_at_10", "recall_low", "p95_us", "build_cpu_seconds", "proposed_by", "promoted")
    return trial and {name: trial[name] for name in names}


def unattended(
    daemon: DaemonProcess, folder: Path, later: Sequence[str], questions: Sequence[str], options: argparse.Namespace
) -> dict[str, Any]:
    """From the start of the budget to the end of what the arriving rows ask for."""
    connection = daemon.connection
    with Searches(daemon.url, questions) as searches:
        begun = time.perf_counter()
        daemon.until(lambda: bool(query(connection, _ENDED)), options.minutes * 60 + 600, every=1)
        took, found = time.perf_counter() - begun, trials(connection)
        best = connection.get(f"/hnsw/trials/docs/best?gate={options.gate}")
        promoted = query(connection, _EVENTS)
        before = time.perf_counter()
        lay(folder, "later", later, options.texts)
        snapshots = {trial["snapshot"] for trial in found}
        daemon.until(lambda: _again(connection, snapshots), options.minutes * 60 + 600, every=1)
        daemon.until(lambda: not daemon.unready(), 900, every=1)
        enough = len(searches.seconds) + 4
        daemon.until(lambda: len(searches.seconds) >= enough, 60)
        after = time.perf_counter() - before
    serving = next((trial for trial in trials(connection) if trial["promoted"] and trial["snapshot"] not in snapshots), None)
    default = next((trial for trial in found if trial["generation"] == "docs-default" and trial["fidelity"] >= 1), None)
    return {
        "seconds": round(took, 1),
        "trials": len(found),
        "of_a_share": sum(trial["fidelity"] < 1 for trial in found),
        "above_the_gate": best["above"],
        "default": told(default),
        "best": told(best["best"]),
        "promotions": [f"{row['at']} {row['message']}" for row in promoted],
        "searches": {
            **milliseconds(searches.seconds),
            "count": len(searches.seconds),
            "failed": len(searches.failed),
            "of_no_generation": searches.unnamed,
            "first_answer_at_seconds": searches.served,
        },
        "rows_that_arrive": {"count": len(later), "seconds_until_all_is_measured": round(after, 1), "serving": told(serving)},
    }


def _again(connection: Connection, snapshots: set[str]) -> bool:
    """Whether what serves is built over other rows, and measured there."""
    return any(trial["promoted"] and trial["snapshot"] not in snapshots for trial in connection.get("/hnsw/trials/docs?limit=20")["trials"])


def main() -> None:
    """Measure, and write bench/results/unattended.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--gate", type=float, default=0.97)
    options = parser.parse_args()
    texts, held_out, made_of = real_texts(options.texts * 5 // 4)
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as name:
        made = Repository(Path(name, "repository"))
        made.data("data/README", "made by the benchmark\n")
        lay(made.folder, "first", texts[: options.texts], 0)
        made.start(specs(options.minutes, options.gate))
        with DaemonProcess(made.folder) as daemon:
            daemon.until(lambda: _serves(daemon.connection, held_out[0]), 1_800, every=0.5)
            serving = time.perf_counter() - daemon.started
            found = unattended(daemon, made.folder, texts[options.texts :], held_out, options)
    figures = {"gate": options.gate, "from_nothing_to_serving_seconds": round(serving, 1), **found}
    bars = (
        Bar("searches that failed while a budget worked alone", "", found["searches"]["failed"], 0),
        Bar("promotions by a budget that worked alone", "", len(found["promotions"]), 1, at_least=True),
        Bar(
            "recall@10 of what it had serve, the lower bound",
            "",
            (found["best"] or {"recall_low": 0.0})["recall_low"],
            options.gate,
            at_least=True,
        ),
    )
    kinds = ", ".join(f"{count} {kind}" for kind, count in made_of.items())
    write("unattended", figures, bars=bars, seed=SEED, data=f"{options.texts} texts, then a quarter more, of {kinds}")


def _serves(connection: Connection, question: str) -> bool:
    status, _ = connection.ask("POST", "/search", json.dumps({"index": "docs", "text": question, "k": 1}).encode())
    return status == 200


if __name__ == "__main__":
    main()
