"""Frames between the daemon and a query worker: a JSON header and a body of bytes, over one socket.

    daemon -> worker   query    sql, limits, restricted      body: parameters, one Arrow row, or nothing
    worker -> daemon   names    names                        every table that the statement touches, CTEs left out
    daemon -> worker   sources  sources                      what the reader may see of them; the rest stays unknown
                       drop                                  instead of sources: the query is given up, nothing is answered
    worker -> daemon   result   rows, text, truncated        body: Arrow IPC stream; of a large one `shared`, `size` instead (`shared.py`)
    daemon -> worker   keys     source, filter, limits, restricted    answered by a result with one column of row keys
    daemon -> worker   facets   the same, and columns        body: row keys, those of the only rows that count; answered by a result
                                                             with `facets`, by column, and, of a filter, the keys of those that pass
    daemon -> worker   changed  pair, columns, limits        answered by a result: row keys that differ, and whether they are there
    daemon -> worker   merge    source                       have the table ready: its deltas merged, for every worker; opened in this one
    worker -> daemon   merged                                it is
    daemon -> worker   hold     task                         make a snapshot of the hot cache
    worker -> daemon   held     bytes                        it is there
    daemon -> worker   show     task                         make what is shown of a snapshot of the hot cache
    worker -> daemon   shown    bytes                        it is there
    worker -> daemon   problem  problem, message, remedy     instead of any other answer; the worker is ready for the next query

restricted: the reader is no operator, and is told of no value by what fails. A worker says `ready` once when it has warmed up. Names come
first because what a statement may read is the daemon's to decide, and parsing is not safe enough to be done there. Next: `worker.py`,
`pool.py`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import orjson

_LENGTHS = struct.Struct(">IQ")

Problem: TypeAlias = Literal["invalid", "forbidden", "unknown-table", "too-large", "memory", "disk", "storage", "policy", "facet"]
"""What went wrong with a query in a worker that lives on. storage: a file could not be read, which the daemon looks into; policy: what the
reader is shown of a table cannot be told; facet: there is none of a column."""


class Frame(NamedTuple):
    """A message. header["op"] says which."""

    header: Mapping[str, Any]
    body: bytes | memoryview = b""

    @property
    def op(self) -> str:
        """What the message is."""
        return str(self.header["op"])


class Closed(Exception):
    """The other side is gone."""


def pack(header: Mapping[str, Any], body: bytes | memoryview = b"") -> bytes:
    """A frame as bytes."""
    text = orjson.dumps(header)
    return b"".join((_LENGTHS.pack(len(text), len(body)), text, body))


async def receive(reader: asyncio.StreamReader) -> Frame:
    """The next frame. Raises Closed."""
    try:
        header, body = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
        text = await reader.readexactly(header)
        return Frame(orjson.loads(text), await reader.readexactly(body) if body else b"")
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise Closed from error


def receive_blocking(connection: socket.socket) -> Frame:
    """The next frame. Blocking. Raises Closed."""
    header, body = _LENGTHS.unpack(_exactly(connection, _LENGTHS.size))
    text = _exactly(connection, header)
    return Frame(orjson.loads(text), bytes(_exactly(connection, body)) if body else b"")


def _exactly(connection: socket.socket, count: int) -> bytearray:
    data = bytearray(count)
    view, have = memoryview(data), 0
    while have < count:
        try:
            got = connection.recv_into(view[have:])
        except ConnectionError as error:
            raise Closed from error
        if not got:
            raise Closed
        have += got
    return data
