"""Where a lakehouse is on this machine: its source of specs, its data root, and `.lakehouse/`, which is only ever a cache.

What is left in that cache for others to find is `reconciler.footprint`.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir

from controllers.bucket.plan import place as place_of
from reconciler.errors import SourceUnavailable, StateBucketMissing
from reconciler.footprint import CACHE_FOLDER
from reconciler.sources.source import SPECS_FOLDER, Source
from specs.digests import digest
from specs.kinds.bucket import BucketSpec
from specs.parse import parse_file
from specs.resource import Key
from state.places import BucketPlace

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
