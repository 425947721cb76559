"""Whether two sets of rows are the same ones, in whatever order: by their number and the sums of their hashes. Blocking.

A read that brought what the table has already makes no version. The sums take one pass over each side and no memory; that two different
sets of rows share them has the probability of two values sharing a hash. Next: `value_hashes.py`; `extract.py`, which asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engines.files.journal import as_text
from engines.files.types import arrow_type
from engines.files.value_hashes import hash_rows
from engines.sql.readings import PartFile
from state.catalog.schemas import Schema


def same_rows(former: Sequence[PartFile], new: Sequence[PartFile], schema: Schema) -> bool:
    """Of a content, as the table has it now and as it was read again. schema: of both. Files that cannot be read are not the same."""
    try:
        return _sums(former, schema) == _sums(new, schema)
    except (pa.ArrowException, OSError):
        return False


def _sums(parts: Sequence[PartFile], schema: Schema) -> tuple[int, int, int]:
    from engines.sql.changes import chunks

    known = [(column.name, column.type) for column in schema.columns]
    fields = pa.schema([(name, arrow_type(kind)) for name, kind in known])
    count, sums = 0, [np.uint64(0), np.uint64(0)]
    for rows in chunks(parts, known, fields):
        for batch in rows.combine_chunks().to_batches():
            count += batch.num_rows
            hashes, _ = hash_rows(list(_hashable(batch.columns)))
            sums = [total + half.sum(dtype=np.uint64) for total, half in zip(sums, hashes, strict=True)]
    return count, int(sums[0]), int(sums[1])


def _hashable(columns: Iterable[pa.Array]) -> Iterable[pa.Array]:
    """Each with whether there is a value, which its text alone does not say. Numbers keep their sign and every digit as text."""
    for column in columns:
        yield column if pa.types.is_binary(column.type) else as_text(column)
        yield pc.cast(pc.is_valid(column), pa.string())
