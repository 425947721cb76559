"""Where a lakehouse is on this machine: its source of specs, its data root, and `.lakehouse/`, which is only ever a cache.

`.lakehouse/state.json` remembers where the state bucket was last, so that readers need not parse specs to find it, and
`.lakehouse/daemon.json` where the daemon of this repository answers. Both may be deleted at any time.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from controllers.bucket.controller import configuration
from controllers.bucket.plan import Place as BucketPlace
from controllers.bucket.plan import place as place_of
from reconciler.errors import SourceUnavailable, StateBucketMissing
from reconciler.sources.source import SPECS_FOLDER, Source
from specs.digests import digest
from specs.kinds.bucket import BucketSpec
from specs.parse import parse_file
from specs.resource import Key
from state.buckets import BucketConfig

CACHE_FOLDER = ".lakehouse"
_LONGEST_SOCKET = 100


@dataclass(frozen=True, slots=True)
class Place:
    """A lakehouse on this machine. `data_root` is what relative paths of buckets and data files resolve against."""

    source: Source
    data_root: Path

    @property
    def cache(self) -> Path:
        """The folder of what may be lost."""
        return self.data_root / CACHE_FOLDER

    @property
    def socket(self) -> Path:
        """Where a running daemon is poked; elsewhere if the path is longer than the system allows for sockets."""
        path = self.cache / "daemon.sock"
        if len(str(path)) < _LONGEST_SOCKET:
            return path
        return Path(gettempdir()) / f"lakehouse-{digest(str(path))[:16]}.sock"


def locate(repo: Path, ref: str = "HEAD", data_root: Path | None = None) -> Place:
    """The lakehouse of a git repository, or of a plain directory that holds `specs/`.

    Raises SourceUnavailable where there is neither, and for a bare repository without a data root.
    """
    source = _source(repo, ref)
    root = data_root or source.root
    if root is None:
        raise SourceUnavailable(
            f"{repo} is a bare repository: there is no folder that data files and local buckets could be relative to",
            remedy="Name one with --data-root.",
        )
    return Place(source, root.resolve())


def _source(repo: Path, ref: str) -> Source:
    # pygit2 costs 50 ms of start-up that a plain directory does not need
    from reconciler.sources.directory import DirectorySource
    from reconciler.sources.git import GitSource

    try:
        return GitSource(repo, ref)
    except SourceUnavailable:
        if (repo / SPECS_FOLDER).is_dir() and not (repo / ".git").exists():
            return DirectorySource(repo)
        raise


@dataclass(frozen=True, slots=True)
class StatePointer:
    """Where the state is: the bucket's name and place, and the state's own id, by which two lakehouses are told apart."""

    name: str
    place: BucketPlace
    id: str

    def config(self, data_root: Path) -> BucketConfig:
        """What opens the bucket. Raises StateBucketMissing if its backend is not built."""
        config = configuration(self.name, self.place, data_root)
        if config is None:
            raise StateBucketMissing(f"Bucket/{self.name}: the state cannot be kept in a {self.place.backend} bucket in this version")
        return config


def read_pointer(cache: Path) -> StatePointer | None:
    """What was remembered last; None where nothing was, or it cannot be read."""
    found = _read_json(cache / "state.json")
    try:
        return StatePointer(found["name"], BucketPlace(**found["place"]), found["id"]) if found else None
    except (KeyError, TypeError):
        return None


def write_pointer(cache: Path, pointer: StatePointer) -> None:
    """Remembers where the state is."""
    _write_json(cache / "state.json", {"name": pointer.name, "place": pointer.place.to_dict(), "id": pointer.id})


def find_state_bucket(source: Source, name: str) -> BucketPlace:
    """The place of the state bucket as the specs say it: reads spec files until one declares it.

    Raises StateBucketMissing, naming what to write; SourceUnavailable.
    """
    wanted = Key("Bucket", name)
    for change in source.changes(None, source.revision()):
        text = source.read(change.blob) if change.blob is not None else b""
        if b"Bucket" not in text or name.encode() not in text:
            continue
        for resource in parse_file(change.path, text).resources:
            if resource.key == wanted:
                return place_of(resource.spec_as(BucketSpec))
    raise StateBucketMissing(
        f"no spec declares {wanted}, which is to hold the state",
        remedy=f"Declare it in a file below {SPECS_FOLDER}/ and commit it, or name another bucket under `state:` in lakehouse.yaml.",
    )


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
