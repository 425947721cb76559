"""Statements that hurt whoever plans them: their worker dies or is stopped, they get a problem, everybody else goes on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness_daemon import Daemon, Daemons, wait_for
from harness_shop import stocked

SETTINGS = "limits: {querySeconds: 2s, queryWorkers: 2}\n"


def sums(characters: int) -> str:
    """`1+1+…`, of about so many characters."""
    return "SELECT " + "+".join("1" for _ in range(characters // 2)) + " AS n"


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Queries of two seconds at most, by two workers."""
    folder = tmp_path_factory.mktemp("queries")
    daemons = Daemons(folder)
    try:
        repository = stocked(folder / "repository")
        repository.write("lakehouse.yaml", SETTINGS)
        repository.commit("limits")
        daemon = daemons.start(repository)
        daemon.wait_settled()
        yield daemon
        assert daemon.stop() == 0, daemon.said
    finally:
        daemons.end()


HURTS = {
    "plans-long": (sums(8 << 10), {"query-timeout", "worker-crashed", "query-too-large"}),
    "crashes": (sums(40 << 10), {"query-timeout", "worker-crashed", "query-too-large"}),
    "memory": ("SELECT repeat('x', 2000000000) AS x", {"query-memory", "query-timeout", "query-invalid", "query-too-large"}),
    "runs-long": ("SELECT count(*) AS n FROM range(100000000000) AS a(v) WHERE v % 3 = 5", {"query-timeout"}),
}


@pytest.mark.parametrize("name", HURTS)
def test_a_statement_hurts_nobody_else(limited: Daemon, name: str) -> None:
    sql, problems = HURTS[name]
    with ThreadPoolExecutor(1) as pool:
        hurting = pool.submit(limited.ask, sql)
        answered = 0
        while not hurting.done():
            assert limited.value("SELECT count(*) FROM items") == 3
            assert limited.search("titles", "lamp").status == 200
            answered += 1
    answer = hurting.result()
    assert answer.problem in problems, answer
    assert answer.status in (400, 422, 504)
    assert answer.document["remedy"]
    assert answered >= 1
    assert limited.value("SELECT count(*) FROM items") == 3
    wait_for(lambda: len(limited.children()) <= 2, "no worker is left behind")
