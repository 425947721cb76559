"""What a promotion costs those who search: the pointer, the searches beside it, the memory; and how long a cold build takes to open.

    python -m bench.swap [--chunks 100000] [--swaps 10]

Texts are those of `bench.search`; two hnsw builds of them differ by their seed. In one process, 64 searches are in flight without a pause,
first while nothing changes, then while the pointer of a real catalog goes from one build to the other and back, every few seconds. The
longest search of that time is told as well: a graph that hnswlib reads itself holds up whoever else runs. The pointer waits for two fsyncs,
which take as long as the disk has other things to write. Memory is what a process holds that is not mapped
(RssAnon), looked at from outside while one build takes the other's place: with room for both, and with room for one. A build is opened cold
when the system was told to forget the pages of its files; libraries are imported before, and LanceDB has connected once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.bars import Bar
from bench.daemon_process import ROOT
from bench.percentiles import milliseconds
from bench.report import write
from bench.search import CACHE, SEED, TARGET, documentation, make_corpus_of, make_world
from controllers.index.pointer import Cause, Pointer
from engines.embedding.registry import open_embedder
from engines.index_memory import Room
from engines.search import SearchService
from engines.search_answer import SearchRequest
from engines.vectors import builds
from engines.vectors.builds import BuildTask, open_build
from engines.vectors.recommend import recommend
from engines.vectors.registry import open_engine
from reconciler.allocator import keep_freed_memory
from state.buckets import Buckets
from state.catalog.catalog import Catalog
from state.catalog.index_changes import BuildAdded, CorpusAdded, Served
from state.catalog.indexes import Build, ServingManifest
from state.catalog.log import WriterId
from state.discards import Discards
from state.local_store import LocalStore
from state.reader import ObjectReader
from state.trials import TrialBook

IN_FLIGHT = 64
BETWEEN = 3.0
"""Seconds from one swap to the next."""
_LOOK_EVERY = 0.001
TURN = 0.0005
"""Seconds, as in a daemon."""


@dataclass(frozen=True)
class Lake:
    """An index with two builds, in a catalog of its own."""

    catalog: Catalog
    pointer: Pointer
    manifests: tuple[ServingManifest, ServingManifest]
    objects: ObjectReader


class Nobody:
    """Gets events, and answers filters."""

    def record_event(self, *event: object) -> None:
        """Keeps nothing."""

    async def keys(self, *given: object) -> pa.Array:
        """Of no row."""
        return pa.array([], pa.string())

    async def changed(self, *given: object) -> pa.Table:
        """Nothing."""
        return pa.table({})


def lake(folder: Path, chunks: int) -> Lake:
    """Both builds recorded, the first serving."""
    recipe = recommend(max(chunks, 50_000))
    texts = documentation()[:chunks]
    made = [make_world(texts, {**recipe.build, "seed": seed}, recipe.search).build for seed in (100, 101)]
    buckets = Buckets()
    buckets.attach(TARGET)
    store = LocalStore(folder / "state", "primary")
    catalog = Catalog.open(store, writer=WriterId("bench", 1), clock=lambda: datetime.now(UTC))
    manifests = tuple(ServingManifest(build.digest, f"g{number}", dict(recipe.search)) for number, build in enumerate(made))
    corpus = make_corpus_of(texts)
    added = (CorpusAdded("Index/docs", corpus), *(BuildAdded("Index/docs", build) for build in made))
    catalog.commit((*added, Served("Index/docs", manifests[0])), actor="bench", reason="bench")
    trials: Any = TrialBook.__new__(TrialBook)  # not asked: no eval set measures the index
    nobody: Any = Nobody()
    pointer = Pointer(catalog, Discards(store, buckets, catalog), nobody, trials)
    return Lake(catalog, pointer, (manifests[0], manifests[1]), ObjectReader(buckets, CACHE, 0))


def service_of(world: Lake, room: Room | None = None) -> SearchService:
    """As a daemon has one: it follows the catalog."""
    nobody: Any = Nobody()
    service = SearchService(world.catalog, world.objects, nobody, room=room)
    loop = asyncio.get_running_loop()
    world.catalog.subscribe(lambda objects: loop.call_soon_threadsafe(service.follow, objects))
    return service


async def in_flight(world: Lake, questions: Sequence[str], swaps: int) -> dict[str, Any]:
    """Seconds of searches at rest and beside swaps, of the pointer, and until the first answer of the next build."""
    service = service_of(world)
    await service.search(SearchRequest("docs", questions[0]))
    taken: list[float] = []
    seen: dict[str, float] = {}
    errors = 0
    running = True

    async def ask(first: int) -> None:
        nonlocal errors
        at = first
        while running:
            started = time.perf_counter()
            try:
                result = await service.search(SearchRequest("docs", questions[at % len(questions)]))
            except Exception:  # noqa: BLE001  (counted: there must be none)
                errors += 1
            else:
                taken.append(time.perf_counter() - started)
                seen.setdefault(str(result.generation), time.perf_counter())
            at += IN_FLIGHT
            await asyncio.sleep(0)

    asking = [asyncio.create_task(ask(number)) for number in range(IN_FLIGHT)]
    await asyncio.sleep(BETWEEN)
    taken.clear()
    await asyncio.sleep(BETWEEN * 2)
    rest = milliseconds(taken)
    taken.clear()
    pointer: list[float] = []
    loaded: list[float] = []
    for number in range(swaps):
        manifest = world.manifests[(number + 1) % 2]
        seen.clear()
        started = time.perf_counter()
        pointer.append(await asyncio.to_thread(move, world, manifest))
        await asyncio.sleep(BETWEEN)
        loaded.append(seen[str(manifest.generation)] - started)
    beside = milliseconds(taken)
    running = False
    await asyncio.gather(*asking)
    service.close()
    return {
        "at_rest": rest,
        "beside_swaps": beside,
        "pointer": milliseconds(pointer),
        "first_answer_of_the_next": milliseconds(loaded),
        "errors": errors,
    }


def move(world: Lake, manifest: ServingManifest) -> float:
    """Seconds of the entry that moves the pointer, and of telling whoever follows it."""
    started = time.perf_counter()
    world.pointer.move("Index/docs", manifest, Cause("bench", "bench", None), "swap")
    return time.perf_counter() - started


async def swap_once(world: Lake, room: Room) -> None:
    """Loads the first build, waits for a word, and swaps under searches. Lines on standard output say how far it is."""
    service = service_of(world, room)
    open_embedder().embed(["warm"])
    print("empty", flush=True)
    sys.stdin.readline()
    await service.search(SearchRequest("docs", "warm"))
    print("one", flush=True)
    sys.stdin.readline()
    await asyncio.to_thread(move, world, world.manifests[1])
    generation: str | None = "g0"
    while generation != "g1":
        generation = (await service.search(SearchRequest("docs", "another question"))).generation
        await asyncio.sleep(0)
    print("swapped", flush=True)
    sys.stdin.readline()
    service.close()


def memory(chunks: int, *, both: bool) -> dict[str, float]:
    """MiB that are not mapped: of one build, and the most while another takes its place; and the ratio."""
    command = (sys.executable, "-m", "bench.swap", "--chunks", str(chunks), "--child", "both" if both else "one")
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None

    def until(word: str) -> None:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        if line != word:
            raise RuntimeError(f"the child said {line!r}, not {word!r}")

    def go_on() -> None:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()

    most, stop = [0.0], threading.Event()

    def look() -> None:
        while not stop.wait(_LOOK_EVERY):
            most[0] = max(most[0], anonymous_mib(process.pid))

    with process:
        until("empty")
        empty = anonymous_mib(process.pid)
        go_on()
        until("one")
        one = anonymous_mib(process.pid) - empty
        looking = threading.Thread(target=look)
        looking.start()
        go_on()
        until("swapped")
        stop.set()
        looking.join()
        after = anonymous_mib(process.pid) - empty
        go_on()
    peak = most[0] - empty
    found = {"one_mib": one, "peak_mib": peak, "after_mib": after, "peak_over_one": peak / one}
    return {name: round(value, 3) for name, value in found.items()}


def anonymous_mib(pid: int) -> float:
    """What a process holds that is in no file."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1024


