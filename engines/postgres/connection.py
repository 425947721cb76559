"""A PostgreSQL server, read in one snapshot: what a query's columns are, single values, and its rows as a stream of blocks.

The one module that knows psycopg. A transaction is read-only and repeatable-read, so that bounds, counts and rows are of one instant.
COPY is driven by libpq's own calls: psycopg's iterator costs more per row than PostgreSQL needs to write it. Text is of its text
format, in which neither server nor parser looks for quotes: both take a tenth less than for CSV.
What a server says may repeat what it was told: every text is freed of the secret before it becomes an error, and none carries the original
along, whose text would end in a traceback. Next: `reading.py`, which turns the stream into batches.
"""

from __future__ import annotations

import re
import select
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Full, Queue
from typing import Any

import psycopg
from psycopg import pq, sql
from psycopg.conninfo import conninfo_to_dict

from engines.errors import SourceRefused, SourceUnavailable
from state.secrets import Secret

CONNECT_SECONDS = 15
FIRST_BLOCK_BYTES, BLOCK_BYTES = 1 << 19, 4 << 20
BLOCKS_AHEAD = 3
LONGEST_ROW = 64 << 20
SILENT_SECONDS = 3600
"""Of a server that has rows to send: a query that never ends would keep a worker from all others. Long sorts send nothing for a while."""
_WAIT_SECONDS = 0.2
_GATHERING_SECONDS = 0.0005
"""Where nothing has arrived: the server sends 8 KiB at a time, and to be woken by each costs as much again as to receive it."""
_SETTINGS = {
    "DateStyle": "ISO", "TimeZone": "UTC", "IntervalStyle": "postgres", "bytea_output": "hex", "extra_float_digits": "1",
    "client_encoding": "UTF8", "idle_in_transaction_session_timeout": "0", "lock_timeout": "60s",
    "application_name": "lakehouse",
}  # fmt: skip
_KEEPALIVE = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
NULL = "\b"
"""A null in what is copied: a character that no text has there, since it is escaped, and that is no escape itself."""
_RETRIED = ("08", "53", "55", "57", "58", "40", "XX")
"""Classes of SQLSTATE that say something of the server rather than of the query: connection, resources, locks, shutdown, conflicts."""
_REMEDIES = {
    "42P01": "Name one that there is, or make it again in the source.",
    "42501": "Grant SELECT to the user of the secret.",
}
"""By SQLSTATE, where the server has no hint: of what is not there, and of what may not be read."""
_LOOK_FOR_US = "SET client_connection_check_interval = '10s'"
"""A query that nobody reads any more ends: a server looks for its client only while it writes, else. Servers before 14, and some machines,
do not know it."""
_TYPES = """
SELECT format_type(u.type, u.modifier), format_type(u.type, NULL), e.oid IS NOT NULL, format_type(e.oid, u.modifier)
FROM unnest(%s::oid[], %s::int4[]) WITH ORDINALITY AS u(type, modifier, place)
JOIN pg_catalog.pg_type t ON t.oid = u.type LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
ORDER BY u.place
"""


@dataclass(frozen=True, slots=True)
class Block:
    """Whole rows as they were sent: sizes are their bytes, row by row."""

    data: bytearray
    sizes: array[int]


@dataclass(frozen=True, slots=True)
class Described:
    """A column of a query's result, its type as the server writes it: `numeric(12,2)`. element: of an array, the same of its elements."""

    name: str
    type: str
    element: str | None = None


