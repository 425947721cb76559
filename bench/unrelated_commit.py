"""What a commit costs that concerns no object, over a thousand and a hundred thousand resources; and starting and relisting over as many.

    python -m bench.unrelated_commit [--commits 60] [--worlds datasets,documents,files]

`datasets` are 1 000 resources with data. `documents` and `files` are 100 000 without any, a hundred to a file or one: what is measured
there does not depend on what an object is, and ingesting as many would take longer than it would tell. CPU is the daemon's own over all
commits, less what it takes over the same time without any. Nothing is polled meanwhile: that would cost more than a commit.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.bars import Bar
from bench.daemon_process import Connection, DaemonProcess
from bench.report import Stopwatch, write
from bench.repository import BUCKET, HEAD, Repository, with_datasets
from reconciler.assembly import assemble
from reconciler.opening import Housekeeping, open_state
from reconciler.place import locate
from reconciler.settings import Settings

MANY, FEW = 100_000, 1_000
_SETTINGS = "work: {resync: 24h}\n"
"""Looking at all objects over and over is another cost than that of a commit, and a larger one."""
_EVERY = 0.25
_IDLE_SECONDS = 20
_STILL = 0.03


def workspaces(folder: Path, a_file: int) -> Repository:
    """A local bucket and 100 000 resources that nothing acts on, so many to a file."""
    repository = Repository(folder)
    repository.start([("README.md", "# Bench\n"), ("lakehouse.yaml", _SETTINGS), ("specs/primary.yaml", BUCKET), *_workspace_files(a_file)])
    return repository


def _workspace_files(a_file: int) -> Iterator[tuple[str, str]]:
    for first in range(0, MANY - 1, a_file):
        last = min(first + a_file, MANY - 1)
        yield f"specs/w{first:06d}.yaml", "---\n".join(_workspace(number) for number in range(first, last))


def _workspace(number: int) -> str:
    spec = f"{{owner: o{number % 50}, tier: weekly, subject: JOB-{number:06d}}}"
    return f"{HEAD}kind: Workspace\nmetadata: {{name: w{number:06d}}}\nspec: {spec}\n"


WORLDS: dict[str, tuple[int, Callable[[Path], Repository]]] = {
    "datasets": (FEW, lambda folder: with_datasets(folder, FEW)),
    "documents": (MANY, lambda folder: workspaces(folder, 100)),
    "files": (MANY, lambda folder: workspaces(folder, 1)),
}


def objects(folder: Path) -> dict[str, int]:
    """Everything in the lake but heartbeats, with the time of its last change."""
    found = {}
    for path in (folder / "lake").rglob("*"):
        if path.is_file() and "heartbeat" not in path.name:
            found[str(path.relative_to(folder))] = path.stat().st_mtime_ns
    return found


def quiet(daemon: DaemonProcess) -> float:
    """Waits until the daemon does nothing but watch: objects that were settled before are looked at after it is ready. Returns seconds."""
    began, still = time.perf_counter(), 0
    while still < 3:
        cpu = daemon.cpu_seconds()
        time.sleep(3)
        still = still + 1 if daemon.cpu_seconds() - cpu < _STILL * 3 else 0
        if time.perf_counter() - began > 900:
            raise TimeoutError("the daemon never comes to rest")
    return time.perf_counter() - began


def unrelated(daemon: DaemonProcess, repository: Repository, commits: int) -> dict[str, Any]:
    """CPU milliseconds a commit, and what was written meanwhile."""
    rest = quiet(daemon)
    before = objects(repository.folder)
    cpu, began = daemon.cpu_seconds(), time.perf_counter()
    time.sleep(_IDLE_SECONDS)
    idle = (daemon.cpu_seconds() - cpu) / (time.perf_counter() - began)
    cpu, began = daemon.cpu_seconds(), time.perf_counter()
    for number in range(commits):
        revision = repository.commit({"README.md": f"# Bench {number}\n"})
        time.sleep(_EVERY)
    spent, took = daemon.cpu_seconds() - cpu, time.perf_counter() - began
    written = sorted(name for name, changed in objects(repository.folder).items() if before.get(name) != changed)
    followed = Connection(daemon.url).get("/status?kind=Bucket")["revision"]  # the former one was idle for longer than a server keeps it
    if followed != revision:
        raise RuntimeError(f"the daemon is at {followed}, the last commit is {revision}")
    return {"cpu_ms": (spent - idle * took) * 1e3 / commits, "idle_cpu_share": idle, "written": written, "quiet_after": rest}


def relist(folder: Path) -> dict[str, float]:
    """Seconds, in this process: opening the state, reading every spec through the blob cache, and comparing every digest."""

    async def run() -> dict[str, float]:
        place, settings = locate(folder), Settings(listen="127.0.0.1:0")
        with Stopwatch() as opening:
            state = open_state(place, settings, address="")
        housekeeping = Housekeeping(state)
        try:
            assembly = await assemble(state, settings)
            with Stopwatch() as advancing:
                assembly.follower.advance()
            with Stopwatch() as listing:
                assembly.follower.relist()
            assembly.executor.shutdown()
        finally:
            housekeeping.close()
        watches = {"open_state": opening, "advance": advancing, "relist": listing}
        return {f"{name}{kind}": getattr(watch, at) for name, watch in watches.items() for kind, at in (("", "wall"), ("_cpu", "cpu"))}

    return asyncio.run(run())


def measure(name: str, commits: int) -> dict[str, Any]:
    """All figures of one world, in seconds unless named otherwise."""
    _, make = WORLDS[name]
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as folder:
        repository = make(Path(folder, "repository"))
        with DaemonProcess(repository.folder) as daemon:
            first = daemon.until_visited(1_800)
            first_cpu = daemon.cpu_seconds()
            quiet(daemon)
        with DaemonProcess(repository.folder) as daemon:
            cold = daemon.until_visited(600)
            cold_cpu = daemon.cpu_seconds()
            found = unrelated(daemon, repository, commits)
            pss = daemon.tree_pss_mib()
        starts = {"first_start": first, "first_start_cpu": first_cpu, "cold_start": cold, "cold_start_cpu": cold_cpu, "pss_mib": pss}
        return {**starts, **found, **relist(repository.folder)}


def main() -> None:
    """Measure, and write bench/results/unrelated_commit.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--commits", type=int, default=60)
    parser.add_argument("--worlds", default=",".join(WORLDS))
    options = parser.parse_args()
    figures = {name: _rounded(measure(name, options.commits)) for name in options.worlds.split(",")}
    bars = []
    for name, found in figures.items():
        count, must = WORLDS[name][0], 10 if WORLDS[name][0] == FEW else 50
        bars.append(Bar(f"unrelated commit, {count:,} ({name})", "ms CPU", found["cpu_ms"], must, None, "loop_cpu_seconds"))
        bars.append(Bar(f"objects written by it ({name})", "objects", len(found["written"]), 0))
        if count == MANY:
            bars.append(Bar(f"full relist, {count:,} ({name})", "s", found["relist"], 2, None, "loop_cpu_seconds"))
            bars.append(Bar(f"cold start, {count:,} ({name})", "s", found["cold_start"], 10, None, "loop_cpu_seconds"))
    write("unrelated_commit", figures, bars=bars, data="resources as named; README.md changed by each commit")


def _rounded(found: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in found.items()}


if __name__ == "__main__":
    main()
