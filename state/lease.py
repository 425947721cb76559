"""The lease: at most one process writes to a state, and one that was replaced notices.

    lease/00000000000000000007.json             who took epoch 7: written once, put-if-absent, so exactly one wins
    lease/heartbeat-00000000000000000007.json   its heartbeat, rewritten whole: also what the daemon last saw

An epoch is never given twice, even if somebody deletes all this: the catalog remembers the newest one that wrote. Whoever holds the
newest one writes; catalog entries carry the epoch, and the fold refuses older ones, so that a holder that slept through its own
replacement does no harm (fencing). Taking over needs no wait on the same machine once the holder's process is dead; from elsewhere
it needs a heartbeat older than `ttl`, and clocks that agree to well within that. Refuses to take over from a live process on this
machine, however silent: stop it instead.
Next: `catalog/log.py`, which enforces the epochs.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta

from specs.durations import format_duration
from state import processes
from state.errors import LeaseHeld, LeaseLost, ObjectExists, ObjectMissing
from state.failpoints import declare, hit
from state.objects import ObjectStore
from state.timestamps import Clock, from_iso, iso

CLAIMED = declare("lease.claimed")
BEFORE_HEARTBEAT = declare("lease.before-heartbeat")

FORMAT = 1
TTL = 15.0
KEPT = 8
_NOW = timedelta(0)
_PREFIX = "lease/"


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that writes. `id` is unique to this run of it; `address` is where it answers, "" if nowhere.

    `machine` and `started` tell a live process from another one that was given its pid (see `processes`); `acquire` fills them in.
    """

    id: str
    host: str
    pid: int
    address: str
    machine: str = ""
    started: str = ""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What the holder of an epoch last said of itself.

    `revision` is the newest commit it has seen, `relisted_at` when it last compared everything with the world, `observed` what
    else it wants readers to know. `released` says that it ended in good order.
    """

    epoch: int
    holder: Holder
    at: datetime
    revision: str | None = None
    relisted_at: datetime | None = None
    observed: Mapping[str, object] = field(default_factory=dict)
    released: bool = False

    def age(self, now: datetime) -> float:
        """Seconds since it was written; negative if the clocks disagree."""
        return (now - self.at).total_seconds()


class Lease:
    """The right to write, as `epoch`, until someone takes a newer one. Thread-safe; blocking."""

    def __init__(self, store: ObjectStore, holder: Holder, epoch: int, clock: Clock) -> None:
        """Use `acquire`."""
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._last = Heartbeat(epoch, holder, clock())
        self.epoch = epoch
        self.holder = holder

    @classmethod
    def acquire(cls, store: ObjectStore, holder: Holder, clock: Clock, ttl: float = TTL, *, floor: int = 0) -> Lease:
        """Takes the next epoch, above `floor`, the newest that the catalog knows; ttl in seconds.

        Raises LeaseHeld, naming the holder, while that one lives.
        """
        if holder.pid == os.getpid() and not holder.machine:
            holder = replace(holder, machine=processes.machine(), started=processes.started(holder.pid) or "")
        while True:
            newest = _last_heard_of(store)
            if newest:
                _refuse_if_alive(store, newest, holder, clock, ttl)
            epoch = max(newest, floor) + 1
            document = {"format": FORMAT, "epoch": epoch, "at": iso(clock()), "holder": asdict(holder)}
            try:
                store.put(_lease_key(epoch), json.dumps(document).encode(), if_absent=True)
            except ObjectExists:
                taken = _read_claim(store, epoch)
                if taken is None or taken.holder.id != holder.id:
                    continue  # somebody was faster: look at them
                # Our own put timed out, and had come through.
            hit(CLAIMED)
            lease = cls(store, holder, epoch, clock)
            lease.heartbeat()
            _forget_old(store, epoch)
            return lease

    def heartbeat(
        self, revision: str | None = None, relisted_at: datetime | None = None, observed: Mapping[str, object] | None = None
    ) -> None:
        """Says "alive", and what was seen; what is None stays as it was said before. Raises LeaseLost."""
        self.check()
        with self._lock:
            last = self._last
            self._last = replace(
                last,
                at=self._clock(),
                revision=last.revision if revision is None else revision,
                relisted_at=last.relisted_at if relisted_at is None else relisted_at,
                observed=last.observed if observed is None else dict(observed),
            )
            hit(BEFORE_HEARTBEAT)
            self._write(self._last)

    def check(self) -> None:
        """Raises LeaseLost if a newer epoch exists. One listing of one small folder."""
        newest = _newest_epoch(self._store, after=self.epoch)
        if newest:
            claim = _read_claim(self._store, newest)
            who = f"process {claim.holder.pid} on {claim.holder.host}" if claim else "another process"
            raise LeaseLost(f"The lease of epoch {self.epoch} is over: {who} took epoch {newest}.", epoch=self.epoch, newer=newest)

    def release(self) -> None:
        """Says that this holder has ended, so that the next one need not wait. Never raises LeaseLost."""
        with self._lock:
            self._last = replace(self._last, at=self._clock(), released=True)
            self._write(self._last)

    def _write(self, heartbeat: Heartbeat) -> None:
        document = {
            "format": FORMAT,
            "epoch": heartbeat.epoch,
            "holder": asdict(heartbeat.holder),
            "at": iso(heartbeat.at),
            "revision": heartbeat.revision,
            "relisted_at": None if heartbeat.relisted_at is None else iso(heartbeat.relisted_at),
            "observed": heartbeat.observed,
            "released": heartbeat.released,
        }
        self._store.put(_heartbeat_key(heartbeat.epoch), json.dumps(document).encode())


def read_heartbeat(store: ObjectStore) -> Heartbeat | None:
    """The newest holder's; as of its claim if it has written none yet; None if nobody ever held the lease."""
    newest = _last_heard_of(store)
    return _read_heartbeat(store, newest) if newest else None


