"""Watching a running daemon until it has followed a commit: for `apply` beside it, and of what lakectl itself commits."""

import time
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace

from reconciler.errors import DaemonRefused
from reconciler.foreground import Convergence, Progress, searches
from reconciler.lakectl.asking import AskedDaemon, find_daemon
from reconciler.lakectl.here import Here
from reconciler.lakectl.observation import Observation, Writer
from reconciler.lakectl.progress import progress_shown
from reconciler.lakectl.requests import ask
from reconciler.lakectl.session import Session
from reconciler.lakectl.specs_here import visited, wanted_digests
from reconciler.lakectl.words import short, standing
from reconciler.place import Place
from state import reasons
from state.lease import is_alive
from state.status import Status

_LOOK_EVERY = 0.1
_NOTICED_WITHIN = 5.0
"""Seconds that a daemon has to read a commit it was told of; it takes a tenth of one."""
_STANDS = 1.0
"""Seconds that a picture without progress must stand before it is called the end."""

_STANDING = (
    reasons.DEPENDENCY_NOT_READY, reasons.REFERENCE_MISSING, reasons.DEPENDENCY_CYCLE, reasons.SOURCE_EMPTY, reasons.AWAITING_OTHERS,
)  # fmt: skip
"""What waits for a person, or for something that does."""


def running_daemon(here: Here, session: Session) -> Writer | None:
    """The daemon at work on this state, None if nobody is; an `apply` elsewhere is refused by the lease itself."""
    from reconciler.footprint import read_pointer
    from reconciler.lakectl.lake import Lake, open_lake

    if read_pointer(here.cache) is None:
        return None
    lake = open_lake(here, session.clock)
    heartbeat = lake.heartbeat() if isinstance(lake, Lake) else None
    if heartbeat is None or not heartbeat.holder.address or not is_alive(heartbeat, session.clock()):
        return None
    return Writer(heartbeat.holder.address, heartbeat.holder.pid, heartbeat.holder.host)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is waited for: `digests` that objects come to, and objects that are `gone` from the specs; of `all`, or of these only."""

    digests: Mapping[str, str]
    gone: Set[str] = frozenset()
    all: bool = True

    def of(self, seen: Observation) -> Observation:
        """What of it counts."""
        if self.all:
            return seen
        return replace(seen, statuses=tuple(status for status in seen.statuses if status.object in self.digests.keys() | self.gone))

    def visited(self, statuses: tuple[Status, ...]) -> bool:
        """Whether each was looked at since. What no spec wants any more is kept as retained, or not Ready until it is removed."""
        left = (status for status in statuses if status.object in self.gone)
        return visited(statuses, self.digests) and all(status.ready != "True" or status.reason == reasons.RETAINED for status in left)


def changed(place: Place, before: Place) -> Wanted:
    """What the specs of one place want otherwise than those of another."""
    then, now = wanted_digests(before), wanted_digests(place)
    return Wanted({name: digest for name, digest in now.items() if then.get(name) != digest}, then.keys() - now.keys(), all=False)


def follow(here: Here, place: Place, writer: Writer, timeout: float, session: Session, wanted: Wanted | None = None) -> Convergence:
    """Asks the daemon to look again, and waits for the place's commit: until all is ready, or what is `wanted`.

    Raises DaemonRefused where it follows another commit."""
    daemon = find_daemon(here, session)
    if daemon is None:
        raise DaemonRefused(
            f"a daemon (process {writer.pid} on {writer.host}, {writer.url}) holds this state, but cannot be asked from here.",
            remedy="Run this where it runs, or stop it first.",
        )
    revision, wanted = place.source.revision(), wanted or Wanted(wanted_digests(place))
    began = time.monotonic()
    ask(here, session, "reconcile", "", reason="lakectl apply", wait=min(timeout, _NOTICED_WITHIN))
    _until_read(daemon, revision, writer)
    with progress_shown(session.terminal) as told:
        seen = _until_settled(daemon, wanted, began + timeout, told)
    problems = tuple(status for status in seen.statuses if status.ready != "True" and not searches(status))
    converged = not problems and wanted.visited(seen.statuses)
    return Convergence(converged, revision, problems, seen.statuses, time.monotonic() - began)


def _until_read(daemon: AskedDaemon, revision: str, writer: Writer) -> None:
    deadline = time.monotonic() + _NOTICED_WITHIN
    while (follows := daemon.look().revision) != revision:
        if time.monotonic() > deadline:
            raise DaemonRefused(
                f"the daemon (process {writer.pid}, {daemon.client.url}) follows commit {short(follows)}, not {short(revision)}.",
                remedy="It applies what its own ref names: commit there, or stop it and apply this yourself.",
            )
        time.sleep(_LOOK_EVERY)


def _until_settled(daemon: AskedDaemon, wanted: Wanted, deadline: float, told: Callable[[Progress], None]) -> Observation:
    """The last look: everything ready, or nothing left that goes on by itself."""
    since, before = time.monotonic(), None
    while True:
        seen = wanted.of(daemon.look())
        told(_progress(seen))
        picture = [(status.object, status.ready, status.reason, status.message) for status in seen.statuses]
        now = time.monotonic()
        if picture != before:
            since, before = now, picture
        done = wanted.visited(seen.statuses)
        if now > deadline or (done and (_ready(seen) or (now - since > _STANDS and _ended(seen)))):
            return seen
        time.sleep(_LOOK_EVERY)


def _ready(seen: Observation) -> bool:
    return all(status.ready == "True" or searches(status) for status in seen.statuses)


def _ended(seen: Observation) -> bool:
    """Whether nothing moves by itself any more: what waits, waits for something that does not move either."""
    left = (status for status in seen.statuses if status.ready != "True" and not searches(status))
    return all(status.reason in _STANDING or standing(status) in ("stalled", "held") for status in left)


def _progress(seen: Observation) -> Progress:
    done = sum(1 for status in seen.statuses if status.ready == "True")
    moving = [(s.object, s.message) for s in seen.statuses if s.ready != "True" and standing(s) == "waiting"]
    return Progress(done, len(seen.statuses), tuple(moving))
