"""Processes that are doubled, stopped, killed, paused: one writer, no answer lost, nobody left behind."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import psutil
import pytest
from harness_daemon import Daemon, Daemons, Gone, Repository, gone, wait_for
from harness_facts import doubled_events, facts, leftovers, missing, unreferred
from harness_shop import ROWS, Shop


def test_a_second_daemon_is_refused_with_the_holders_name(shop: Shop, daemons: Daemons) -> None:
    second = daemons.begin(shop.repository)
    with pytest.raises(Gone) as refused:
        second.up()
    assert refused.value.code == 1
    for words in ("lease-held", socket.gethostname(), f"process {shop.daemon.process.pid}", shop.daemon.url):
        assert words in second.said
    assert shop.serves()
    shop.repository.write("data/items/2.csv", "id,title\n4,a white door\n")
    wait_for(lambda: shop.daemon.value("SELECT count(*) FROM items") == 4, "the first one goes on working")


def test_two_daemons_at_once_are_one(stock: Repository, daemons: Daemons) -> None:
    both = [daemons.begin(stock), daemons.begin(stock)]
    codes: list[int] = []
    for daemon in both:
        try:
            daemon.up()
        except Gone as refused:
            codes.append(refused.code)
    assert codes == [1]
    (winner,) = (daemon for daemon in both if daemon.alive)
    winner.wait_settled()


class Load(threading.Thread):
    """A client that asks until nobody answers any more; each request on a connection of its own."""

    def __init__(self, daemon: Daemon, sql: str) -> None:
        super().__init__(daemon=True)
        self._url = daemon.url.removeprefix("http://")
        self._body = json.dumps({"sql": sql})
        self.answered = 0
        self.broken = ""

    def run(self) -> None:
        while not self.broken:
            connection = http.client.HTTPConnection(self._url, timeout=60)
            try:
                connection.request("POST", "/query", self._body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                self.broken = repr(error)
            else:
                self.broken = "" if response.status == 200 else f"{response.status} {content!r}"
                self.answered += response.status == 200
            finally:
                connection.close()


def test_sigterm_under_load_loses_no_answer_and_leaves_nobody(shop: Shop) -> None:
    daemon = shop.daemon
    clients = [Load(daemon, f"SELECT count(*) AS n FROM range(30000000) AS a(v) WHERE v % 7 = {rest}") for rest in range(4)]
    shop.repository.write("data/items/2.csv", "id,title\n" + "".join(f"{n},thing number {n}\n" for n in range(10, 4000)))
    for client in clients:
        client.start()
    # the first request of each is in the daemon's hands, more than it has workers for, and that for its figures
    wait_for(lambda: daemon.figures()["lakehouse_http_requests_in_flight"] > len(clients), "every client waits for its answer")
    workers = daemon.children()
    assert workers
    told = time.monotonic()
    assert daemon.stop() == 0, daemon.said
    assert time.monotonic() - told < 20
    for client in clients:
        client.join(60)
        assert client.answered >= 1, client.broken  # what broke off was asked after the first answer, of a daemon that ends
    assert gone(workers)
    assert not (shop.repository.cache / "daemon.json").exists()
    assert leftovers(shop.repository.lake, shop.repository.cache) == []


def test_workers_die_with_a_killed_daemon(stock: Repository, daemons: Daemons) -> None:
    slow_jobs(stock)
    daemon = daemons.start(stock)
    threading.Thread(
        target=ignoring, args=(daemon, "SELECT count(*) AS n FROM range(100000000000) AS a(v) WHERE v % 3 = 5"), daemon=True
    ).start()
    workers = wait_for(lambda: kinds_of(daemon) >= {"query", "job"} and daemon.children(), "query and job workers run")
    daemon.kill()
    wait_for(lambda: gone(workers), "no worker lives")
    again = daemons.start(stock)
    again.wait_settled()
    assert again.value("SELECT count(*) FROM items") == 20_000


def test_a_killed_job_worker_is_replaced(stock: Repository, daemons: Daemons) -> None:
    slow_jobs(stock)
    daemon = daemons.start(stock)

    def job() -> psutil.Process | None:
        return next((child for child in daemon.children() if kind_of(child) == "job"), None)

    worker = wait_for(job, "a worker of jobs is up")
    # stopped, it has a job in its hands for as long as it takes to see so; killed between two jobs, it would take none with it
    worker.suspend()
    wait_for(lambda: daemon.figures()['lakehouse_jobs{state="running"}'] == 1, "a job runs")
    worker.kill()
    daemon.wait_settled()
    assert daemon.value("SELECT count(*) FROM items") == 20_000
    crashed = daemon.value("SELECT count(*) FROM system.events WHERE reason = 'JobFailed' AND message LIKE '%killed by SIGKILL%'")
    assert crashed >= 1
    assert missing(stock.lake) == []


def test_a_paused_daemon_that_was_replaced_writes_nothing_more(stock: Repository, daemons: Daemons) -> None:
    old = daemons.start(stock)
    old.wait_settled()
    old.process.send_signal(signal.SIGSTOP)
    # the heartbeat of a process on another machine goes stale after its ttl; here the holder is made to seem on one
    pretend_elsewhere(stock.lake)
    new = daemons.start(stock, ttl=0.5)
    new.wait_settled()
    before = facts(stock.lake)
    stock.write("data/items/2.csv", "id,title\n4,a white door\n")
    wait_for(lambda: new.value("SELECT count(*) FROM items") == 4, "the new one follows")
    new.wait_settled()
    after = facts(stock.lake)
    assert after != before
    old.process.send_signal(signal.SIGCONT)
    assert old.wait() == 1
    assert "lease-lost" in old.said
    assert Shop(stock, new).nearest("white door") == "a white door"
    new.wait_settled()
    assert new.stop() == 0
    assert facts(stock.lake) == after
    assert unreferred(stock.lake) == []
    assert doubled_events(stock.lake) == {}


def test_a_file_that_comes_while_a_daemon_starts_is_followed(shop: Shop, daemons: Daemons) -> None:
    daemon = shop.daemon
    for number in range(4, 7):
        assert daemon.stop() == 0
        daemon = daemons.start(shop.repository)
        shop.repository.write(f"data/items/{number}.csv", f"id,title\n{number},a white door\n")
        shop.repository.commit("while it starts", late=f"# {number}\n")
        wait_for(lambda daemon=daemon, number=number: daemon.value("SELECT count(*) FROM items") == number, "the file is followed", 10)
        wait_for(daemon.settled, "the commit is followed", 10)


def test_a_torn_line_at_the_end_of_the_write_ahead_file_is_no_loss(shop: Shop, daemons: Daemons) -> None:
    events = "SELECT count(*) FROM system.events"
    shop.daemon.kill()
    wal = sorted((shop.repository.cache / "wal").rglob("*.wal"))
    assert wal
    with wal[-1].open("ab") as file:
        file.write(b"events\t01J")
    daemon = daemons.start(shop.repository)
    daemon.wait_settled()
    assert daemon.value(events) >= 3
    assert Shop(shop.repository, daemon).serves()
    assert daemon.stop() == 0
    assert leftovers(shop.repository.lake, shop.repository.cache) == []
    assert doubled_events(shop.repository.lake) == {}


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_an_hour_off_changes_nothing(shop: Shop, daemons: Daemons, hours: int) -> None:
    """Whether a daemon is behind the one before it, or that one is behind its successor."""
    assert shop.daemon.stop() == 0
    repository = shop.repository
    repository.write("data/items/2.csv", "id,title\n4,a white door\n")
    daemon = daemons.start(repository, clock=hours * 3600)
    wait_for(lambda: daemon.value("SELECT count(*) FROM items") == 4, "the change is followed")
    daemon.wait_settled()
    newest = daemon.status("Dataset/items")["message"]
    assert "4 rows" in newest
    order = "SELECT message FROM system.status_history WHERE object = 'Dataset/items' AND ready = 'True' ORDER BY id DESC LIMIT 1"
    assert daemon.value(order) == newest
    daemon.kill()
    again = daemons.start(repository)
    again.wait_settled()
    assert again.status("Dataset/items")["message"] == newest
    assert again.stop() == 0
    assert doubled_events(repository.lake) == {}


# -- what the tests do to processes


def slow_jobs(repository: Repository) -> None:
    """Every job in a process of its own, and enough text that embedding takes a moment."""
    repository.write("lakehouse.yaml", "work: {inlineBytes: 1, jobWorkers: 1}\n")
    text = "".join(f"{number},{' '.join(f'word{number * 7 % 1009} thing{place}' for place in range(12))}\n" for number in range(20_000))
    repository.write("data/items/1.csv", ROWS.splitlines()[0] + "\n" + text)
    repository.commit("settings")


def kind_of(process: psutil.Process) -> str:
    try:
        words = process.cmdline()
    except psutil.Error:
        return ""
    return "query" if "engines.sql.worker" in words else "job" if "engines.jobs.worker" in words else ""


def kinds_of(daemon: Daemon) -> set[str]:
    return {kind_of(child) for child in daemon.children()}


def ignoring(daemon: Daemon, sql: str) -> None:
    """A client that does not mind how it ends."""
    try:
        daemon.ask(sql)
    except (OSError, http.client.HTTPException):
        return


def pretend_elsewhere(lake: Path) -> None:
    """Rewrites the holder's machine and instant, as if it ran on another one and was silent for an hour."""
    for path in sorted((lake / "lease").iterdir()):
        document = json.loads(path.read_text())
        document["holder"]["machine"] = "elsewhere"
        document["at"] = "2020-01-01T00:00:00Z"
        path.write_text(json.dumps(document))
    os.sync()
