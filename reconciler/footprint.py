"""What a writer leaves word of in `.lakehouse/`: where the state is, and where the daemon answers. Hints, both of them.

Read by every client, so nothing here opens a source of specs or imports what takes long: a quarter of a second is the
difference. A file that is missing or unreadable says nothing, which is never an error.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from state.errors import ObjectMissing
from state.objects import ObjectStore
from state.places import BucketConfig, BucketPlace

CACHE_FOLDER = ".lakehouse"
STATE_KEY = "state.json"
"""The object that holds the state's id."""


@dataclass(frozen=True, slots=True)
class StatePointer:
    """Where the state is: the bucket's name and place, and the state's own id, by which two lakehouses are told apart."""

    name: str
    place: BucketPlace
    id: str

    def config(self, data_root: Path) -> BucketConfig:
        """What opens the bucket."""
        return self.place.config(self.name, data_root)

    def words(self, data_root: Path) -> str:
        """For people: the folder, or the bucket."""
        config = self.config(data_root)
        return f"the folder {Path(config.root, config.prefix)}" if config.backend == "local" and config.root else f"bucket {self.name}"


def state_id(store: ObjectStore) -> str:
    """The id of the state in this bucket, "" where nobody ever wrote one. Raises what the store raises."""
    try:
        return store.get(STATE_KEY).decode()
    except ObjectMissing:
        return ""


def write_ahead(cache: Path, state: str) -> Path:
    """Where events of the state of this id wait: another lake that is opened from here later must not take them for its own."""
    return cache / "wal" / (state or "none")


def read_pointer(cache: Path) -> StatePointer | None:
    """What was remembered last; None where nothing was, or it cannot be read."""
    found = _read_json(cache / "state.json")
    try:
        return StatePointer(found["name"], BucketPlace.from_dict(found["place"]), found["id"]) if found else None
    except (KeyError, TypeError):
        return None


def write_pointer(cache: Path, pointer: StatePointer) -> None:
    """Remembers where the state is."""
    _write_json(cache / "state.json", {"name": pointer.name, "place": pointer.place.to_dict(), "id": pointer.id})


@dataclass(frozen=True, slots=True)
class DaemonAddress:
    """Where the daemon of this repository answers, and for which state."""

    url: str
    pid: int
    state: str
    since: str
    socket: str


def read_daemon(cache: Path) -> DaemonAddress | None:
    """What the last daemon left; whether it lives is for the caller to find out."""
    found = _read_json(cache / "daemon.json")
    try:
        return DaemonAddress(**found) if found else None
    except TypeError:
        return None


def write_daemon(cache: Path, address: DaemonAddress) -> None:
    """Says where this process answers. Readable by its owner only."""
    _write_json(cache / "daemon.json", asdict(address))


def remove_daemon(cache: Path, pid: int) -> None:
    """Takes back what `write_daemon` said, unless another process said something since."""
    found = read_daemon(cache)
    if found is not None and found.pid == pid:
        (cache / "daemon.json").unlink(missing_ok=True)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write_json(path: Path, document: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_suffix(".tmp")
    staged.touch(mode=0o600)
    staged.write_text(json.dumps(document), encoding="utf-8")
    staged.replace(path)
