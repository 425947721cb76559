"""What the end-to-end tests share: daemons that never outlive their test, and repositories to point them at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness_daemon import Daemons, Repository
from harness_shop import Shop, stocked


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Daemons]:
    found = Daemons(tmp_path)
    try:
        yield found
    finally:
        found.end()


@pytest.fixture
def stock(tmp_path: Path) -> Repository:
    return stocked(tmp_path / "repository")


@pytest.fixture
def shop(stock: Repository, daemons: Daemons) -> Shop:
    """A daemon of this test alone, settled."""
    daemon = daemons.start(stock)
    daemon.wait_settled()
    return Shop(stock, daemon)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A daemon that the tests of a module share, each with objects of its own."""
    folder = tmp_path_factory.mktemp("shared")
    daemons = Daemons(folder)
    try:
        repository = stocked(folder / "repository")
        # what is read is what is stored: a table in the hot cache answers after its files are gone
        repository.write("lakehouse.yaml", "limits: {hotCacheBytes: 0}\n")
        repository.commit("nothing is held")
        daemon = daemons.start(repository)
        daemon.wait_settled()
        yield Shop(daemon.repository, daemon)
        assert daemon.stop() == 0, daemon.said
    finally:
        daemons.end()