def cold(chunks: int) -> dict[str, Any]:
    """Seconds to open each engine's build, its files' pages forgotten, and to answer once."""
    texts = documentation()[:chunks]
    corpus = make_corpus_of(texts)
    found = {}
    recipes = {"hnsw": dict(recommend(max(chunks, 50_000)).build), "lance": {}}
    for engine, parameters in recipes.items():
        recipe = open_engine(engine).recipe(parameters)
        corpus_path = str(Path(TARGET.root or "", corpus.ref.key))
        task = BuildTask(corpus, corpus_path, None, engine, recipe.build, TARGET, "builds")
        kept = CACHE / f"cold-{task.digest}.json"
        if kept.exists():
            build = Build.from_dict(json.loads(kept.read_text()))
        else:
            build = builds.run(task, lambda done, total: None)
            kept.write_text(json.dumps(build.to_dict()))
        paths = {role: Path(TARGET.root or "", ref.key) for role, ref in build.files.items()}
        open_build(build, paths, recipe.search)  # imports, and connects
        opened = [_opened_cold(build, paths, recipe.search) for _ in range(5)]
        found[engine] = {"open_s": sorted(first for first, _ in opened)[2], "first_answer_s": sorted(second for _, second in opened)[2]}
    return found


def _opened_cold(build: Build, paths: Mapping[str, Path], search: Mapping[str, Any]) -> tuple[float, float]:
    for path in paths.values():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    started = time.perf_counter()
    index, table = open_build(build, paths, search)
    opened = time.perf_counter() - started
    table.rows(index.search(np.full(index.dimension, index.dimension**-0.5, dtype=np.float32), 10)[0])
    return round(opened, 4), round(time.perf_counter() - started, 4)


