"""What the engines' tests share: a small lake, and files thrown into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engines.files.formats import format_of
from engines.files.ingest import run
from engines.files.ingest_task import IngestResult, IngestTask
from engines.files.source import ReadOptions
from state.buckets import open_store
from state.digest_file import sha256_bytes
from state.objects import ObjectStore
from state.places import BucketConfig


@dataclass
class Lake:
    """Files are written below `root`, tables into a local bucket beside them."""

    root: Path
    config: BucketConfig = field(init=False)
    store: ObjectStore = field(init=False)

    def __post_init__(self) -> None:
        self.config = BucketConfig("primary", "local", str(self.root / "lake"))
        self.store = open_store(self.config)

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.root / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def task(self, name: str, content: str | bytes | None = None, **given: Any) -> IngestTask:
        path = self.root / name
        if content is not None:
            self.write(name, content)
        names = ("encoding", "delimiter", "header", "quote", "sheet", "ocr", "formats", "nulls", "column_nulls", "skip")
        options = ReadOptions(**{key: given.pop(key) for key in names if key in given})
        digest = sha256_bytes(path.read_bytes()) if path.is_file() else "0" * 64
        return IngestTask(
            "things", str(path), name, digest, format_of(name) or "csv", self.config, "datasets/things", "t1", options=options, **given
        )

    def ingest(self, name: str, content: str | bytes | None = None, **given: Any) -> IngestResult:
        return run(self.task(name, content, **given), store=self.store)

    def table(self, result: IngestResult, *, hidden: bool = False) -> pa.Table:
        """The rows of all parts."""
        paths = [self.store.path(file.key) for file in result.files]
        columns = None if hidden else [column.name for column in result.schema.columns]
        tables = [pq.read_table(path, columns=columns, partitioning=None) for path in paths]
        return pa.concat_tables(tables)

    def rows(self, result: IngestResult) -> list[dict[str, Any]]:
        return self.table(result).to_pylist() if result.files else []

    def types(self, result: IngestResult) -> Mapping[str, str]:
        return {column.name: column.type for column in result.schema.columns}

    def leftovers(self) -> list[Path]:
        """Staged files that nobody removed."""
        return [path for path in (self.root / "lake" / ".tmp").glob("*/*") if path.is_file()]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


@pytest.fixture
def refused(lake: Lake) -> Callable[..., Any]:
    """Ingest what must be refused; gives the error, and sees to it that nothing is left behind."""
    from engines.errors import FileRefused

    def attempt(name: str, content: str | bytes | None = None, **given: Any) -> FileRefused:
        with pytest.raises(FileRefused) as caught:
            lake.ingest(name, content, **given)
        assert lake.leftovers() == []
        assert caught.value.remedy
        return caught.value

    return attempt
