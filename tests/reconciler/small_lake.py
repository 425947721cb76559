"""What several tests of the reconciler start from: a git repository written through libgit2, specs, a clock that stands still."""

from __future__ import annotations

import textwrap
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pygit2
from pygit2.enums import FileMode

from controllers.bucket.controller import attach_recorded
from controllers.dataset.checks import FileChecks
from controllers.dataset.files import SourceFiles
from controllers.outcome import Outcome
from engines.jobs.executor import Executor, JobLimits
from engines.live_recall import Live
from engines.vectors.embedding_cache import EmbeddingCache
from reconciler.blob_cache import BlobCache
from reconciler.collecting import alone, garbage, guard
from reconciler.errors import RevisionUnknown
from reconciler.follow import Follower, Pending
from reconciler.kinds import make_kinds
from reconciler.loop import Reconciler
from reconciler.opening import State
from reconciler.operator import Chores, Operator
from reconciler.place import Place
from reconciler.removal import Remover
from reconciler.retention import retention
from reconciler.settings import Settings
from reconciler.sources.source import FileChange, Source, Watched, is_spec
from reconciler.status_writer import StatusWriter
from reconciler.world import World
from specs.digests import digest
from specs.references import order
from specs.resource import Key
from state import reasons
from state.buckets import Buckets
from state.catalog.catalog import Catalog
from state.catalog.log import WriterId
from state.descriptions import Descriptions
from state.garbage import Collection
from state.local_store import LocalStore
from state.places import BucketConfig
from state.profiles import Profiles
from state.reader import ObjectReader
from state.requests import RequestQueue
from state.status import Status
from state.status_book import StatusBook
from state.streams.compaction import Compaction
from state.streams.stream import Streams
from state.tuning import TuningBook
from state.turns import Turns

AUTHOR = pygit2.Signature("Ada", "ada@example.org", 1_700_000_000, 0)

NONE: Mapping[str, str] = MappingProxyType({})

BUCKET = """\
apiVersion: lakehouse/v1
kind: Bucket
metadata: {name: primary}
spec: {local: {path: lake}}
"""


def dataset(name: str, more: str = "", glob: str | None = None) -> str:
    """One document of a Dataset over `data/<name>/*.csv`; `more` continues its spec."""
    source = f'source: {{files: "{glob or f"data/{name}/*.csv"}"}}'
    return f"apiVersion: lakehouse/v1\nkind: Dataset\nmetadata: {{name: {name}}}\nspec: {{{source}{more}}}\n"


def index(name: str, of: str, text: str = "text", more: str = "") -> str:
    """One document of an Index over a text column."""
    return f"apiVersion: lakehouse/v1\nkind: Index\nmetadata: {{name: {name}}}\nspec: {{dataset: {of}, text: [{text}]{more}}}\n"


def generation(name: str, of: str, recipe: str = "flat: {}") -> str:
    """One document of an IndexGeneration."""
    return f"apiVersion: lakehouse/v1\nkind: IndexGeneration\nmetadata: {{name: {name}}}\nspec: {{index: {of}, {recipe}}}\n"


def documents(*texts: str) -> str:
    """Several documents as one file."""
    return "---\n".join(textwrap.dedent(text) for text in texts)


