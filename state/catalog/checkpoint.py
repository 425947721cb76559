"""Checkpoints: the fold up to some entry, so that opening reads little more than what it needs.

    catalog/checkpoints/<seq>.json            the manifest: seq, epoch, writer, and where each of the 256 shards is, with size and SHA-256
    catalog/shards/<seq>-<shard>-<digest>     one shard as of that entry; unchanged ones are shared with earlier checkpoints

A shard's first line lists its objects with the length of each state, and the versions that dropped ones remember; the states follow: one
can be taken out without parsing the others. Shards are durable before the manifest names them, so a checkpoint that a crash cut short does
not exist. A checkpoint is a cache: any damage means only that an older one, and finally the log, is used instead. Next: `catalog.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from state.catalog.entry import FORMAT, corrupt, encode
from state.catalog.fold import ObjectState
from state.catalog.view import EMPTY, SHARDS, RefusedEntry, Shard, View, shard_of
from state.errors import CatalogCorrupt, ObjectMissing
from state.failpoints import declare, hit
from state.objects import ObjectStore

BEFORE_SHARD = declare("catalog.before-shard")
AFTER_SHARD = declare("catalog.after-shard")
BEFORE_MANIFEST = declare("catalog.before-manifest")
AFTER_MANIFEST = declare("catalog.after-manifest")
BEFORE_DELETE = declare("catalog.before-checkpoint-delete")

KEEP = 3
MANIFESTS = "catalog/checkpoints/"
SHARD_FOLDER = "catalog/shards/"


class ShardRef(NamedTuple):
    """Where a shard is and what it must be."""

    key: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a manifest says. Shards without objects are left out."""

    seq: int
    epoch: int
    writer: str
    refused: tuple[RefusedEntry, ...]
    shards: Mapping[int, ShardRef]

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "seq": self.seq,
            "epoch": self.epoch,
            "writer": self.writer,
            "refused": [list(entry) for entry in self.refused],
            "shards": {f"{number:02x}": list(ref) for number, ref in self.shards.items()},
        }

    @classmethod
    def decode(cls, data: bytes, key: str) -> Checkpoint:
        """Raises CatalogCorrupt."""
        try:
            document = orjson.loads(data)
            if document["format"] != FORMAT or manifest_key(document["seq"]) != key:
                raise ValueError(f"it is of format {document['format']} and entry {document['seq']}")
            shards = {int(number, 16): ShardRef(*ref) for number, ref in document["shards"].items()}
            refused = tuple([RefusedEntry(*entry) for entry in document["refused"]])
            return cls(document["seq"], document["epoch"], document["writer"], refused, shards)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise corrupt(key, data, error) from error


@dataclass(frozen=True, slots=True)
class Base:
    """A checkpoint with the shards it consists of in memory: what the next one need not write again."""

    checkpoint: Checkpoint
    shards: tuple[Shard, ...]


NO_BASE = Base(Checkpoint(0, -1, "", (), {}), EMPTY.shards)


def manifest_key(seq: int) -> str:
    return f"{MANIFESTS}{seq:020d}.json"


