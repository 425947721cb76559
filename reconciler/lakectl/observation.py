"""What is known, and by whom: asked of the daemon that looks after this lakehouse, or read from the bucket without one.

A daemon is found by --url or LAKEHOUSE_URL, else by the word it left in the repository. Without one the bucket and the
write-ahead files are read, without the lease; then nothing that was Ready is called so any more, because nobody looks.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from reconciler.lakectl.here import read_address
from reconciler.lakectl.session import Session
from reconciler.lakectl.words import clock_words, span
from state import reasons
from state.lease import Heartbeat
from state.status import Status

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Writer:
    """The process that reconciles: `url` is "" for an `apply`, `since` is "" where it did not say."""

    url: str
    pid: int
    host: str = ""
    since: str = ""


@dataclass(frozen=True, slots=True)
class Gone:
    """Nobody reconciles. `heartbeat` is the last one's, None if there never was one."""

    heartbeat: Heartbeat | None

    def words(self, now: datetime) -> str:
        """One sentence for people: since when, and who it was."""
        last = self.heartbeat
        if last is None:
            return "Nobody is reconciling: no daemon has run here yet."
        how = "stopped" if last.released else "was last heard of"
        who = f"process {last.holder.pid} on {last.holder.host}"
        ago = span(last.age(now))
        return f"Nobody is reconciling since {clock_words(last.at)} UTC ({ago} ago), when {who} {how}."

    def to_document(self) -> dict[str, Any] | None:
        """Who it was, for programs."""
        last = self.heartbeat
        if last is None:
            return None
        at = last.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"since": at, "pid": last.holder.pid, "host": last.holder.host, "stopped": last.released}


@dataclass(frozen=True, slots=True)
class Observation:
    """Every object's status at one time. Exactly one of `writer` and `gone` is there, but for a daemon too old to say."""

    revision: str | None
    statuses: tuple[Status, ...]
    writer: Writer | None = None
    gone: Gone | None = None
    note: str = ""

    def current(self) -> tuple[Status, ...]:
        """The statuses as they may be relied on: Unknown where nobody is looking any more."""
        return self.statuses if self.gone is None else tuple(_outdated(status) for status in self.statuses)

    def to_document(self) -> dict[str, Any]:
        """As GET /status, and without a daemon who was the last."""
        document: dict[str, Any] = {"revision": self.revision, "objects": [status.to_document() for status in self.current()]}
        if self.writer is not None:
            document["daemon"] = {"url": self.writer.url, "pid": self.writer.pid, "since": self.writer.since or None}
        if self.gone is not None:
            document["daemon"] = None
            document["lastDaemon"] = self.gone.to_document()
        return document


class Observer(Protocol):
    """Somebody who knows. Raises LakehouseError."""

    def look(self, kind: str | None = None, name: str | None = None) -> Observation:
        """All statuses, or some, without conditions and details where those cost more."""

    def described(self, kind: str | None = None, name: str | None = None) -> tuple[Status, ...]:
        """Statuses with conditions and details, by object."""

    def events(self, filters: Mapping[str, str], since: str | None, limit: int | None) -> tuple[Event, ...]:
        """The newest events, oldest first: of these columns, from an id or instant on, at most `limit` (None: all)."""


def _outdated(status: Status) -> Status:
    if status.ready == "Unknown":
        return status
    return replace(status, ready="Unknown", reason=reasons.DAEMON_GONE)


def observer(session: Session) -> Observer:
    """The daemon if one can be found, else the bucket. Raises NoLakehouse, DaemonUnreachable for an address that was given."""
    # imported where they are needed: without a daemon nobody needs HTTP
    if session.url is not None:
        from reconciler.lakectl.asking import AskedDaemon
        from reconciler.lakectl.credentials import client_at

        return AskedDaemon(client_at(session, session.url), None)
    here = session.here()
    if read_address(here) is not None:
        from reconciler.lakectl.asking import find_daemon

        found = find_daemon(here, session)
        if found is not None:
            return found
    from reconciler.lakectl.lake import open_lake

    return open_lake(here, session.clock)


def by_object(statuses: Iterable[Status]) -> dict[str, Status]:
    """Statuses by the object's name."""
    return {status.object: status for status in statuses}