@dataclass
class Clock:
    """Time as the test tells it."""

    now: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Repository:
    """A git repository whose commits are whole pictures: path -> text. The work tree is only written where `write` says so."""

    folder: Path
    bare: bool = False
    git: pygit2.Repository = field(init=False)
    files: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.git = pygit2.init_repository(str(self.folder), bare=self.bare, initial_head="main")

    def commit(self, files: Mapping[str, str | None], *, branch: str = "main", orphan: bool = False) -> str:
        """Commits `files` on top of what there is (None removes one); `orphan` forgets the past, as a force-push may."""
        self.files = {path: text for path, text in {**self.files, **files}.items() if text is not None}
        return self.commit_tree(self.tree(self.files), branch=branch, orphan=orphan)

    def commit_tree(self, tree: pygit2.Oid, *, branch: str = "main", orphan: bool = False) -> str:
        ref = f"refs/heads/{branch}"
        parents = [] if orphan or ref not in self.git.references else [self.git.references[ref].target]
        made = self.git.create_commit(None, AUTHOR, AUTHOR, "change", tree, parents)
        self.git.references.create(ref, made, force=True)
        return str(made)

    def tree(self, files: Mapping[str, str], links: Mapping[str, str] = NONE, modules: Mapping[str, str] = NONE) -> pygit2.Oid:
        """A tree of text files, links (path -> target) and submodules (path -> commit)."""
        written = {text: self.git.create_blob(text.encode()) for text in set(files.values())}
        blobs = {path: (written[text], FileMode.BLOB) for path, text in files.items()}
        blobs |= {path: (self.git.create_blob(target.encode()), FileMode.LINK) for path, target in links.items()}
        blobs |= {path: (pygit2.Oid(hex=commit), FileMode.COMMIT) for path, commit in modules.items()}
        return self._folder({tuple(path.split("/")): entry for path, entry in blobs.items()})

    def _folder(self, entries: Mapping[tuple[str, ...], tuple[pygit2.Oid, FileMode]]) -> pygit2.Oid:
        builder = self.git.TreeBuilder()
        below: dict[str, dict[tuple[str, ...], tuple[pygit2.Oid, FileMode]]] = {}
        for (name, *rest), entry in entries.items():
            if rest:
                below.setdefault(name, {})[tuple(rest)] = entry
            else:
                builder.insert(name, *entry)
        for name, inner in below.items():
            builder.insert(name, self._folder(inner), FileMode.TREE)
        return builder.write()

    def write(self, path: str, text: str) -> Path:
        """A file of the work tree, as data are."""
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        return place


class Past:
    """A source in memory: revisions are named by their number in a line of commits."""

    root = None
    unreadable: Exception | None = None

    def __init__(self, revisions: Sequence[Mapping[str, str]] = ()) -> None:
        self.revisions = list(revisions)
        self.texts = {digest(text): text for files in revisions for text in files.values()}
        self.read_blobs: list[str] = []

    def push(self, files: Mapping[str, str]) -> str:
        """One more commit, as a whole picture; its revision."""
        self.revisions.append(files)
        self.texts |= {digest(text): text for text in files.values()}
        return self.revision()

    def _files(self, revision: str) -> dict[str, str]:
        return {path: digest(text) for path, text in self.revisions[int(revision)].items() if is_spec(path)}

    def revision(self) -> str:
        if self.unreadable is not None:
            raise self.unreadable
        return str(len(self.revisions) - 1)

    def changes(self, old: str | None, new: str) -> tuple[FileChange, ...]:
        if old == "lost":
            raise RevisionUnknown(old)
        before, after = self._files(old) if old is not None else {}, self._files(new)
        return tuple(FileChange(p, after.get(p)) for p in sorted(before.keys() | after.keys()) if before.get(p) != after.get(p))

    def read(self, blob: str) -> bytes:
        self.read_blobs.append(blob)
        return self.texts[blob].encode()

    def settings(self, revision: str) -> bytes | None:
        text = self.revisions[int(revision)].get("lakehouse.yaml")
        return None if text is None else text.encode()

    def earlier(self, path: str, revision: str) -> Iterator[str]:
        for number in range(int(revision) - 1, -1, -1):
            if path not in self.revisions[number]:
                return
            yield digest(self.revisions[number][path])

    def watched(self) -> tuple[Watched, ...]:
        return ()