class Server:
    """Where a secret leads. The secret's field `dsn` is a connection string or URI; `password` may be a field of its own."""

    def __init__(self, secret: Secret) -> None:
        """Raises SecretFieldMissing, and SourceUnavailable for a string that is none."""
        self._secret = secret
        dsn, password = secret.field("dsn"), secret.optional("password")
        try:
            self._parameters = conninfo_to_dict(dsn, **({} if password is None else {"password": password}))
        except psycopg.Error:
            # its message repeats the string
            remedy = f"Correct the field `dsn` of the secret `{secret.name}`: postgresql://user:password@host:port/database"
            raise SourceUnavailable(f"secret {secret.name}", "holds no connection string", remedy=remedy) from None
        host, port = (self._parameters.get(name) or "" for name in ("host", "port"))
        self.place = f"postgresql://{host}{f':{port}' if port else ''}/{self._parameters.get('dbname') or ''}"

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """One read-only transaction over one state of the database. Raises SourceUnavailable."""
        with self.telling():
            options: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS, **_KEEPALIVE, **self._parameters}
            connection = psycopg.connect(autocommit=True, **options)
        try:
            with suppress(psycopg.DatabaseError):
                connection.execute(_LOOK_FOR_US)
            with self.telling():
                connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                for name, value in _SETTINGS.items():
                    connection.execute(sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(*name.split(".")), sql.Literal(value)))
            yield Snapshot(connection, self)
        finally:
            connection.close()

    @contextmanager
    def telling(self) -> Iterator[None]:
        """psycopg's errors as ours."""
        try:
            yield
        except psycopg.Error as error:
            raise self.error(error.sqlstate, error.diag.message_primary or str(error), error.diag.message_hint) from None

    def error(self, state: str | None, message: str, hint: str | None = None) -> SourceRefused | SourceUnavailable:
        """state: a SQLSTATE, None where the connection is the matter."""
        told = self.redacted(message)
        if state is None or state[:2] in _RETRIED or state.startswith("28"):
            return SourceUnavailable(self.place, told)
        return SourceRefused(told.removeprefix("ERROR:  "), remedy=self.redacted(hint) if hint else _REMEDIES.get(state))

    def redacted(self, text: str) -> str:
        """One line, without any value of the secret."""
        password = self._parameters.get("password")
        for value in (str(password) if password else "", self._secret.optional("dsn") or ""):
            text = text.replace(value, "[redacted]") if value else text
        return " ".join(self._secret.redact(text).split())


class Snapshot:
    """An open transaction. Not thread-safe."""

    def __init__(self, connection: psycopg.Connection, server: Server) -> None:
        self._connection = connection
        self._server = server

    def describe(self, query: str) -> tuple[Described, ...]:
        """The columns of one statement that gives rows; nothing is run. Raises SourceRefused, SourceUnavailable."""
        connection = self._connection.pgconn
        self._check(self._answer(lambda: connection.send_prepare(b"", query.encode())))
        found = self._check(self._answer(lambda: connection.send_describe_prepared(b"")))
        names = [(found.fname(at) or b"").decode() for at in range(found.nfields)]
        if not names:
            raise SourceRefused("the query gives no columns", remedy="Write a SELECT.")
        types = [found.ftype(at) for at in range(found.nfields)]
        modifiers = [found.fmod(at) for at in range(found.nfields)]
        with self._server.telling():
            rows = self._connection.execute(_TYPES, (types, modifiers)).fetchall()
        return tuple(Described(name, kind, element if array else None) for name, (kind, _, array, element) in zip(names, rows, strict=True))

    def row(self, query: str) -> tuple[str | None, ...]:
        """The one row of a query, as text. Raises SourceRefused, SourceUnavailable."""
        connection = self._connection.pgconn
        result = self._check(self._answer(lambda: connection.send_query(query.encode())))
        values = (result.get_value(0, at) for at in range(result.nfields))
        return tuple(None if value is None else value.decode() for value in values)

    @contextmanager
    def copy(self, query: str, *, binary: bool = False) -> Iterator[CopyStream]:
        """The query's rows, in COPY's text format or binary. Leaving early cancels it and ends the transaction. Raises as `row`."""
        command = f"COPY (\n{query}\n) TO STDOUT ({'FORMAT BINARY' if binary else f'NULL {literal(NULL)}'})"
        with self._server.telling():
            begun = self._begun(lambda: self._connection.pgconn.send_query(command.encode()))
        self._check(begun, pq.ExecStatus.COPY_OUT)
        stream = CopyStream(self._connection, self._server)
        try:
            yield stream
        finally:
            stream.close()

    def _answer(self, send: Callable[[], None]) -> pq.abc.PGresult:
        """All that the server says of one command. Raises SourceUnavailable."""
        with self._server.telling():
            result = self._begun(send)
            while (following := self._connection.pgconn.get_result()) is not None:
                result = following
        return result

    def _begun(self, send: Callable[[], None]) -> pq.abc.PGresult:
        """What the server says first of what is sent, which may be as late as the first rows. Raises SourceUnavailable."""
        connection, since = self._connection.pgconn, time.monotonic()
        arrival = select.poll()
        arrival.register(connection.socket, select.POLLIN | select.POLLOUT)
        send()
        while connection.flush():  # what is long is sent in pieces
            arrival.poll(_WAIT_SECONDS * 1000)
            connection.consume_input()
        arrival.modify(connection.socket, select.POLLIN)
        while connection.is_busy():
            if not arrival.poll(_WAIT_SECONDS * 1000):
                check_silence(self._server, time.monotonic() - since)
            connection.consume_input()
        result = connection.get_result()
        if result is None:
            raise self._server.error(None, "the connection was lost")
        return result

    def _check(self, result: pq.abc.PGresult, *more: pq.ExecStatus) -> pq.abc.PGresult:
        if result.status in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, *more):
            return result
        raise refusal(self._server, result)