def main() -> None:
    """Measure, and write bench/results/swap.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--swaps", type=int, default=10)
    parser.add_argument("--child", choices=("both", "one"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    sys.setswitchinterval(TURN)
    keep_freed_memory()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        world = lake(folder, options.chunks)
        if options.child is not None:
            asyncio.run(swap_once(world, Room(0 if options.child == "both" else 1)))
            return
        questions = documentation()[options.chunks : options.chunks + 500]
        searches = asyncio.run(in_flight(world, questions, options.swaps))
    held = {name: memory(options.chunks, both=name == "both_fit") for name in ("both_fit", "one_fits")}
    opened = cold(options.chunks)
    figures = {"chunks": options.chunks, "in_flight": IN_FLIGHT, "searches": searches, "memory": held, "cold": opened}
    scale = "loop_cpu_seconds"
    bars = (
        Bar("pointer swap beside 64 searches, p99", "ms", searches["pointer"]["p99_ms"], 10, scale=scale),
        Bar("searches beside swaps over searches at rest, p99", "x", searches["beside_swaps"]["p99_ms"] / searches["at_rest"]["p99_ms"], 2),
        Bar("searches that failed beside swaps", "", searches["errors"], 0),
        Bar("memory during a swap over one build's, where both do not fit", "x", held["one_fits"]["peak_over_one"], 1.2),
        Bar("loading 100K x 256 cold, hnsw", "s", opened["hnsw"]["open_s"], 0.3, scale=scale),
        Bar("loading 100K x 256 cold, lance", "s", opened["lance"]["open_s"], 0.2, scale=scale),
    )
    write("swap", figures, bars=bars, seed=SEED, data=f"{options.chunks} of botocore's documentation strings, 256 numbers each")


if __name__ == "__main__":
    main()