def is_alive(heartbeat: Heartbeat, now: datetime, ttl: float = TTL) -> bool:
    """Whether its holder still writes, as far as this machine can tell. For the other machines: a heartbeat within `ttl` seconds."""
    holder = heartbeat.holder
    if heartbeat.released:
        return False
    if holder.machine and holder.machine == processes.machine():
        found = processes.started(holder.pid)
        return found is not None and found == holder.started
    return heartbeat.age(now) < ttl


def _refuse_if_alive(store: ObjectStore, epoch: int, holder: Holder, clock: Clock, ttl: float) -> None:
    heartbeat = _read_heartbeat(store, epoch)
    if heartbeat is None or heartbeat.holder.id == holder.id:
        return
    now = clock()
    if is_alive(heartbeat, now, ttl):
        other = heartbeat.holder
        ago = timedelta(seconds=round(heartbeat.age(now)))
        ahead = ago < -timedelta(seconds=ttl)
        seen = f"whose clock is {format_duration(-ago)} ahead of ours" if ahead else f"last heard of {format_duration(max(ago, _NOW))} ago"
        raise LeaseHeld(host=other.host, pid=other.pid, address=other.address, epoch=epoch, seen=seen)


def _last_heard_of(store: ObjectStore) -> int:
    """The highest epoch that has a claim, or a heartbeat whose claim somebody deleted; 0 if there is none."""
    return max((epoch for info in store.list(_PREFIX) if (epoch := _epoch_of(info.key)) is not None), default=0)


def _newest_epoch(store: ObjectStore, after: int) -> int:
    """The highest epoch above `after` that was claimed; 0 if there is none. Claims sort before heartbeats: digits come before letters."""
    newest = 0
    for info in store.list(_PREFIX, after=_lease_key(after)):
        stem = info.key.removeprefix(_PREFIX).removesuffix(".json")
        if not stem.isdecimal():
            break
        newest = int(stem)
    return newest


def _read_claim(store: ObjectStore, epoch: int) -> Heartbeat | None:
    return _parse(store, _lease_key(epoch))


def _read_heartbeat(store: ObjectStore, epoch: int) -> Heartbeat | None:
    return _parse(store, _heartbeat_key(epoch)) or _parse(store, _lease_key(epoch))


def _parse(store: ObjectStore, key: str) -> Heartbeat | None:
    """None if the object is missing or unreadable: a damaged heartbeat must not keep everybody out for ever."""
    try:
        document = json.loads(store.get(key))
        relisted_at = document.get("relisted_at")
        return Heartbeat(
            epoch=document["epoch"],
            holder=Holder(**document["holder"]),
            at=from_iso(document["at"]),
            revision=document.get("revision"),
            relisted_at=None if relisted_at is None else from_iso(relisted_at),
            observed=document.get("observed", {}),
            released=document.get("released", False),
        )
    except (ObjectMissing, ValueError, KeyError, TypeError, AttributeError):
        return None


def _forget_old(store: ObjectStore, epoch: int) -> None:
    """Keeps the last few epochs, so that a claimant that fell asleep between looking and claiming finds its number taken."""
    for info in store.list(_PREFIX):
        found = _epoch_of(info.key)
        if found is not None and found <= epoch - KEPT:
            store.delete(info.key)


def _epoch_of(key: str) -> int | None:
    """Whose claim or heartbeat it is; None for what is neither."""
    stem = key.removeprefix(_PREFIX).removeprefix("heartbeat-").removesuffix(".json")
    return int(stem) if stem.isdecimal() else None


def _lease_key(epoch: int) -> str:
    return f"{_PREFIX}{epoch:020d}.json"


def _heartbeat_key(epoch: int) -> str:
    return f"{_PREFIX}heartbeat-{epoch:020d}.json"
