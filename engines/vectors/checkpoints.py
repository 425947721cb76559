"""What a corpus job has finished so far: part files that survive it, so that it goes on where it was killed.

A part is an Arrow IPC file of chunks (`set_aside.work_schema`), named by the rows of the table that it covers:
`000000004096-000000008192.part`. It is written under another name, synced and renamed, so that a part either is complete or is none. The
folder is named by the corpus' digest: parts of other inputs are never taken for these. They stay until a corpus of their index is finished,
for the vectors in them: a table that changes faster than it is embedded would never come to an end otherwise. Next: `corpus.py`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

_PARTS = "*-*.part"


class Checkpoints:
    """The parts of one corpus. One process at a time."""

    def __init__(self, base: Path, digest: str) -> None:
        """base: a folder of this index alone."""
        self._base = base
        self.folder = base / digest
        self.folder.mkdir(parents=True, exist_ok=True)
        self.parts: list[Path] = []
        self.rows = 0
        for path in sorted(self.folder.glob(_PARTS)):
            first, _, end = path.stem.partition("-")
            if int(first) == self.rows:
                self.parts.append(path)
                self.rows = int(end)

    def add(self, batches: Sequence[pa.RecordBatch], schema: pa.Schema, rows: int) -> None:
        """Keep the chunks of the next `rows` rows of the table. Durable on return."""
        path = self.folder / f"{self.rows:012d}-{self.rows + rows:012d}.part"
        unfinished = path.with_suffix(".tmp")
        with unfinished.open("wb") as file:
            with pa.ipc.new_file(file, schema) as writer:
                for batch in batches:
                    writer.write_batch(batch)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
        self.parts.append(path)
        self.rows += rows

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The chunks of all parts, in order, memory-mapped."""
        for path in self.parts:
            yield from _read(path)

    def others(self) -> Iterator[pa.RecordBatch]:
        """The chunks of parts of other inputs, in no order; each with its own corpus' schema. What cannot be read is left out."""
        for path in self._base.glob(f"*/{_PARTS}"):
            if path.parent != self.folder:
                with suppress(OSError, pa.ArrowInvalid):
                    yield from _read(path)

    def remove(self) -> None:
        """Forget all parts, others' too: the corpus is where it belongs."""
        shutil.rmtree(self._base, ignore_errors=True)


def _read(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)
