"""The rows of a CSV by which its columns' types are guessed: of its head, spread through the first block, and from windows through the
file. Next: `csv.py`, which asks; `inference.py`, which decides.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from engines.files import encodings, inference, physical_lines
from engines.files.source import SourceFile

WINDOWS, WINDOW_BYTES = 8, 64 << 10


def spread(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Half a sample from the head, half evenly from the rest."""
    limit = max(2, min(inference.SAMPLED_ROWS, inference.SAMPLED_CELLS // batch.num_columns))
    if batch.num_rows <= limit:
        return batch
    head = np.arange(limit // 2)
    return batch.take(pa.array(np.concatenate([head, np.linspace(limit // 2, batch.num_rows - 1, limit - limit // 2).astype(np.int64)])))


def windows(source: SourceFile, size: int, width: int, block: int) -> Iterator[list[str]]:
    """Rows from places spread over a file larger than a block, but for windows that seem to begin inside a quoted cell. size: of the file,
    width: of its rows."""
    if source.compressed or size <= block or not (source.is_utf8 or source.encoding == encodings.FALLBACK):
        return
    limit = max(1, min(inference.SAMPLED_ROWS, inference.SAMPLED_CELLS // width) // WINDOWS)
    with source.open_bytes() as file:
        for number in range(1, WINDOWS + 1):
            file.seek(max(size - WINDOW_BYTES, 0) * number // WINDOWS)
            lines = file.read(WINDOW_BYTES).decode(source.encoding, "replace").splitlines(keepends=True)[1:-1][:limit]
            rows = [row for row in physical_lines.reader(source, lines) if row]
            if all(len(row) == width for row in rows):
                yield from rows
