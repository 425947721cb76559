"""A lake of tables written by hand, and a query service over it whose loop nothing may block."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engines.files.types import arrow_type
from engines.reading import TableName
from engines.row_keys import DELETED_COLUMN, FILE_COLUMN, ROW_COLUMN
from engines.sql.limits import MIB, Limits
from engines.sql.pool import PoolSize, WorkerPool
from engines.sql.service import QueryService
from engines.sql.source import TableSource
from engines.sql.tables import CatalogTables
from state.buckets import Buckets
from state.catalog.data_files import DataFile
from state.catalog.schemas import Column, Schema
from state.catalog.tables import Table
from state.digest_file import sha256_bytes
from state.objects import ObjectRef
from state.places import BucketConfig
from state.reader import ObjectReader

Row = Mapping[str, Any]


@dataclass
class Lake:
    """Plays the catalog; the files are real."""

    root: Path
    tables: dict[str, Table] = field(default_factory=dict)
    system: dict[str, pa.Table] = field(default_factory=dict)

    def __post_init__(self) -> None:
        buckets = Buckets()
        buckets.attach(BucketConfig("primary", "local", str(self.root / "lake")))
        self.store = buckets.store("primary")
        self.reader = ObjectReader(buckets, self.root / "cache", 1 << 30)
        self.views = self.root / "views"
        self.resolver = CatalogTables(self, self.reader, self, self.views)

    def table(self, name: str) -> Table | None:
        return self.tables.get(name)

    def objects(self, kind: str | None = None) -> Mapping[str, object]:
        return {f"Dataset/{name}": table for name, table in self.tables.items()}

    def names(self) -> tuple[str, ...]:
        return tuple(self.system)

    def path(self, name: str) -> Path | None:
        if name not in self.system:
            return None
        path = self.root / f"{name}.arrow"
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, self.system[name].schema) as writer:
            writer.write_table(self.system[name])
        return path

    def create(self, name: str, columns: Mapping[str, str], key: Sequence[str] = ()) -> None:
        schema = Schema(1, tuple(Column(number, column, kind) for number, (column, kind) in enumerate(columns.items(), 1)))
        self.tables[name] = Table(name, 1, "primary", tuple(key), "upsert" if key else "append", "t", (schema,))

    def add(self, name: str, rows: Sequence[Row], role: str = "base", deletes: int = 0) -> DataFile:
        """A file of these rows; its sequence is the next. deletes: how many of them say `_deleted`."""
        table = self.tables[name]
        types = {column.name: arrow_type(column.type) for column in table.columns}
        if deletes:
            types |= {DELETED_COLUMN: pa.bool_()}
        if not table.primary_key:
            types |= {FILE_COLUMN: pa.string(), ROW_COLUMN: pa.int64()}
            rows = [{**row, FILE_COLUMN: f"digest{len(table.files)}", ROW_COLUMN: number} for number, row in enumerate(rows)]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(list(rows), pa.schema(list(types.items()))), sink)
        data = sink.getvalue().to_pybytes()
        sequence = table.next_sequence
        key = f"{name}/{sequence:06d}-{sha256_bytes(data)[:12]}.parquet"
        self.store.put(key, data)
        keys = [tuple(str(row[part]) if "decimal" in str(types[part]) else row[part] for part in table.primary_key) for row in rows]
        low, high = (min(keys), max(keys)) if table.primary_key else (None, None)
        file = DataFile(
            ObjectRef("primary", key, len(data), sha256_bytes(data)),
            role,
            sequence,
            len(rows),
            "s",
            0,
            1,
            low,
            high,  # type: ignore[arg-type]
            deletes=deletes,
        )
        self.replace(name, files=(*table.files, file), version=table.version + 1)
        return file

    def replace(self, name: str, **changes: Any) -> None:
        old = self.tables[name]
        fields = {
            part: getattr(old, part) for part in ("name", "version", "bucket", "primary_key", "write", "transformation", "schemas", "files")
        }
        self.tables[name] = Table(**{**fields, **changes})

    def source(self, name: str) -> TableSource:
        found = self.resolver.resolve(TableName(name))
        assert found is not None
        return found


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


@pytest.fixture(scope="session")
def new_lake() -> type[Lake]:
    """For tests that need one per example."""
    return Lake


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def city_lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Three tables: people, whose rows have keys; job-orders, whose rows have none; nothing-yet."""
    lake = Lake(tmp_path_factory.mktemp("city"))
    lake.create("people", {"id": "string", "city": "string", "age": "int64"}, ["id"])
    lake.add("people", [{"id": f"P-{n:03d}", "city": ("Chicago", "Boston", None)[n % 3], "age": n} for n in range(300)])
    lake.create("job-orders", {"title": "string", "salary": "float64"})
    lake.add("job-orders", [{"title": f"job {n}", "salary": n * 1000.0} for n in range(20)])
    lake.tables["nothing-yet"] = Table("nothing-yet", 0, "primary")
    lake.system["events"] = pa.table({"id": ["a", "b"], "reason": ["Ready", "Failed"]})
    return lake


@pytest.fixture(scope="module")
async def pool(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WorkerPool]:
    pool = WorkerPool(tmp_path_factory.mktemp("scratch"), PoolSize(most=2, warm=1, queue=8))
    await pool.start()
    yield pool
    await pool.close()
    assert not pool.pids


@pytest.fixture
def watched_loop(watch_loop: Callable[..., AbstractContextManager[None]]) -> Iterator[None]:
    with watch_loop("engines", "state"):
        yield


@pytest.fixture
def service(city_lake: Lake, pool: WorkerPool, watched_loop: None) -> QueryService:
    return QueryService(city_lake.resolver, pool, Limits(seconds=20, memory=400 * MIB, rows=1000, bytes=MIB))