class CopyStream:
    """Rows as they arrive, in blocks of whole rows. A thread of its own reads ahead, so that server and reader work at once; at most
    BLOCKS_AHEAD blocks wait."""

    def __init__(self, connection: psycopg.Connection, server: Server) -> None:
        """connection: in the middle of a COPY, and not used by anybody else until `close`."""
        self._connection, self._server = connection, server
        self._blocks: Queue[Block | Exception | None] = Queue(BLOCKS_AHEAD)
        self._stopped = False
        self.rows = 0
        self._thread = threading.Thread(target=self._run, name="copy", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Block]:
        """The blocks; `rows` is then what the server says it sent. Raises SourceRefused, SourceUnavailable."""
        while block := self._blocks.get():
            if isinstance(block, Exception):
                raise block
            yield block

    def close(self) -> None:
        """Ends the COPY, if it has not ended."""
        self._stopped = True
        if self._thread.is_alive():
            with suppress(psycopg.Error):
                self._connection.cancel_safe(timeout=CONNECT_SECONDS)
        self._thread.join()

    def _run(self) -> None:
        try:
            for block in self._received():
                self._put(block)
            self._put(None)
        except (SourceRefused, SourceUnavailable) as error:
            self._put(error)
        except psycopg.Error as error:
            self._put(self._server.error(None, str(error)))
        except Exception as error:  # noqa: BLE001 - a defect ends the read, and the waiting of whoever reads
            self._put(error)

    def _put(self, block: Block | Exception | None) -> None:
        while not self._stopped:
            with suppress(Full):
                self._blocks.put(block, timeout=_WAIT_SECONDS)
                return

    def _received(self) -> Iterator[Block]:
        """Blocks, until the server says how many rows there were. The loop runs once a row: what can be is outside of it."""
        connection = self._connection.pgconn
        receive, block, sizes, enough = connection.get_copy_data, bytearray(), array("q"), FIRST_BLOCK_BYTES
        arrival = select.poll()  # select() knows no more than 1024 open files
        arrival.register(connection.socket, select.POLLIN)
        heard = time.monotonic()
        while not self._stopped:
            count, data = receive(1)
            if count > LONGEST_ROW:
                raise SourceRefused(f"a row is longer than {LONGEST_ROW >> 20} MiB", remedy="Leave the large column out by a `query`.")
            if count > 0:
                block += data  # cheaper than to keep the pieces and join them
                sizes.append(count)
                if len(block) >= enough:
                    yield Block(block, sizes)
                    block, sizes, enough = bytearray(), array("q"), BLOCK_BYTES
                    heard = time.monotonic()
            elif count == 0:
                if not arrival.poll(0):
                    time.sleep(_GATHERING_SECONDS)
                    if not arrival.poll(_WAIT_SECONDS * 1000):
                        check_silence(self._server, time.monotonic() - heard)
                        connection.consume_input()
                        continue
                heard = time.monotonic()
                connection.consume_input()
            else:
                self.rows = self._count(connection)
                yield from ((Block(block, sizes),) if block else ())
                return

    def _count(self, connection: pq.abc.PGconn) -> int:
        """Of rows that the server sent. Raises what made it stop."""
        result = connection.get_result()
        while (following := connection.get_result()) is not None:
            result = following
        if result is None or result.status != pq.ExecStatus.COMMAND_OK:
            raise refusal(self._server, result)
        return int(result.command_tuples or 0)


def check_silence(server: Server, seconds: float) -> None:
    """Raises SourceUnavailable where nothing came for too long."""
    if seconds > SILENT_SECONDS:
        remedy = "Does it end in psql? Make it faster by an index, or read the table by a cursor."
        raise SourceUnavailable(server.place, f"nothing came for {SILENT_SECONDS // 60} minutes", remedy=remedy)


def refusal(server: Server, result: pq.abc.PGresult | None) -> SourceRefused | SourceUnavailable:
    """What a failed result means."""
    if result is None:
        return server.error(None, "the connection was lost")
    state, message, hint = (
        (result.error_field(field) or b"").decode(errors="replace")
        for field in (pq.DiagnosticField.SQLSTATE, pq.DiagnosticField.MESSAGE_PRIMARY, pq.DiagnosticField.MESSAGE_HINT)
    )
    return server.error(state or None, message or result.error_message.decode(errors="replace"), hint or None)


def quoted(name: str) -> str:
    """An identifier."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def literal(text: str) -> str:
    """A text constant, whatever `standard_conforming_strings` says."""
    escaped = re.sub(r"(['\\])", r"\1\1", text)
    return f"E'{escaped}'"