class Bench:
    """A writer without its event loop: real state, real controllers, and visits when the test says so."""

    def __init__(self, folder: Path, source: Source | None = None, settings: Settings | None = None) -> None:
        self.folder = folder
        self.clock = Clock()
        self.source: Any = source or Past()
        self.settings = settings or Settings()
        self.workers = 0
        self.ended = threading.Event()
        self.live: dict[str, Live] = {}
        self.open()

    def open(self) -> None:
        """As a process does that starts: everything from what is stored."""
        store = LocalStore(self.folder / "lake", "primary")
        self.store = store
        epoch = len(list(store.list("catalog/log/"))) + 1
        self.streams = Streams(store, self.folder / "wal", self.clock)
        self.catalog = Catalog.open(store, writer=WriterId(f"w{epoch}", epoch), clock=self.clock)
        self.book = StatusBook.load(self.streams, self.clock)
        self.buckets = Buckets()
        self.buckets.attach(BucketConfig("primary", "local", str(self.folder / "lake")))
        attach_recorded(self.catalog, self.buckets, self.folder)
        self.requests = RequestQueue(store)
        place = Place(self.source, self.folder)
        objects = ObjectReader(self.buckets, self.folder / "objects", 1 << 20)
        self.state = State(
            "s",
            place,
            "primary",
            store,
            self.buckets,
            self.catalog,
            self.streams,
            self.book,
            self.requests,
            objects,
            None,
            Descriptions(Profiles(objects)),
            self.clock,
        )
        self.statuses = StatusWriter(self.book, self.streams, self.clock)
        self.world = World(self.source, BlobCache(None, "v"), self.statuses.known_revision)
        self.executor = Executor(self.folder / "jobs", JobLimits(workers=self.workers), lambda _: self.ended.set())
        self.files = SourceFiles(self.folder)
        self.checks = FileChecks(self.buckets, objects)
        self.embeddings = EmbeddingCache(self.folder / "embeddings", 64 << 20)
        self.tuning = TuningBook(self.streams)
        self.kinds = make_kinds(
            self.state, self.world, self.statuses, self.executor, self.files, self.checks, self.embeddings, self.tuning, self.live.get
        )
        turns = Turns()
        remover = Remover(self.world, self.catalog, self.statuses, self.kinds.retiring, turns)
        self.follower = Follower(self.source, self.world, self.catalog, self.statuses, remover, self.settings)
        stop_jobs = partial(self.executor.keep_only, wanted=frozenset())
        self.reconciler = Reconciler(
            self.kinds.controllers, self.world.desired, self.world.circle, self.catalog, self.statuses, self.clock, turns, stop_jobs
        )
        self.compaction = Compaction(self.streams, lambda: None)
        self.turns = turns
        chores = Chores(
            self.files,
            self.kinds.objects,
            self.checks,
            self.compaction,
            self.collect,
            self.kinds.edits,
            self.kinds.promotions,
            self.kinds.trial_runs,
            alone(self.executor, turns),
        )
        self.operator = Operator(self.requests, self.catalog, self.world, self.follower, self.streams, chores, self.clock)

    def collect(self) -> Collection:
        """As the daemon does on `gc`."""
        found = garbage(self.state, retention(self.world, self.settings))
        return found.collect(lambda: None, guard(self.world, self.executor, self.turns))

    def finish(self, name: str) -> Outcome:
        """Visits an object until no job runs for it any more."""
        while True:
            self.ended.clear()
            visit = self.reconciler.visit(Key.parse(name))
            assert visit is not None
            if visit.outcome.reason != reasons.INGESTING:
                return visit.outcome
            assert self.ended.wait(60)

    def close(self) -> None:
        self.executor.shutdown()
        self.streams.close()

    def commit(self, *specs: str, **files: str) -> Pending:
        """Commits the documents as one file, and follows."""
        self.source.push({"specs/all.yaml": documents(*specs), **{name.replace("__", "."): text for name, text in files.items()}})
        return self.follower.advance()

    def settle(self) -> dict[str, Status]:
        """Visits everything that is wanted until nothing moves; the statuses by object."""
        for _ in range(6):
            before = self.catalog.seq
            ordered = order(self.world.resources()).ordered
            for key in (*ordered, *sorted(self.world.objects.keys() - set(ordered))):
                self.reconciler.visit(key)
            if self.catalog.seq == before:
                break
        return self.by_object()

    def by_object(self) -> dict[str, Status]:
        return {status.object: status for status in self.book.all()}

    def write(self, path: str, text: str) -> Path:
        """A data file."""
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        return place

    def events(self, reason: str | None = None) -> list[dict[str, Any]]:
        return [event for event in self.streams.read("events") if reason in (None, event["reason"])]
