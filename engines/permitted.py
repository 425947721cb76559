"""An index for a reader from whom policies hide rows: an open build as if it held the others alone.

Which rows those are says the query service, through the filter of the policies, for the version that the build's texts are of and for the
one that is asked for: a row is found where it may be seen in both. What else a search could tell of hidden rows is not there: candidates
are compared one by one, since a graph's walk goes by all of them; words are weighed and a threshold is judged by permitted chunks; equal
scores are ordered by key, where rows have one. What is kept is which chunks are permitted, by the filter with its values, the versions and
the build, so that it is asked for once.

It refuses to decide who sees what (`reading.py`), and to search (`search.py`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import anyio
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engines.at import Moment
from engines.errors import IndexNotServing, QueryForbidden, VersionUnknown
from engines.fusion import SAMPLED
from engines.lexical.bm25 import LexicalIndex
from engines.lexical.permitted_words import Lengths, PermittedWords, lengths_of
from engines.lexical.tail_words import TailWords
from engines.lexical.terms import terms
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
REMEMBERED_LENGTHS = 4
"""Corpora of which the lengths of texts are kept: four bytes for each chunk."""
_TIES = 32
"""Equals of the last hit that are looked for at first."""
EVERY_ROW = "true"


class Filters(Protocol):
    """The query service, as far as this needs it."""

    async def keys(self, dataset: str, filter_sql: str, reader: Reader, moment: Moment = None) -> pa.Array:
        """The keys of the rows that the reader may see and that pass, a string array."""


@dataclass(frozen=True, slots=True)
class Permit:
    """What of an open build a reader may find.

    Args:
        build: which of its chunks; sample: places of some of them, evenly; words: their keyword index, where the build has one.
        tail: what of its tail; tail_words: the keyword index of that.
        missing: rows of a former version that the reader may see and that the build lacks, or has otherwise.
        keyed: whether rows have keys of their own.
    """

    build: Mask
    sample: Ids
    tail: TailIndex | None
    words: PermittedWords | None
    tail_words: TailWords | None
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
        return in_order(self._table, lambda width: nearest(self._matrix, query, width, within), k)

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


def in_order(table: ChunkTable | None, search: Callable[[int], tuple[Ids, Vectors]], k: int) -> tuple[Ids, Vectors]:
    """The k best of a search, equal scores by key and number; without a table as the search has them."""
    if table is None:
        return search(k)
    width = k + _TIES
    while True:
        ids, scores = search(width)
        if len(ids) < width or scores[-1] < scores[k - 1]:
            break
        width *= 4
    names = [row[:2] for row in table.rows(ids)]
    order = sorted(range(len(ids)), key=lambda at: (-scores[at], names[at]))[:k]
    return ids[order], scores[order]


def seen_through(serving: Serving, permit: Permit) -> Serving:
    """The build as if it held what is permitted alone."""
    index = PermittedIndex(serving.table if permit.keyed else None, serving.vectors, permit.build)
    return replace(
        serving,
        index=index,
        tail=permit.tail,
        lexical=permit.words,
        tail_words=permit.tail_words,
        judged_by=permit.sample,
        by_key=permit.keyed,
        permitted=permit.build,
        measured={},
    )


class Permits:
    """Asks once for each. Used on one event loop."""

    def __init__(self, filters: Filters) -> None:
        self._filters = filters
        self._held: OrderedDict[str, Permit] = OrderedDict()
        self._making: dict[str, anyio.Lock] = {}
        self._lengths: OrderedDict[str, Lengths] = OrderedDict()

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
                    known = await anyio.to_thread.run_sync(self._permit, serving, keys, changed, bool(table.primary_key))
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

    def _permit(self, serving: Serving, keys: Sequence[pa.Array], changed: pa.Table | None, keyed: bool) -> Permit:
        """Blocking."""
        seen, *others = keys
        for other in others:
            seen = seen.filter(pc.is_in(seen, value_set=other))
        table, tail, missing = serving.table, serving.tail, 0
        build = table.of_rows(seen)
        if tail is not None:
            build = build if tail.current is None else build & tail.current
            tail = tail.only(seen, ordered=keyed)
        if changed is not None:
            build = build & ~table.of_rows(changed["key"].combine_chunks())
            missing = pc.sum(pc.and_(changed["there"], pc.is_in(changed["key"], value_set=seen))).as_py() or 0
        places = build.nonzero()[0]
        even = np.linspace(0, len(places) - 1, min(SAMPLED, len(places))).astype(np.int64)
        words = None
        if isinstance(serving.lexical, LexicalIndex):
            words = PermittedWords(serving.lexical, self._lengths_of(serving), build, partial(in_order, table if keyed else None))
        tail_words = None if tail is None or words is None else TailWords([terms(text) for text in tail.texts.to_pylist()], words)
        return Permit(build, places[even], tail, words, tail_words, missing, keyed)

    def _lengths_of(self, serving: Serving) -> Lengths:
        """Two threads may both count: they come to the same."""
        known = self._lengths.get(serving.build.corpus)
        if known is None:
            assert serving.lexical is not None
            known = self._lengths[serving.build.corpus] = lengths_of(serving.table.texts(), serving.lexical.statistics)
            if len(self._lengths) > REMEMBERED_LENGTHS:
                self._lengths.popitem(last=False)
        return known


def _of_what(serving: Serving) -> Sequence[str]:
    """Names of all that is searched."""
    tail, lexical = serving.manifest.tail if serving.tail is not None else None, serving.manifest.lexical
    files = (ref.sha256 for ref in serving.build.files.values())
    names = (one.digest if one is not None else "" for one in (tail, lexical))
    return serving.table.facts.dataset, serving.build.digest, *files, *names


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
