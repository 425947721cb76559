"""An index for a reader from whom policies hide rows: an open build as if it held the others alone.

Which rows those are says the query service, through the filter of the policies, for the version that the build's texts are of and for the
one that is asked for: a row is found where it may be seen in both. What else a search could tell of hidden rows is not there: candidates
are compared one by one, since a graph's walk goes by all of them; words are not weighed, since their weights are of all texts; a threshold
is judged by pairs of permitted chunks; equal scores are ordered by key, where rows have one. What is kept is which chunks are permitted,
by the filter with its values, the versions and the build, so that it is asked for once.

It refuses to decide who sees what (`reading.py`), and to search (`search.py`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import anyio
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engines.at import Moment
from engines.errors import IndexNotServing, QueryForbidden, VersionUnknown
from engines.fusion import SAMPLED
from engines.reading import Decision, Reader
from engines.serving import Serving
from engines.vectors.chunk_table import ChunkTable
from engines.vectors.engine import Ids, Mask, Vectors
from engines.vectors.matrix import nearest
from engines.vectors.tail_index import TailIndex
from specs.digests import digest
from state.catalog.tables import Table

REMEMBERED = 32
"""Permits that are kept: a byte for each chunk."""
_TIES = 32
"""Equals of the last hit that are looked for at first."""
EVERY_ROW = "true"


class Filters(Protocol):
    """The query service, as far as this needs it."""

    async def keys(self, dataset: str, filter_sql: str, reader: Reader, moment: Moment = None) -> pa.Array:
        """The keys of the rows that the reader may see and that pass, a string array."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Which chunks of an open build a reader may find, and those of its tail. sample: places of some of the former, evenly. missing: rows
    of a former version that it may see and that the build lacks, or has otherwise. keyed: whether rows have keys of their own."""

    build: Mask
    sample: Ids
    tail: TailIndex | None
    missing: int
    keyed: bool


class PermittedIndex:
    """The permitted vectors of a build, compared one by one. Thread-safe: it is only read."""

    def __init__(self, table: ChunkTable | None, matrix: Vectors, permitted: Mask) -> None:
        """table: whose keys order equal scores; None where the places of chunks do."""
        self._table = table
        self._matrix = matrix
        self._permitted = permitted
        self.size, self.dimension = matrix.shape

    def search(self, query: Vectors, k: int, allowed: Mask | None = None) -> tuple[Ids, Vectors]:
        """See VectorIndex.search; equal scores by key and number, since places are other ones where other rows are hidden."""
        within = self._permitted if allowed is None else self._permitted & allowed
        if self._table is None:
            return nearest(self._matrix, query, k, within)
        width = k + _TIES
        while True:
            ids, scores = nearest(self._matrix, query, width, within)
            if len(ids) < width or scores[-1] < scores[k - 1]:
                break
            width *= 4
        names = [row[:2] for row in self._table.rows(ids)]
        order = sorted(range(len(ids)), key=lambda at: (-scores[at], names[at]))[:k]
        return ids[order], scores[order]

    def tune(self, search: Mapping[str, Any]) -> None:
        """Nothing to tune."""

    def beside(self, search: Mapping[str, Any]) -> PermittedIndex:
        """Itself: there is nothing to tune."""
        return self

    def quick(self, k: int) -> bool:
        """Never: it looks at every permitted vector."""
        return False

    def describe(self) -> Mapping[str, Any]:
        """See VectorIndex.describe."""
        return {"engine": "permitted", "size": self.size, "dimension": self.dimension, "search": {}, "memory_bytes": 0, "disk_bytes": 0}


def seen_through(serving: Serving, permit: Permit) -> Serving:
    """The build as if it held what is permitted alone."""
    index = PermittedIndex(serving.table if permit.keyed else None, serving.vectors, permit.build)
    return replace(
        serving, index=index, tail=permit.tail, lexical=None, tail_words=None, judged_by=permit.sample, by_key=permit.keyed, measured={}
    )


class Permits:
    """Asks once for each. Used on one event loop."""

    def __init__(self, filters: Filters) -> None:
        self._filters = filters
        self._held: OrderedDict[str, Permit] = OrderedDict()
        self._making: dict[str, anyio.Lock] = {}

    async def of(
        self,
        serving: Serving,
        table: Table,
        shown: Decision,
        reader: Reader,
        moments: Mapping[int, Moment],
        still: Callable[[], bool],
        changed: pa.Table | None = None,
    ) -> Permit:
        """table: of the index's dataset. moments: the versions in which a row must be seen, and how each is asked for. still: whether
        `shown` is what the reader is shown under the policies in force now. changed: rows whose texts differ between the build and a
        former version, as `Versions.changed` gives them, which cannot be found.

        Raises IndexNotServing where one of the versions is not kept any more, and what asking for keys raises.
        """
        name = digest([shown.row_filter, dict(shown.values), sorted(moments), *_of_what(serving), changed is not None])
        known = self._held.get(name)
        if known is not None:
            self._held.move_to_end(name)
            return known
        try:
            async with self._making.setdefault(name, anyio.Lock()):
                known = self._held.get(name)
                if known is None:
                    keys = [await self._keys(serving, reader, moment) for moment in moments.values()]
                    lasting = still()  # keys are those of the policies in force when they were told
                    known = await anyio.to_thread.run_sync(_permit, serving, keys, changed, bool(table.primary_key))
                    if lasting:
                        self._held[name] = known
                    if len(self._held) > REMEMBERED:
                        self._held.popitem(last=False)
        finally:
            self._making.pop(name, None)
        return known

    async def _keys(self, serving: Serving, reader: Reader, moment: Moment) -> pa.Array:
        facts = serving.table.facts
        try:
            return await self._filters.keys(facts.dataset, EVERY_ROW, reader, moment)
        except VersionUnknown as error:
            message = f"Index {facts.index} holds version {moment} of its dataset, of which nobody can say any more what you may see."
            raise IndexNotServing(message, remedy="Ask again once it holds the present version.") from error


def _of_what(serving: Serving) -> Sequence[str]:
    tail = serving.manifest.tail if serving.tail is not None else None
    files = (ref.sha256 for ref in serving.build.files.values())
    return serving.table.facts.dataset, serving.build.digest, *files, "" if tail is None else tail.digest


def _permit(serving: Serving, keys: Sequence[pa.Array], changed: pa.Table | None, keyed: bool) -> Permit:
    """Blocking."""
    seen, *others = keys
    for other in others:
        seen = seen.filter(pc.is_in(seen, value_set=other))
    build, tail, missing = serving.table.of_rows(seen), serving.tail, 0
    if tail is not None:
        build = build if tail.current is None else build & tail.current
        tail = tail.only(seen, ordered=keyed)
    if changed is not None:
        differ = changed["key"].combine_chunks()
        build = build & ~serving.table.of_rows(differ)
        missing = pc.sum(pc.and_(changed["there"], pc.is_in(changed["key"], value_set=seen))).as_py() or 0
    places = build.nonzero()[0]
    even = np.linspace(0, len(places) - 1, min(SAMPLED, len(places))).astype(np.int64)
    return Permit(build, places[even], tail, missing, keyed)


def check_masks(shown: Decision, table: Table, columns: Iterable[str]) -> None:
    """Raises QueryForbidden where policies mask one of the columns, which were called so in whichever version of the table: what is like a
    value tells the value."""
    masked = {name.casefold() for name in shown.masks}
    if not masked:
        return
    named = [(column.name.casefold(), column.id) for schema in table.schemas for column in schema.columns]
    hidden = {number for name, number in named if name in masked}
    for column in columns:
        own = {number for name, number in named if name == column.casefold()}
        if column.casefold() in masked or own & hidden or not own:
            message = f"Policies of {table.name} mask columns that this index is made of, so you cannot search it."
            raise QueryForbidden(message, remedy="Ask whoever keeps the policies for an index of the other columns.")


def numbered(keys: Iterable[str]) -> Mapping[str, str]:
    """Names for rows that have no key of their own, in the order in which they come: the digest of a file and a place in it, by which they
    are known otherwise, tell of all of its rows."""
    return {key: f"row {number}" for number, key in enumerate(dict.fromkeys(keys), 1)}
