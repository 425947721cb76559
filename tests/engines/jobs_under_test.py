"""Functions that the tests of the executor run as jobs, in its worker processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.errors import FileRefused
from engines.jobs.job import Progress
from engines.jobs.timed import timed
from state.buckets import job_store
from state.errors import ObjectCorrupt
from state.local_store import LocalStore
from state.places import BucketConfig


def add(arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    progress(1, 1)
    print("what a job prints is no message")
    return {"sum": sum(arguments["numbers"]), "pid": os.getpid(), "nice": os.nice(0)}


def log_and_wait(arguments: Mapping[str, Any], progress: Progress) -> int:
    """Appends its pid to a file, then waits until another file exists (or for ever)."""
    with Path(arguments["log"]).open("a") as log:
        log.write(f"{os.getpid()}\n")
    progress(3, 10)
    while not Path(arguments["gate"]).exists():
        time.sleep(0.005)
    return os.getpid()


def refuse(arguments: Mapping[str, Any], progress: Progress) -> None:
    raise FileRefused("data/a.csv", 17, "it has 4 cells where the header has 5", remedy="Add the cell.")


def find_damage(arguments: Mapping[str, Any], progress: Progress) -> None:
    raise ObjectCorrupt("lake", "a/b", expected="3 bytes", found="2 bytes")


def stumble(arguments: Mapping[str, Any], progress: Progress) -> None:
    raise ZeroDivisionError(arguments["message"])


def die(arguments: Mapping[str, Any], progress: Progress) -> int:
    """Kills its process, unless a file says that it has done so often enough."""
    log = Path(arguments["log"])
    deaths = len(log.read_text()) if log.exists() else 0
    if deaths < arguments["deaths"]:
        log.write_text("x" * (deaths + 1))
        os.kill(os.getpid(), signal.SIGKILL)
    return deaths


def fill(arguments: Mapping[str, Any], progress: Progress) -> None:
    raise OSError(arguments["errno"], "No space left on device")


def hold(arguments: Mapping[str, Any], progress: Progress) -> int:
    """Holds so many bytes until a file exists, which no test makes."""
    held = bytearray(b"x" * arguments["bytes"])
    while not Path(arguments["gate"]).exists():
        time.sleep(0.005)
    return len(held)


def spin(arguments: Mapping[str, Any], progress: Progress) -> float:
    """Takes so many CPU seconds; how many it took."""
    while (taken := time.process_time()) < arguments["seconds"]:
        pass
    return taken


def time_something(arguments: Mapping[str, Any], progress: Progress) -> str:
    with timed():
        return "timed"


def leave(arguments: Mapping[str, Any], progress: Progress) -> None:
    sys.exit(3)


def return_nonsense(arguments: Mapping[str, Any], progress: Progress) -> object:
    return object()


def stage(arguments: Mapping[str, Any], progress: Progress) -> None:
    LocalStore(Path(arguments["root"])).stage()


def put(arguments: Mapping[str, Any], progress: Progress) -> None:
    job_store(BucketConfig.from_dict(arguments["bucket"])).put("a/b", b"content")
