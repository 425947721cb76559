"""A query worker: `python -m engines.sql.worker '{"scratch": …, "memory": …}'`, its socket as standard input. One query at a time.

It dies of what a statement does to it, and the daemon does not. It reads the files it is told and nothing else; it holds no secret, since
it is started without an environment. It ends when the other end of the socket is closed, whatever it is doing then.
Next: `protocol.py` for the conversation, `session.py` for the work, `pool.py` for who starts it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import socket
import sys
import tempfile
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
from datafusion import DataFrame

from engines.errors import EngineError
from engines.row_keys import row_keys
from engines.sql.bodies import decode_keys, decode_parameters
from engines.sql.diff import CHANGED, changed_keys
from engines.sql.facets import Facet, counted
from engines.sql.hot import HotTask
from engines.sql.hot_shown import ShownTask
from engines.sql.problems import QueryProblem
from engines.sql.protocol import Closed, Frame, pack, receive_blocking
from engines.sql.results import Encoded, encode
from engines.sql.session import Session
from engines.sql.shared import Shared
from engines.sql.source import LakeTable, source_from_dict
from engines.sql.version_pair import Pair

WARM_UP = "SELECT count(*) AS n, max(value) AS m FROM (VALUES (1), (2)) AS t(value) WHERE value > $low GROUP BY value % 2"
KEY = pa.schema([("key", pa.string())])


def serve(connection: socket.socket, session: Session) -> None:
    """Answer until the connection is closed."""
    connection.sendall(pack({"op": "ready"}))
    shared: Shared | None = None
    with contextlib.suppress(Closed, BrokenPipeError):
        while True:
            asked = receive_blocking(connection)
            if shared is not None:
                shared.close()  # whoever asks has mapped it, or does not want it
                shared = None
            try:
                answer = _answer(session, asked, connection)
                if isinstance(answer, Encoded):
                    shared = answer.shared
                    answer = pack(_facts(answer), answer.ipc)
            except QueryProblem as problem:
                answer = pack({"op": "problem", "problem": problem.problem, "message": problem.message, "remedy": problem.remedy})
            connection.sendall(answer)


def _answer(session: Session, asked: Frame, connection: socket.socket) -> bytes | Encoded:
    """Nothing if the daemon lets a query be. Raises QueryProblem."""
    match asked.op:
        case "merge":
            session.merge(source_from_dict(asked.header["source"]))
            return pack({"op": "merged"})
        case "hold":
            held = session.hold(HotTask.from_dict(asked.header["task"]))
            return pack({"op": "held", "bytes": held.bytes})
        case "show":
            return pack({"op": "shown", "bytes": session.show(ShownTask.from_dict(asked.header["task"]))})
        case "keys":
            return _keys(session, asked)
        case "facets":
            return _facets(session, asked)
        case "changed":
            return _changed(session, asked)
        case _:
            return _query(session, asked, connection) or b""


def _query(session: Session, asked: Frame, connection: socket.socket) -> Encoded | None:
    """None if the daemon lets the query be."""
    sql, limits = asked.header["sql"], asked.header["limits"]
    connection.sendall(pack({"op": "names", "names": session.names(sql)}))
    allowed = receive_blocking(connection)
    if allowed.op == "drop":
        return None
    sources, parameters = [source_from_dict(data) for data in allowed.header["sources"]], decode_parameters(asked.body)

    def encoded(frame: DataFrame) -> Encoded:
        with contextlib.closing(_batches(frame)) as batches:
            return encode(frame.schema(), batches, limits["rows"], limits["bytes"], share=True)

    if asked.header["restricted"]:
        return session.run(sql, parameters, sources, encoded)
    with session.frame(sql, parameters, sources) as frame:
        return encoded(frame)


def _facts(result: Encoded) -> dict[str, Any]:
    shared = {} if result.shared is None else {"shared": result.shared.number, "size": result.size}
    return {"op": "result", "rows": result.rows, "text": result.text, "truncated": result.truncated, **shared}


def _keys(session: Session, asked: Frame) -> Encoded:
    source, limits = source_from_dict(asked.header["source"]), asked.header["limits"]
    primary_key = source.primary_key if isinstance(source, LakeTable) else ()

    def encoded(frame: DataFrame) -> Encoded:
        with contextlib.closing(_batches(frame)) as batches:
            keys = (pa.record_batch([row_keys(batch, primary_key)], schema=KEY) for batch in batches)
            return encode(KEY, keys, limits["rows"], limits["bytes"])

    if asked.header["restricted"]:
        return session.keys(source, asked.header["filter"], primary_key, encoded)
    with session.identities(source, asked.header["filter"], primary_key) as frame:
        return encoded(frame)


def _facets(session: Session, asked: Frame) -> bytes:
    source, columns, limits = source_from_dict(asked.header["source"]), asked.header["columns"], asked.header["limits"]
    condition = asked.header["filter"]
    primary_key = source.primary_key if isinstance(source, LakeTable) else ()
    reach = decode_keys(asked.body)

    def among(frame: DataFrame) -> tuple[dict[str, Facet], pa.Array]:
        with contextlib.closing(_batches(frame)) as batches:
            return counted(batches, primary_key, columns, reach)

    if asked.header["restricted"]:
        facets, rows = session.keys(source, condition, primary_key, among, columns)
    else:
        with session.identities(source, condition, primary_key, facets=columns) as frame:
            facets, rows = among(frame)
    told = {column: facet.to_dict() for column, facet in facets.items()}
    if len(orjson.dumps(told)) > limits["told"]:
        message = f"The facets' values are longer than a result may be ({limits['told']} bytes)."
        raise QueryProblem("too-large", message, "Name columns of shorter values.")
    passing = [] if condition is None else [pa.record_batch([rows], schema=KEY)]
    keys = encode(KEY, passing, limits["rows"], limits["bytes"])
    return pack({**_facts(keys), "facets": told}, keys.ipc)


def _changed(session: Session, asked: Frame) -> Encoded:
    limits = asked.header["limits"]
    with tempfile.TemporaryDirectory(dir=session.scratch) as scratch:
        try:
            keys = changed_keys(Pair.from_dict(asked.header["pair"]), asked.header["columns"], Path(scratch))
            return encode(CHANGED, keys, limits["rows"], limits["bytes"])
        except EngineError as error:
            raise QueryProblem("storage", str(error), error.remedy) from error


def _batches(frame: DataFrame) -> Generator[pa.RecordBatch]:
    """What the frame gives. It is computed for as long as this is open, and no longer."""
    stream = frame.execute_stream()
    try:
        for batch in stream:
            yield batch.to_pyarrow()
    finally:
        del stream  # which the traceback of an error would hold, and the threads that compute it would go on


def _leave_when_alone(connection: socket.socket) -> None:
    """End the process once the other side is gone, even in the middle of a statement: DataFusion lets go of the interpreter's lock."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    poll.poll()
    os._exit(0)


def _be_first_to_go() -> None:
    """Tell the kernel whom to end when memory is short. Not everywhere allowed."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def main() -> None:
    """Warm up, then serve standard input."""
    settings = orjson.loads(sys.argv[1])
    connection = socket.socket(fileno=0)
    threading.Thread(target=_leave_when_alone, args=(connection,), daemon=True).start()
    _be_first_to_go()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # statements may end it at will, and it holds what readers may not see
    session = Session(Path(settings["scratch"]), settings["memory"])
    with session.frame(WARM_UP, {"low": pa.scalar(1)}, []) as frame:
        encode(frame.schema(), _batches(frame), 1, 1 << 20)
    serve(connection, session)


if __name__ == "__main__":
    main()
