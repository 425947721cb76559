"""What every room's tests share: golden files, changed only by `pytest --update-golden`; properties that no busy machine fails; and the
watch over event loops.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness_loop import watched_loop
from harness_postgres import EMPTY, Postgres
from hypothesis import settings

from examples.postgres_server import PostgresServer
from examples.s3_server import S3Server

# no test is a timed one: how long an example takes says something of the machine only
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

MOST_OPEN_FILES = 500
"""Some of half as many are aiohttp's to keep: it remembers the last 1024 routes, and the lakes that they lead to."""


@dataclass(frozen=True)
class Golden:
    """Texts that are compared with files in the `golden/` folder beside the test."""

    folder: Path
    update: bool

    def check(self, name: str, text: str) -> None:
        """Compare `text` with golden/<name>; a missing file is a failure too, unless --update-golden writes it."""
        path = self.folder / name
        text = text if text.endswith("\n") else f"{text}\n"
        if self.update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        assert path.exists(), f"{path} does not exist; look at the text, then run pytest --update-golden:\n{text}"
        assert text == path.read_text(encoding="utf-8"), f"{path.name} differs; if the change is meant, run pytest --update-golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write golden files instead of comparing with them")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.path.parent / "golden", bool(request.config.getoption("--update-golden")))


@pytest.fixture(autouse=True)
def _few_open_files() -> Iterator[None]:
    """A lake that a test leaves behind is let go of with its cycles of references, and its files with it, before `select` has too many.

    Collecting takes as long as a few tests, so files that it cannot close are a failure: every later test would collect in vain.
    """
    yield
    if len(open_files()) > MOST_OPEN_FILES:
        gc.unfreeze()  # a daemon's first reading freezes what there is, garbage of former tests with it
        gc.collect()
        assert len(left := open_files()) <= MOST_OPEN_FILES, f"files that nobody closes: {sorted(left)[-10:]}"


def open_files() -> list[str]:
    """Of this process, by what they are."""
    found = []
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the folder itself
            found.append(str(handle.readlink()))
    return found


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server with the bucket `lake`, for tests that leave it as it is and write below prefixes of their own."""
    with S3Server(tmp_path_factory.mktemp("s3"), ("lake",)) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL server, one for all tests of a process."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Postgres:
    """Its database, empty."""
    made = Postgres(postgres_server.dsn)
    made.run(EMPTY)
    return made


Watch = Callable[..., AbstractContextManager[None]]


@pytest.fixture(scope="session")
def watch_loop() -> Watch:
    """`watched_loop`, for tests that take what they use."""
    return watched_loop
