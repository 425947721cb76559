"""The API over services that are small and in memory; blockbuster watches that nothing blocks the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from api.app import Parts, build_app
from api.embedding_cache import EmbeddingCaches
from api.server import runner_of
from api.status import Daemon
from engines.audit import STREAM, Audit
from engines.embedding.query_cache import QueryCache
from engines.errors import EngineError, TableUnknown
from engines.model_list import ModelRow
from engines.quotas import Quotas
from engines.reading import Reader
from engines.search_answer import Hit, SearchRequest, SearchResult
from engines.sql.hot_cache import HotCache
from engines.sql.query_request import QueryRequest
from engines.vectors.embedding_cache import EmbeddingCache
from reconciler.directory import Directory
from specs.kinds.profile import ProfileSpec
from state.buckets import Buckets
from state.catalog.data_files import DataFile
from state.catalog.fold import ObjectState
from state.catalog.schemas import Column, Schema
from state.catalog.tables import Binding, Refusal, Table
from state.descriptions import Descriptions
from state.local_store import LocalStore
from state.objects import ObjectRef
from state.places import BucketConfig
from state.profiles import Profiles
from state.reader import ObjectReader
from state.secrets import SecretsFile
from state.status import Status
from state.streams.stream import Streams
from state.tokens import TokenFile

NOW = datetime(2026, 11, 22, tzinfo=UTC)
PEOPLE = [{"city": "Chicago", "people": 3, "note": None}, {"city": 'New "York"', "people": 2, "note": ""}]


@dataclass
class Result:
    """A result over plain rows; says in which thread its rows were asked for."""

    content: list[dict[str, Any]]
    truncated: bool = False
    versions: Mapping[str, int] = field(default_factory=lambda: {"people": 7})
    rescues: tuple[str, ...] = ()
    lost: Mapping[str, int] = field(default_factory=dict)
    threads: list[str] = field(default_factory=list)

    @property
    def ipc(self) -> bytes:
        table = pa.Table.from_pylist(self.content)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return sink.getvalue().to_pybytes()

    @property
    def text(self) -> int:
        return len(str(self.content))

    def columns(self) -> list[dict[str, str]]:
        return [{"name": name, "type": "int64" if name == "people" else "string"} for name in self.content[0]]

    def rows(self) -> list[dict[str, Any]]:
        self.threads.append(threading.current_thread().name)
        return self.content


@dataclass
class Queries:
    """Answers every statement with `result`, or raises `error`, after `gate` opens if there is one."""

    result: Result = field(default_factory=lambda: Result(PEOPLE))
    error: Exception | None = None
    gate: asyncio.Event | None = None
    asked: list[QueryRequest] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, request: QueryRequest, reader: Reader) -> Result:
        self.asked.append(request)
        self.readers.append(reader)
        self.begun.set()
        if self.gate is not None:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        if self.error is not None:
            raise self.error
        return self.result


@dataclass
class Searches:
    """One hit whatever was asked, or `error`."""

    error: EngineError | None = None
    asked: list[SearchRequest] = field(default_factory=list)

    async def search(self, request: SearchRequest, reader: Reader) -> SearchResult:
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        hits = (Hit(key='["C-1"]', chunk=0, text="Java and Kafka", score=0.75),)
        model = request.version or "builtin"
        return SearchResult(hits=hits, index=request.index, generation="resumes-g1", versions={"candidates": 3}, model=model)

    async def judged(self, request: SearchRequest, reader: Reader) -> Mapping[str, frozenset[str]]:
        return {"resumes-eval": frozenset(['["C-1"]', '["C-2"]'])}

    async def queries(self, index: str, eval_set: str, reader: Reader) -> Mapping[tuple[str, str | None], frozenset[str]]:
        return {("java", None): frozenset(['["C-1"]']), ("kafka", "city = 'Chicago'"): frozenset()}


class Models:
    """One of each provider."""

    def rows(self) -> tuple[ModelRow, ...]:
        chat = ModelRow("library/qwen2.5:7b", "ollama", "chat", "d1", None, 8192, True, 5, ("Profile/staffing", "Profile/docs"), "loaded")
        nomic = ModelRow("nomic-embed-text:latest", "ollama", "embedding", "d2", 768, 2048, False, 0, ("Index/resumes",), "ready")
        unbound = ModelRow("other:latest", "ollama", "chat", "d3", None, 8192, False, 0, (), "ready")
        own = ModelRow("builtin", "builtin", "embedding", "d4", 256, None, True, 0, ("Index/docs",), "loaded")
        return own, chat, nomic, unbound


@dataclass
class Statuses:
    rows: list[Status]

    def revision(self) -> str | None:
        return "abc123"

    def all(self, kind: str | None = None, name: str | None = None) -> list[Status]:
        return [row for row in self.rows if kind in {None, row.kind} and name in {None, row.name}]


class Access:
    """Lets nobody do anything."""

    def explain(self, verb: str, name: str, who: str) -> Mapping[str, Any]:
        if name == "nowhere":
            raise TableUnknown("There is no dataset `nowhere`.")
        facts = {"verb": verb, "name": name, "profile": None, "role": who, "answer": "no", "allowed": False, "whole": False}
        return facts | {"rows": None, "rowPolicies": {}, "columns": [], "policies": [], "values": {}, "why": ["closed"]}

    async def test(self, policy: str | None, queries: Any, asked_by: str | None) -> Mapping[str, Any]:
        return {"policies": [{"policy": policy or "all", "dataset": "people", "cases": [], "warnings": []}], "cases": 0, "failed": 0}


@dataclass
class Catalog:
    """Reads a file each time, as opening a shard would: in the loop, blockbuster would object."""

    tables: Mapping[str, Table]
    shard: Path

    def objects(self, kind: str) -> Mapping[str, ObjectState]:
        self.shard.read_bytes()
        assert kind == "Dataset"
        states = {f"Dataset/{name}": ObjectState(f"Dataset/{name}", table=table) for name, table in self.tables.items()}
        return {**states, "Dataset/empty": ObjectState("Dataset/empty")}

    def get(self, name: str) -> ObjectState | None:
        return self.objects("Dataset").get(name)


def _table() -> Table:
    first = Schema(1, (Column(1, "job_id", "string"),))
    second = Schema(2, (Column(1, "job_id", "string"), Column(2, "rate", "float64")))
    file = DataFile(ObjectRef("primary", "job-orders/1-0000.parquet", 900, "f" * 64), "base", 1, 12, "c0ffee", 0, 2)
    return Table(
        name="job-orders",
        version=4,
        bucket="primary",
        primary_key=("job_id",),
        write="upsert",
        schemas=(first, second),
        files=(file,),
        bindings={"data/a.csv": Binding("data/a.csv", "c0ffee", 1000, 1)},
        refusals={"data/b.csv": Refusal("data/b.csv", "bad", 7, "a ragged row", "t")},
    )


def _status(kind: str, name: str) -> Status:
    return Status(f"{kind}/{name}", "True", "Succeeded", "As wanted.", "abc123", "abc123", "2026-11-22T15:51:52.123Z", "d1")


@dataclass
class World:
    """Everything behind the API in one test."""

    queries: Queries
    searches: Searches
    statuses: Statuses
    streams: Streams
    catalog: Catalog
    notified: list[tuple[str, Collection[str] | None]]
    missing: list[str]
    buckets: Buckets
    objects: ObjectReader
    secrets: Path
    profiles: dict[str, ProfileSpec]
    parts: Parts


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[Streams]:
    opened = Streams(LocalStore(tmp_path / "state"), tmp_path / "wal", lambda: NOW)
    yield opened
    opened.close()


@pytest.fixture
def world(tmp_path: Path, streams: Streams) -> World:
    shard = tmp_path / "shard.json"
    shard.write_bytes(b"{}")
    queries, searches, missing = Queries(), Searches(), list[str]()
    statuses = Statuses([_status("Index", "resumes"), _status("Dataset", "candidates"), _status("Bucket", "primary")])
    catalog = Catalog({"job-orders": _table()}, shard)
    daemon = Daemon("2026-11-22T15:00:00.000Z", "127.0.0.1:8484", 42)
    buckets = Buckets()
    buckets.attach(BucketConfig("lake", "local", str(tmp_path / "lake"), rescue="mirror"))
    buckets.attach(BucketConfig("mirror", "local", str(tmp_path / "mirror")))
    buckets.attach(BucketConfig("far", "memory", prefix="p"))
    objects = ObjectReader(buckets, tmp_path / "cache", 1000)
    describe = Descriptions(Profiles(objects))
    told: list[tuple[str, Collection[str] | None]] = []
    profiles: dict[str, ProfileSpec] = {}

    def notified(bucket: str, keys: Collection[str] | None) -> list[str]:
        told.append((bucket, keys))
        return ["items"]

    parts = Parts(
        queries,
        searches,
        statuses,
        streams,
        catalog,
        describe,
        HotCache(tmp_path / "hot", 1 << 20),
        EmbeddingCaches(EmbeddingCache(tmp_path / "embeddings", 1 << 20).stats, QueryCache(1 << 10).stats),
        Models(),
        buckets,
        objects,
        Audit(streams),
        Quotas(
            lambda name: profiles[name].quota if name in profiles else None, lambda since: streams.read(STREAM, since=since), lambda: NOW
        ),
        notified,
        lambda: missing,
        daemon,
        Directory(TokenFile(SecretsFile(tmp_path / "secrets.toml")), lambda name: profiles.get(name)),
        Access(),
    )
    return World(queries, searches, statuses, streams, catalog, told, missing, buckets, objects, tmp_path / "secrets.toml", profiles, parts)


class Server(TestServer):
    """Runs an app as `api.server` does."""

    async def _make_runner(self, **_: Any) -> web.BaseRunner[Any]:
        return runner_of(self.app)


Open = Callable[..., AbstractAsyncContextManager[TestClient[Any, Any]]]


@pytest.fixture
def opened(world: World, watch_loop: Callable[..., AbstractContextManager[None]]) -> Open:
    """Opens a client of an app whose parts are those of `world`, but for what is given."""

    @asynccontextmanager
    async def open_client(**changes: Any) -> AsyncIterator[TestClient[Any, Any]]:
        server = Server(build_app(replace(world.parts, **changes)))
        async with TestClient(server, json_serialize=lambda value: orjson.dumps(value).decode()) as client:
            with watch_loop("api", "engines", "state"):
                yield client

    return open_client


@pytest.fixture
async def client(opened: Open) -> AsyncIterator[TestClient[Any, Any]]:
    async with opened() as client:
        yield client
