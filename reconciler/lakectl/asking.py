"""What a running daemon knows, asked over HTTP.

Conditions and details of a local one are read from its bucket, which needs no query worker.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from reconciler.errors import CatalogLost
from reconciler.footprint import read_pointer
from reconciler.lakectl.credentials import client_here
from reconciler.lakectl.errors import DaemonProblem, DaemonUnreachable
from reconciler.lakectl.here import Here, read_address
from reconciler.lakectl.http import DaemonClient
from reconciler.lakectl.observation import Event, Observation, Writer, by_object
from reconciler.lakectl.session import Session
from state.lease import is_alive
from state.status import Condition, Status

if TYPE_CHECKING:
    from reconciler.lakectl.lake import Lake

_PAGE = 100
_ANSWER_SECONDS = 5.0
_DESCRIBED = """SELECT object, ready, reason, message, revision, applied_revision, observed_at, digest, conditions, detail
FROM system.status WHERE ($kind = '' OR kind = $kind) AND ($name = '' OR name = $name) ORDER BY object"""


@dataclass(frozen=True, slots=True)
class AskedDaemon:
    """A daemon. Implements `observation.Observer`. lake: its state, where that is on this machine. Blocking."""

    client: DaemonClient
    lake: "Lake | None"

    def look(self, kind: str | None = None, name: str | None = None) -> Observation:
        """See `Observer`: GET /status. A local daemon that is too busy to answer is not called dead: its bucket tells what it saw."""
        try:
            document = self.client.get("/status", {"kind": kind, "name": name})
        except DaemonUnreachable as error:
            if self.lake is None:
                raise
            return replace(self.lake.look(kind, name), note=f"The daemon lives, but does not answer: {error} This is what it wrote down.")
        found = document.get("daemon") or {}
        writer = Writer(self.client.url, int(found.get("pid", 0)), "", str(found.get("since", "")))
        return Observation(document["revision"], tuple(_status(row) for row in document["objects"]), writer=writer)

    def described(self, kind: str | None = None, name: str | None = None) -> tuple[Status, ...]:
        """See `Observer`."""
        if self.lake is None:
            try:
                answer = self.client.post("/query", {"sql": _DESCRIBED, "params": {"kind": kind or "", "name": name or ""}})
            except DaemonProblem:  # its state cannot be read: what it has in its memory has neither
                return self.look(kind, name).statuses
            return tuple(_described(row) for row in answer["rows"])
        fresh = by_object(self.look(kind, name).statuses)
        # the daemon renews the time of an unchanged observation in its memory only
        return tuple(
            replace(status, observed_at=fresh[status.object].observed_at) if status.object in fresh else status
            for status in self.lake.described(kind, name)
        )

    def events(self, filters: Mapping[str, str], since: str | None, limit: int | None) -> tuple[Event, ...]:
        """See `Observer`: GET /events, page by page."""
        found: list[Event] = []
        cursor = None
        while limit is None or len(found) < limit:
            size = _PAGE if limit is None else min(_PAGE, limit - len(found))
            page = self.client.get("/events", {**filters, "since": since, "cursor": cursor, "limit": size})
            found += page["events"]
            cursor = page["next"]
            if cursor is None:
                break
        return tuple(found[::-1])


def find_daemon(here: Here, session: Session) -> AskedDaemon | None:
    """The daemon that left word in this repository, if it is the one that holds the lease of the state."""
    address = read_address(here)
    if address is None:
        return None
    client, clock = client_here(session, address, _ANSWER_SECONDS), session.clock
    pointer = read_pointer(here.cache)
    if pointer is None or pointer.place.backend != "local":
        return AskedDaemon(client, None)
    from reconciler.lakectl.lake import Lake, open_lake

    try:
        lake = open_lake(here, clock)
    except CatalogLost:
        # a daemon whose state is lost, or on a disk that is not mounted, still tells what it knows
        return AskedDaemon(client, None) if _answers(client) else None
    heartbeat = lake.heartbeat() if isinstance(lake, Lake) else None
    if not isinstance(lake, Lake) or heartbeat is None or not is_alive(heartbeat, clock()) or heartbeat.holder.pid != address.pid:
        return None
    return AskedDaemon(client, lake)


def _answers(client: DaemonClient) -> bool:
    try:
        client.get("/status", {"kind": "-"})
    except DaemonUnreachable:
        return False
    return True


def _status(row: Mapping[str, Any]) -> Status:
    return Status(
        f"{row['kind']}/{row['name']}", row["ready"], row["reason"], row["message"], row["revision"],
        row["appliedRevision"], row["observedAt"], row["digest"],
    )  # fmt: skip


def _described(row: Mapping[str, Any]) -> Status:
    observed_at = row["observed_at"]
    return Status(
        row["object"], row["ready"], row["reason"], row["message"], row["revision"], row["applied_revision"], observed_at, row["digest"],
        tuple(_condition(item) for item in json.loads(row["conditions"] or "[]")),
        json.loads(row["detail"] or "{}"),
    )  # fmt: skip


def _condition(item: Mapping[str, Any]) -> Condition:
    return Condition(
        item["type"], item["status"], item["reason"], item["message"], item["lastTransitionTime"], item["observedDigest"], item["revision"]
    )
