"""Bodies of the frames that go to a worker and come back, as Arrow streams of one batch. Next: `protocol.py` for the frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from engines.errors import QueryInvalid


def encode_parameters(params: Mapping[str, Any]) -> bytes:
    """The values as one Arrow row. Raises QueryInvalid for what is neither a scalar nor a list of scalars of one type."""
    if not params:
        return b""
    arrays = []
    for name, value in params.items():
        parts = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(part, list | tuple | dict | set) for part in parts):
            raise QueryInvalid(f"The parameter ${name} is neither a value nor a list of values.")
        try:
            arrays.append(pa.array([list(value) if isinstance(value, tuple) else value]))
        except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            raise QueryInvalid(f"The parameter ${name} has no type that SQL knows, or values of several.") from error
    return _stream(pa.RecordBatch.from_arrays(arrays, names=list(params)))


def decode_parameters(body: bytes | memoryview) -> dict[str, pa.Scalar]:
    """Values by name."""
    if not body:
        return {}
    row = pa.ipc.open_stream(body).read_next_batch()
    return {name: row.column(position)[0] for position, name in enumerate(row.schema.names)}


def encode_keys(keys: pa.Array) -> bytes:
    """A string array."""
    return _stream(pa.RecordBatch.from_arrays([keys], names=["key"]))


def decode_keys(body: bytes | memoryview) -> pa.Array:
    """The one column of a stream."""
    return pa.ipc.open_stream(body).read_all().column(0).combine_chunks()


def _stream(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())  # pyarrow says nothing of types
