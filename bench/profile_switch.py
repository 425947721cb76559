"""A switch of profiles: from the commit to Ready, and how fast the first search after that is.

    python -m bench.profile_switch [--texts 100000] [--rows 1000000] [--switches 5]

One daemon over two profiles, each with an index of 100 000 real texts (`bench/search.py` says which) of its own and a pinned table of a
million rows; one profile is active. Each switch is one commit that takes `active` from the one and gives it to the other: measured from
the commit until that one is Ready, then the first search and the first query, and the p50 of those that follow. Memory is that of the
daemon before and after, proportional. The last figure is of a profile that searches the same graph otherwise: what it adds to memory.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.bars import Bar
from bench.corpora import documentation
from bench.daemon_process import DaemonProcess, pss_mib
from bench.report import write
from bench.repository import BUCKET, HEAD, Repository, dataset
from bench.search import SEED, K

_NAMES = ("one", "two")
_WARM = 300
_PAUSE = 2.0
"""Seconds between a switch and the next, in which the daemon ends what the last one left."""
_GRAPH = "hnsw: {m: 32, efConstruction: 80, efSearch: 100}"


def repository(folder: Path, texts: Sequence[str], rows: int) -> Repository:
    """Two profiles, each over an index and a table of its own."""
    made = Repository(folder)
    files = [("specs/primary.yaml", BUCKET)]
    made.data("data/README", "made by the benchmark\n")
    for name in _NAMES:
        table = pa.table({"id": range(len(texts)), "text": [f"{text} {name}" for text in texts]})
        pq.write_table(table, folder / "data" / f"texts-{name}.parquet")
        numbers = pa.array(range(rows), pa.int64())
        pq.write_table(pa.table({"id": numbers, "city": [f"city {n % 97}" for n in range(rows)]}), folder / "data" / f"rows-{name}.parquet")
        index = f"dataset: texts-{name}, text: [text], embed: {{model: builtin}}"
        files += [
            (f"specs/texts-{name}.yaml", dataset(f"texts-{name}", f"data/texts-{name}.parquet", "Texts", ", primaryKey: [id]")),
            (
                f"specs/rows-{name}.yaml",
                dataset(f"rows-{name}", f"data/rows-{name}.parquet", "Rows", ", primaryKey: [id], cache: {pin: true}"),
            ),
            (f"specs/docs-{name}.yaml", f"{HEAD}kind: Index\nmetadata: {{name: docs-{name}}}\nspec: {{{index}}}\n"),
            (f"specs/docs-{name}-g.yaml", _document("IndexGeneration", f"docs-{name}-g", f"index: docs-{name}, {_GRAPH}")),
        ]
    made.start([*files, *active("one").items()])
    return made


def active(chosen: str) -> dict[str, str]:
    """Specs of both profiles, one of them active."""
    return {f"specs/{name}.yaml": _profile(name, name == chosen) for name in _NAMES}


def _profile(name: str, is_active: bool, of: str | None = None, more: str = "") -> str:
    bound = f"datasets: [rows-{of or name}], indexes: [docs-{of or name}]"
    return _document("Profile", name, f"{bound}, active: {str(is_active).lower()}{more}")


def _document(kind: str, name: str, spec: str) -> str:
    return f"{HEAD}kind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"


def switched(daemon: DaemonProcess, made: Repository, to: str, questions: Sequence[str]) -> dict[str, float]:
    """Seconds until Ready, milliseconds of the first search and query, and the p50 of the next."""
    began = time.perf_counter()
    revision = made.commit(active(to))
    daemon.until_applied("Profile", to, revision, 120)
    ready = time.perf_counter() - began
    searches = [_milliseconds(daemon, "/search", {"index": f"docs-{to}", "text": text, "k": K}) for text in questions[: _WARM + 1]]
    sql = f"SELECT city, count(*) FROM rows_{to} WHERE id % 7 = 1 GROUP BY city ORDER BY city LIMIT 3"
    queries = [_milliseconds(daemon, "/query", {"sql": sql}) for _ in range(31)]
    return {
        "ready_seconds": round(ready, 3),
        "first_search_ms": round(searches[0], 3),
        "search_p50_ms": round(statistics.median(searches[1:]), 3),
        "first_query_ms": round(queries[0], 3),
        "query_p50_ms": round(statistics.median(queries[1:]), 3),
        "daemon_pss_mib": round(pss_mib(daemon.pid), 1),
    }


def _milliseconds(daemon: DaemonProcess, path: str, body: dict[str, Any]) -> float:
    began = time.perf_counter()
    daemon.connection.post(path, body)
    return (time.perf_counter() - began) * 1e3


def shared(daemon: DaemonProcess, made: Repository, active_one: str) -> dict[str, float]:
    """MiB of the daemon before and after a profile is active that searches the graph which is open by another breadth."""
    before = pss_mib(daemon.pid)
    more = ", engine: {hnsw: {efSearch: 200}}"
    revision = made.commit({"specs/wider.yaml": _profile("wider", True, active_one, more)})
    daemon.until(lambda: bool(daemon.connection.get("/status?kind=Profile&name=wider")["objects"]), 60)
    daemon.until_applied("Profile", "wider", revision, 120)
    return {"before_mib": round(before, 1), "after_mib": round(pss_mib(daemon.pid), 1)}


def main() -> None:
    """Measure, and write bench/results/profile_switch.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--switches", type=int, default=5)
    options = parser.parse_args()
    texts = documentation()
    questions = texts[options.texts : options.texts + _WARM + 1]
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as folder:
        made = repository(Path(folder, "repository"), texts[: options.texts], options.rows)
        with DaemonProcess(made.folder) as daemon:
            daemon.until_ready(1_800)
            found = []
            for number in range(options.switches):
                time.sleep(_PAUSE)
                found.append(switched(daemon, made, _NAMES[(number + 1) % 2], questions))
            beside = shared(daemon, made, _NAMES[options.switches % 2])
    ready = statistics.median(one["ready_seconds"] for one in found)
    ratio = statistics.median(one["first_search_ms"] / one["search_p50_ms"] for one in found)
    figures = {"switches": found, "ready_seconds": ready, "first_search_over_p50": round(ratio, 2), "same_graph_otherwise": beside}
    bars = (
        Bar("switch of profile, from commit to Ready", "s", ready, 1, None, "loop_cpu_seconds"),
        Bar("first search after Ready, over the warm p50", "x", round(ratio, 2), 2),
    )
    data = f"2 x {options.texts} of botocore's documentation strings, 2 x {options.rows} pinned rows"
    write("profile_switch", figures, bars=bars, seed=SEED, data=data)


if __name__ == "__main__":
    main()
