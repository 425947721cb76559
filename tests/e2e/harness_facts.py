"""What a lake at rest holds: facts to compare between two lives of it, and what has no place there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from engines.embedding.registry import open_embedder
from state.buckets import open_store
from state.catalog.catalog import Catalog
from state.catalog.data_files import COMPACTION, EDITS
from state.catalog.entry import TableCommit
from state.catalog.indexes import IndexRecord
from state.catalog.tables import Table
from state.objects import ObjectStore
from state.places import BucketConfig
from state.references import all_references
from state.streams.schemas import STREAMS

OWN = ("catalog/log/", "chains/", "keys/", "lease/", "probe/", "status/", "streams/", "state.json")
"""Where the log, the lease, statuses and events are: written by one process, read by the next, referred to by nobody. A probe that a
kill left is removed by the first one ten minutes later: until then nobody can tell it from one that is under way."""


def store_of(lake: Path) -> ObjectStore:
    return open_store(BucketConfig("primary", "local", str(lake)))


def facts(lake: Path) -> dict[str, Any]:
    """What must be the same however often the daemon died: tables with files and bindings, builds by their inputs, what serves."""
    catalog = Catalog.open(store_of(lake))
    found: dict[str, Any] = {"refused": [entry.seq for entry in catalog.refused]}
    for name, state in sorted(catalog.objects().items()):
        found[name] = {"managed": state.managed is not None, "suspended": state.suspended, "retained": state.retained}
        if state.table is not None:
            found[name] |= _table(state.table) | {"journal": _journal(lake, state.table)}
        if state.index is not None:
            found[name] |= _index(state.index)
    return found


def _table(table: Table) -> dict[str, Any]:
    return {
        "version": table.version,
        "files": [(*_named(file.source, file.key), file.role, file.sequence, file.rows) for file in table.files],
        "bindings": sorted((b.path, b.digest, b.present) for b in table.bindings.values()),
        "ledgers": sorted((ledger.kind, *_named(ledger.source), ledger.rows) for ledger in table.ledgers),
        "columns": [(column.id, column.name, column.type) for column in table.columns],
        "refusals": len(table.refusals),
    }


def _named(source: str, key: str = "") -> tuple[str, str]:
    """But for what compaction made: it is named by the journal that it folded too, which says when rows changed."""
    made = source.startswith((COMPACTION, EDITS))
    return (source.partition(":")[0], "") if made else (source, key)


def _journal(lake: Path, table: Table) -> list[tuple[Any, ...]]:
    """What it tells, but for when."""
    told = ["version", "entity", "field", "old", "new", "op", "actor", "source", "reason"]
    files = [lake / ledger.ref.key for ledger in table.ledgers if ledger.kind == "journal"]
    rows = [row for file in files for row in pq.read_table(file, columns=told, partitioning=None).to_pylist()]
    return sorted((tuple(row[name] for name in told) for row in rows), key=str)


def _index(index: IndexRecord) -> dict[str, Any]:
    return {
        "corpora": sorted(index.corpora),
        "truths": sorted(truth.digest for truth in index.truths.values()),
        "builds": sorted((build.digest, build.engine, build.corpus, build.count) for build in index.builds.values()),
        "serving": index.serving,
    }


def unreferred(lake: Path) -> list[str]:
    """Objects that nothing refers to: neither the catalog as it is, nor a version of a table that its log remembers, nor a checkpoint."""
    store = store_of(lake)
    catalog = Catalog.open(store)
    commits = [change for entry in catalog.entries() for change in entry.changes if isinstance(change, TableCommit)]
    kept = {kept.ref.key for commit in commits for kept in (*commit.add, *commit.note)}
    dropped = {name for entry in catalog.entries() for change in entry.changes for name in [change.object] if catalog.get(name) is None}
    kept = {key for key in kept if f"Dataset/{key.split('/')[1]}" not in dropped}
    for state in catalog.objects("Index").values():
        if state.index is not None:
            kept |= {corpus.ref.key for corpus in state.index.corpora.values()}
            kept |= {ref.key for build in state.index.builds.values() for ref in build.files.values()}
            kept |= {tail.ref.key for tail in state.index.tails}
            kept |= {truth.ref.key for truth in state.index.truths.values()}
    kept |= set(_checkpointed(store))
    return [info.key for info in store.list() if info.key not in kept and not info.key.startswith(OWN)]


def _checkpointed(store: ObjectStore) -> Iterator[str]:
    for info in store.list("catalog/checkpoints/"):
        yield info.key
        for key, *_ in json.loads(store.get(info.key))["shards"].values():
            yield key


def missing(lake: Path) -> list[str]:
    """Objects that the catalog refers to and that are not there, or of another size."""
    store = store_of(lake)
    there = {info.key: info.size for info in store.list()}
    catalog = Catalog.open(store)
    refs = [ref for _, ref in all_references(catalog.objects())]
    return [ref.key for ref in refs if there.get(ref.key) != ref.size]


def doubled_events(lake: Path) -> dict[str, list[str]]:
    """Ids that more than one line of a stream's objects has."""
    store = store_of(lake)
    found = {}
    for stream in STREAMS:
        lines = (line for info in store.list(f"streams/{stream}/") for line in store.get(info.key).splitlines())
        doubled = [id_ for id_, count in Counter(json.loads(line)["id"] for line in lines).items() if count > 1]
        if doubled:
            found[stream] = doubled
    return found


def events(lake: Path, stream: str) -> list[dict[str, Any]]:
    """Every event of a stream."""
    store = store_of(lake)
    return [json.loads(line) for info in store.list(f"streams/{stream}/") for line in store.get(info.key).splitlines()]


def leftovers(lake: Path, cache: Path) -> list[str]:
    """What a process staged or held in its write-ahead files and did not clear away, once no process runs.

    A job's result may stay for days: whoever asks for the same inputs finds it. Where the chains of the audit end is kept.
    """
    folders = [lake / ".tmp", *cache.glob("**/.tmp"), cache / "wal", cache / "spill", cache / "corpora"]
    inside = [path for folder in folders if folder.is_dir() for path in folder.rglob("*") if path.is_file()]
    return sorted(str(path) for path in inside if "heads" not in path.parts)


def recall(lake: Path, index: str, answers: Mapping[str, Iterable[str]]) -> float:
    """Share of the exact nearest rows that the answers hold. answers: keys of the hits, by the text that was looked for."""
    store = store_of(lake)
    record = Catalog.open(store).index(index)
    assert record is not None
    assert record.serving is not None
    corpus = record.corpora[record.builds[record.serving.build].corpus]
    path = store.path(corpus.ref.key)
    table = pq.read_table(path, columns=["key", "vector"], partitioning=None)
    vectors = np.asarray(table["vector"].combine_chunks().flatten()).reshape(len(table), -1)
    keys = table["key"].to_pylist()
    shares = []
    for text, hits in answers.items():
        found = list(hits)
        scores = vectors @ open_embedder("builtin").embed([text])[0]
        # equal scores are equally right: whatever is at least as near as the last exact one counts
        least = np.sort(scores)[-len(found)] - 1e-5
        near = {key for key, score in zip(keys, scores.tolist(), strict=True) if score >= least}
        shares.append(sum(key in near for key in found) / len(found))
    return float(np.mean(shares))
