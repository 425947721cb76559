"""Which keys two versions of a table can differ in, where a look at files tells: those in the files that only one of them has.

A key in none of these has the same row in both versions, so that its rows need neither be laid down nor joined. The keys are read from the
files' own key column. Nothing is told (None) where that would not pay or could mislead: without a key, of keys that do not compare as
they are equal (floats), where a column is of another type or a file under another schema, or where many rows are in such files. Blocking.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from engines.files.types import arrow_type
from engines.sql.source import Folder, LakeTable
from engines.sql.version_pair import FEW, TELLING, Pair


def suspects(pair: Pair) -> pa.Array | None:
    """Values of the key's first column, each once, under one of which every row is that differs; None where they all may."""
    if not pair.primary_key or pair.former.former or pair.later.former or pair.former.columns != pair.later.columns:
        return None
    key = pair.primary_key[0]
    kind = dict(pair.later.columns)[key]
    if kind not in TELLING:
        return None
    ours, theirs = dict(_files(pair.former)), dict(_files(pair.later))
    only = [path for place, path in (*ours.items(), *theirs.items()) if (place in ours) != (place in theirs)]
    every = {*ours.values(), *theirs.values()}
    rows = {path: pq.read_metadata(path).num_rows for path in every}
    if sum(rows[path] for path in only) * FEW > sum(rows.values()):
        return None
    try:
        found = [pq.read_table(path, columns=[key]).column(key).cast(arrow_type(kind)) for path in only]
    except (KeyError, pa.ArrowInvalid):
        return None
    return pa.chunked_array([chunk for column in found for chunk in column.chunks], arrow_type(kind)).unique()


def _files(table: LakeTable) -> Iterator[tuple[tuple[str, str], str]]:
    """Each file behind the links, by itself and how it is read: as it is, or as the delta of a sequence."""
    for folder in (table.base, table.touched, table.deltas):
        for link in _links(folder):
            target = os.path.realpath(link)
            yield (target, link.parent.name if folder is table.deltas else ""), target


def _links(folder: Folder | None) -> Iterator[Path]:
    """What is named by a dot is a link on its way to its name."""
    return (link for link in Path(folder.path).rglob("[!.]*.parquet")) if folder is not None else iter(())
