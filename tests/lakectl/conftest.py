"""Lakehouses as lakectl finds them: real states in a folder, at a fixed time, and a terminal of 80 columns that is read back."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from reconciler.footprint import STATE_KEY, write_ahead
from reconciler.lakectl.environment import Environment
from reconciler.lakectl.main import run
from reconciler.lakectl.terminal import Terminal
from state import reasons
from state.catalog.catalog import Catalog
from state.catalog.log import WriterId
from state.lease import Holder, Lease
from state.local_store import LocalStore
from state.requests import RequestQueue
from state.status import Condition, ConditionType, Status
from state.status_book import StatusBook
from state.streams.ids import Ulids
from state.streams.stream import Streams
from state.timestamps import iso

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
FIRST, SECOND = "4f1c0de" + "0" * 33, "9b2e5a7" + "0" * 33


@dataclass(frozen=True)
class Said:
    """What one call of lakectl answered."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def all(self) -> str:
        """Both streams, as a golden file keeps them."""
        return self.out + (f"--- stderr\n{self.err}" if self.err else "") + f"--- exit {self.code}\n"


def call(*words: str, clock: Callable[[], datetime] = lambda: NOW, width: int = 80, **terminal: Any) -> Said:
    out, err = io.StringIO(), io.StringIO()
    code = run(words, Terminal(out, err, width=width, **terminal), Environment(), clock)
    return Said(code, out.getvalue(), err.getvalue())


@dataclass
class Lakehouse:
    """A folder with a state, and whoever writes it."""

    root: Path
    now: datetime = NOW - timedelta(minutes=5)
    seed: int = 0
    lease: Lease | None = None
    streams_: Streams = field(init=False)
    id: str = "01KJM0000000000000000STATE"

    def __post_init__(self) -> None:
        (self.root / ".lakehouse").mkdir(parents=True)
        (self.root / "specs").mkdir()
        self.store = LocalStore(self.root / "lake", "primary")
        self.store.put(STATE_KEY, self.id.encode())
        self.streams_ = Streams(
            self.store, write_ahead(self.root / ".lakehouse", self.id), self.clock, Ulids(self.clock, Random(7).randbytes)
        )
        self.book = StatusBook.load(self.streams_, self.clock)
        Catalog.open(self.store, writer=WriterId("w", 1), clock=self.clock)
        place = {"backend": "local", "path": "lake", "prefix": ""}
        (self.root / ".lakehouse/state.json").write_text(json.dumps({"name": "primary", "place": place, "id": self.id}))

    def clock(self) -> datetime:
        return self.now

    def hold(self, *, revision: str = FIRST, address: str = "http://127.0.0.1:8484") -> None:
        """A daemon on another machine takes the lease: whether it lives goes by its heartbeat."""
        self.lease = Lease.acquire(self.store, Holder("d1", "lakehost", 4711, address), self.clock)
        self.lease.heartbeat(revision, self.now)

    def put(self, object_: str, reason: str, message: str, **facts: Any) -> None:
        ready = "True" if reason in (reasons.SUCCEEDED, reasons.SUCCEEDED_WITH_REFUSALS) else "False"
        stalled = facts.pop("stalled", False)
        detail, also = facts.pop("detail", {}), facts.pop("also", ())
        revision = facts.pop("revision", FIRST)
        applied = facts.pop("applied", revision if ready == "True" else None)
        holds: dict[ConditionType, bool] = {"Ready": ready == "True", "Reconciling": ready != "True" and not stalled, "Stalled": stalled}
        conditions = (
            *(Condition(kind, "True" if truth else "False", reason, message, "", "d" * 32, revision) for kind, truth in holds.items()),
            *also,
        )
        self.book.put(
            Status(object_, ready, reason, message, revision, applied, iso(self.now), "d" * 32, conditions, detail)  # type: ignore[arg-type]
        )

    def event(self, object_: str, reason: str, message: str, type_: str = "Normal") -> None:
        kind, _, name = object_.partition("/")
        event = {"object": object_, "kind": kind, "name": name, "type": type_, "reason": reason, "message": message, "actor": "daemon"}
        self.streams_.append("events", event)

    @property
    def requests(self) -> RequestQueue:
        return RequestQueue(self.store)

    def call(self, *words: str, **terminal: Any) -> Said:
        return call("--repo", str(self.root), *words, **terminal)


def staffed(lakehouse: Lakehouse) -> Lakehouse:
    """Objects of every standing, with the events that led there."""
    put = lakehouse.put
    put("Bucket/primary", reasons.SUCCEEDED, "local folder lake")
    rows = {"rows": 20_000, "version": 3, "files": 2}
    put("Dataset/candidates", reasons.SUCCEEDED, "20,000 rows from 2 files, version 3", detail=rows)
    put(
        "Dataset/call-log", reasons.FILE_REFUSED, stalled=True, revision=SECOND, applied=FIRST,
        message="data/call_log/2025-q3.csv:118: the row has 7 cells, the header 6 (the whole file is refused), and 2 more files; "
        "version 2 with 1,204,332 rows stays served",
    )  # fmt: skip
    put("Dataset/timesheets", reasons.BUCKET_UNAVAILABLE, "Bucket primary did not answer (put) after 3 attempts: timed out.")
    put(
        "Dataset/email-log", reasons.SUSPENDED, stalled=True,
        message="suspended by ann@lakehost until 2026-03-01T14:00:00.000Z: the export is being repaired",
    )  # fmt: skip
    put("Dataset/notes", reasons.SOURCE_EMPTY, "no file matches data/notes/*.csv below the data root; the first one is followed")
    put(
        "Index/notes", reasons.DEPENDENCY_NOT_READY, "Dataset/notes has no rows yet",
        detail={"blockedBy": "Dataset/notes"},
    )  # fmt: skip
    put(
        "IndexGeneration/a-generation-with-a-name-that-is-far-too-long-for-a-row", reasons.DEPENDENCY_NOT_READY,
        "Index/notes has no corpus of the present rows yet", detail={"blockedBy": "Index/notes"},
    )  # fmt: skip
    put("Index/resumes", reasons.EMBEDDING, "41 % of 20,000 texts, 5,200 a second", revision=SECOND, applied=FIRST)
    put("Tool/search", reasons.NO_CONTROLLER, "the spec is valid, but this version does not act on Tool objects yet", stalled=True)
    lakehouse.event("Dataset/candidates", reasons.COMMITTED, "version 3: 812 rows from data/candidates/2025-q4.csv")
    lakehouse.now += timedelta(seconds=10)
    lakehouse.event("Dataset/call-log", reasons.FILE_REFUSED, "data/call_log/2025-q3.csv:118: the row has 7 cells, the header 6", "Warning")
    return lakehouse


@pytest.fixture
def lakehouse(tmp_path: Path) -> Lakehouse:
    """A state without any writer."""
    return Lakehouse(tmp_path / "house")


@pytest.fixture
def alive(lakehouse: Lakehouse) -> Lakehouse:
    """A daemon holds the lease, and said so two seconds ago."""
    staffed(lakehouse)
    lakehouse.now = NOW - timedelta(seconds=2)
    lakehouse.hold()
    return lakehouse


@pytest.fixture
def dead(lakehouse: Lakehouse) -> Lakehouse:
    """The daemon was last heard of two hours ago."""
    lakehouse.now = NOW - timedelta(hours=2)
    staffed(lakehouse)
    lakehouse.hold()
    return lakehouse


@pytest.fixture(scope="session")
def lakectl() -> Callable[..., Said]:
    """`lakectl` called in the current folder."""
    return call


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the current one, where git knows who commits and reads nobody's settings."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@localhost")
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder
