"""The lease: one winner, fencing, takeover at once from the dead and never from the living."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from state import processes
from state.errors import LeaseHeld, LeaseLost
from state.lease import KEPT, Heartbeat, Holder, Lease, is_alive, read_heartbeat
from state.local_store import LocalStore
from state.objects import ObjectStore

ROOT = Path(__file__).parents[2]
HERE = Holder("here", "desk", os.getpid(), "http://127.0.0.1:8484")
AFAR = Holder("afar", "server", 4711, "http://10.0.0.7:8484", machine="another machine", started="1")


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "lake", "lake")


def test_the_first_takes_epoch_one_and_says_so(store: ObjectStore, clock: Clock) -> None:
    assert read_heartbeat(store) is None
    lease = Lease.acquire(store, HERE, clock)
    lease.check()
    heartbeat = read_heartbeat(store)
    assert heartbeat is not None
    assert (lease.epoch, heartbeat.epoch, heartbeat.holder, heartbeat.at) == (1, 1, lease.holder, clock.now)
    assert is_alive(heartbeat, clock.now)


def test_a_heartbeat_is_rewritten_whole_and_keeps_what_it_is_not_told(store: ObjectStore, clock: Clock) -> None:
    lease = Lease.acquire(store, HERE, clock)
    relisted = clock.now
    clock.forward(1)
    lease.heartbeat("abc", relisted, {"objects": 3})
    clock.forward(1)
    lease.heartbeat("def")
    assert read_heartbeat(store) == Heartbeat(1, lease.holder, clock.now, "def", relisted, {"objects": 3})
    assert len(list(store.list("lease/"))) == 2


def test_the_same_state_is_refused_to_a_second_process_with_the_holders_name(store: ObjectStore, clock: Clock) -> None:
    Lease.acquire(store, AFAR, clock)
    clock.forward(14)
    with pytest.raises(LeaseHeld) as caught:
        Lease.acquire(store, HERE, clock)
    explained = caught.value.explain()
    for part in ("process 4711 on server", "http://10.0.0.7:8484", "14s ago", "kill 4711", "another state bucket"):
        assert part in explained
    assert (caught.value.host, caught.value.pid, caught.value.address) == ("server", 4711, "http://10.0.0.7:8484")
    clock.forward(2)
    assert Lease.acquire(store, HERE, clock).epoch == 2


def test_a_holder_whose_clock_is_ahead_is_refused_for_as_long_and_the_refusal_says_so(store: ObjectStore, clock: Clock) -> None:
    clock.forward(3600)
    Lease.acquire(store, AFAR, clock)
    clock.forward(-3600)
    with pytest.raises(LeaseHeld, match=r"process 4711 on server .*, whose clock is 1h ahead of ours"):
        Lease.acquire(store, HERE, clock)
    clock.forward(3600 + 16)
    assert Lease.acquire(store, HERE, clock).epoch == 2


def test_a_clock_that_is_ahead_takes_over_from_the_living_who_is_fenced(store: ObjectStore, clock: Clock) -> None:
    old = Lease.acquire(store, AFAR, clock)
    ahead = Clock()
    ahead.forward(3600)
    new = Lease.acquire(store, HERE, ahead)
    with pytest.raises(LeaseLost):
        old.heartbeat()
    new.check()


def test_a_live_process_of_this_machine_keeps_it_however_silent(store: ObjectStore, clock: Clock) -> None:
    Lease.acquire(store, HERE, clock)
    clock.forward(86_400)
    with pytest.raises(LeaseHeld, match=f"process {os.getpid()} on desk"):
        Lease.acquire(store, replace(HERE, id="other"), clock)


def test_a_pid_that_was_given_to_another_process_is_no_life(store: ObjectStore, clock: Clock) -> None:
    reused = replace(HERE, machine=processes.machine(), started="before this boot")
    Lease.acquire(store, reused, clock)
    assert Lease.acquire(store, replace(HERE, id="other"), clock).epoch == 2


def test_a_released_lease_is_taken_at_once(store: ObjectStore, clock: Clock) -> None:
    Lease.acquire(store, AFAR, clock).release()
    heartbeat = read_heartbeat(store)
    assert heartbeat is not None
    assert not is_alive(heartbeat, clock.now)
    assert Lease.acquire(store, HERE, clock).epoch == 2


def test_who_was_replaced_notices_and_does_no_harm(store: ObjectStore, clock: Clock) -> None:
    old = Lease.acquire(store, AFAR, clock)
    clock.forward(60)
    new = Lease.acquire(store, HERE, clock)
    for act in (old.check, old.heartbeat):
        with pytest.raises(LeaseLost, match=f"process {os.getpid()} on desk took epoch 2"):
            act()
    old.release()
    new.check()
    heartbeat = read_heartbeat(store)
    assert heartbeat is not None
    assert (heartbeat.epoch, heartbeat.released) == (2, False)


def test_a_claim_without_a_heartbeat_counts_from_the_claim(store: ObjectStore, clock: Clock) -> None:
    Lease.acquire(store, AFAR, clock)
    store.delete(f"lease/heartbeat-{1:020d}.json")
    with pytest.raises(LeaseHeld):
        Lease.acquire(store, HERE, clock)
    clock.forward(16)
    assert Lease.acquire(store, HERE, clock).epoch == 2


@pytest.mark.parametrize("torn", [b"", b"{", b"[]", b'{"epoch": 1}'])
def test_a_damaged_heartbeat_falls_back_to_the_claim(store: ObjectStore, clock: Clock, torn: bytes) -> None:
    Lease.acquire(store, AFAR, clock)
    store.put(f"lease/heartbeat-{1:020d}.json", torn)
    with pytest.raises(LeaseHeld, match="server"):
        Lease.acquire(store, HERE, clock)


def test_a_put_that_timed_out_and_won_is_recognised(store: ObjectStore, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Lease.acquire(store, AFAR, clock)
    real = store.list
    monkeypatch.setattr(store, "list", lambda prefix, after=None: iter(()))  # as if the claim were not seen yet
    again = Lease.acquire(store, AFAR, clock)
    monkeypatch.setattr(store, "list", real)
    assert again.epoch == first.epoch


def test_epochs_go_on_and_old_ones_are_forgotten(store: ObjectStore, clock: Clock) -> None:
    for _ in range(KEPT + 5):
        Lease.acquire(store, AFAR, clock).release()
    newest = Lease.acquire(store, HERE, clock)
    assert newest.epoch == KEPT + 6
    assert len(list(store.list("lease/"))) == 2 * KEPT


def test_epochs_begin_above_the_floor(store: ObjectStore, clock: Clock) -> None:
    assert Lease.acquire(store, AFAR, clock, floor=7).epoch == 8
    clock.forward(60)
    assert Lease.acquire(store, HERE, clock, floor=3).epoch == 9


def test_a_holder_whose_claim_was_deleted_still_holds(store: ObjectStore, clock: Clock) -> None:
    old = Lease.acquire(store, AFAR, clock)
    clock.forward(60)
    lease = Lease.acquire(store, replace(AFAR, id="next"), clock)
    store.delete(f"lease/{lease.epoch:020d}.json")
    assert lease.epoch == old.epoch + 1
    lease.heartbeat("abc")
    heartbeat = read_heartbeat(store)
    assert heartbeat is not None
    assert (heartbeat.epoch, heartbeat.revision) == (lease.epoch, "abc")
    with pytest.raises(LeaseHeld, match="server"):
        Lease.acquire(store, HERE, clock)
    clock.forward(60)
    assert Lease.acquire(store, HERE, clock).epoch == lease.epoch + 1
    with pytest.raises(LeaseLost):
        lease.check()


def test_of_many_threads_one_gets_it(store: ObjectStore, clock: Clock) -> None:
    start = threading.Barrier(8)

    def acquire(number: int) -> int | None:
        start.wait()
        try:
            return Lease.acquire(store, replace(AFAR, id=str(number)), clock).epoch
        except LeaseHeld:
            return None

    with ThreadPoolExecutor(8) as pool:
        epochs = list(pool.map(acquire, range(8)))
    assert sorted(epoch for epoch in epochs if epoch) == [1]


HOLD = f"""
import os, sys; sys.path.insert(0, {str(ROOT)!r})
from datetime import UTC, datetime
from pathlib import Path
from state.errors import LeaseHeld
from state.failpoints import arm
from state.lease import Holder, Lease
from state.local_store import LocalStore
arm(dict(pair.split("=") for pair in sys.argv[3:]))
print("ready", flush=True)
sys.stdin.readline()
try:
    lease = Lease.acquire(LocalStore(Path(sys.argv[1])), Holder(sys.argv[2], "desk", os.getpid(), ""), lambda: datetime.now(UTC))
    print(lease.epoch, flush=True)
except LeaseHeld as held:
    print("held", held.pid, flush=True)
sys.stdin.readline()
"""


def process(store: LocalStore, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(store.root), *arguments]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert line(started) == "ready"
    return started


def line(of: subprocess.Popen[str]) -> str:
    assert of.stdout is not None
    return of.stdout.readline().strip()


def go(on: subprocess.Popen[str]) -> None:
    assert on.stdin is not None
    on.stdin.write("go\n")
    on.stdin.flush()


def test_of_many_processes_one_gets_it_and_its_death_frees_it(store: LocalStore) -> None:
    racers = [process(store, str(number)) for number in range(3)]
    try:
        for racer in racers:
            go(racer)
        answers = [line(racer) for racer in racers]
        winner = next(racer for racer, answer in zip(racers, answers, strict=True) if answer == "1")
        assert sorted(answers) == sorted(["1"] + [f"held {winner.pid}"] * 2)
        holder = Holder("next", socket.gethostname(), os.getpid(), "")
        with pytest.raises(LeaseHeld, match=str(winner.pid)):
            Lease.acquire(store, holder, lambda: datetime.now(UTC))
        winner.kill()
        winner.wait()
        assert Lease.acquire(store, holder, lambda: datetime.now(UTC)).epoch == 2
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()


@pytest.mark.parametrize("point", ["lease.claimed", "lease.before-heartbeat"])
def test_a_claimant_that_is_killed_halfway_holds_nobody_up(store: LocalStore, point: str) -> None:
    killed = process(store, "killed", f"{point}=kill")
    go(killed)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert Lease.acquire(store, HERE, lambda: datetime.now(UTC)).epoch == 2