class Checkpoints:
    """Blocking. Several may read while one writes; errors of the store pass through."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def seqs(self) -> tuple[int, ...]:
        """The entries that checkpoints are of, newest first, damaged ones included."""
        names = [info.key.removeprefix(MANIFESTS).removesuffix(".json") for info in self._store.list(MANIFESTS)]
        return tuple(sorted((int(name) for name in names if name.isdecimal()), reverse=True))

    def load(self, seq: int, only: frozenset[str] | None = None) -> tuple[View, Base]:
        """The view as of a checkpoint; with `only`, from the shards of those objects. Raises CatalogCorrupt for a damaged one."""
        key = manifest_key(seq)
        checkpoint = Checkpoint.decode(self._get(key), key)
        wanted = checkpoint.shards.keys() if only is None else {shard_of(name) for name in only} & checkpoint.shards.keys()
        shards: list[Shard] = [{} for _ in range(SHARDS)]
        for number in wanted:
            shards[number] = self._read_shard(checkpoint.shards[number])
        view = View(seq, checkpoint.epoch, checkpoint.writer, checkpoint.refused, tuple(shards), only)
        return view, Base(checkpoint, view.shards)

    def write(self, view: View, base: Base) -> Base:
        """Make a checkpoint of `view`, writing the shards that differ from `base`, and remove what is no longer kept."""
        refs = dict(base.checkpoint.shards)
        for number, shard in enumerate(view.shards):
            if shard is not base.shards[number] and shard:
                refs[number] = self._write_shard(view.seq, number, shard)
        checkpoint = Checkpoint(view.seq, view.epoch, view.writer, view.refused, refs)
        hit(BEFORE_MANIFEST)
        self._store.put(manifest_key(view.seq), encode(checkpoint.to_dict()))
        hit(AFTER_MANIFEST)
        self._sweep(checkpoint)
        return Base(checkpoint, view.shards)

    def _get(self, key: str) -> bytes:
        try:
            return self._store.get(key)
        except ObjectMissing as error:
            raise CatalogCorrupt(f"{key} is missing.") from error

    def _read_shard(self, ref: ShardRef) -> Shard:
        data = self._get(ref.key)
        if len(data) != ref.size or hashlib.sha256(data).hexdigest() != ref.sha256:
            raise CatalogCorrupt(f"{ref.key} is damaged ({len(data)} of {ref.size} bytes).")
        end = data.index(b"\n") + 1
        head = orjson.loads(data[:end])
        shard: Shard = {name: ObjectState(name, last_version=version, governed=bool(marks)) for name, version, *marks in head["gone"]}
        for name, length in head["objects"]:
            shard[name] = data[end : end + length]
            end += length
        return shard

    def _write_shard(self, seq: int, number: int, shard: Shard) -> ShardRef:
        over = ((name, state) for name, state in shard.items() if not isinstance(state, bytes) and state.gone)
        gone = [[name, state.last_version, *(["governed"] if state.governed else [])] for name, state in over]
        states = {name: state if isinstance(state, bytes) else encode(state.to_dict()) for name, state in shard.items()}
        for name, *_ in gone:
            del states[str(name)]
        head = encode({"format": FORMAT, "gone": gone, "objects": [[name, len(state)] for name, state in states.items()]})
        data = b"".join((head, b"\n", *states.values()))
        digest = hashlib.sha256(data).hexdigest()
        key = f"{SHARD_FOLDER}{seq:020d}-{number:02x}-{digest[:12]}"
        hit(BEFORE_SHARD)
        self._store.put(key, data)
        hit(AFTER_SHARD)
        return ShardRef(key, len(data), digest)

    def _sweep(self, newest: Checkpoint) -> None:
        """Remove manifests beyond the last ones, then shards that none of those refers to.

        Shards of later entries than ours stay: a newer writer's checkpoint may just be in the making.
        """
        seqs = self.seqs()
        for seq in seqs[KEEP:]:
            self._delete(manifest_key(seq))
        kept = set(_keys(newest.shards.values()))
        for seq in seqs[:KEEP]:
            if seq != newest.seq:
                kept.update(self._referred(seq))
        for key in self._shards_until(newest.seq):
            if key not in kept:
                self._delete(key)

    def _referred(self, seq: int) -> Sequence[str]:
        """The shards of a kept checkpoint; none if its manifest is damaged, since then nobody can find them by it."""
        try:
            return _keys(Checkpoint.decode(self._get(manifest_key(seq)), manifest_key(seq)).shards.values())
        except CatalogCorrupt:
            return ()

    def _shards_until(self, seq: int) -> Iterator[str]:
        end = f"{SHARD_FOLDER}{seq + 1:020d}"
        return iter([info.key for info in self._store.list(SHARD_FOLDER) if info.key < end])

    def _delete(self, key: str) -> None:
        hit(BEFORE_DELETE)
        self._store.delete(key)


def _keys(refs: Iterable[ShardRef]) -> list[str]:
    return [ref.key for ref in refs]
