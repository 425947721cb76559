"""How far what an index holds is from the rows of its dataset; pure.

A corpus holds the texts of one version. What came since is a tail beside it, until that tells of more than `rebuildShare` of the rows: then
the index is built anew over a corpus of the present rows. While a table moves on, the newest corpus that is near enough is built over, not
one that is overtaken before it is finished.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from state.catalog.indexes import Corpus, Tail
from state.catalog.tables import Table

LEAST = 256
"""Changed rows up to which nothing is built anew, however small the share that is allowed, but for none."""

MEANWHILE = 5
"""How many times as many rows as that a tail may tell of, so that what serves can follow until the next is built."""


@dataclass(frozen=True, slots=True)
class Lag:
    """The table has moved on since: what has to be read to catch up.

    Args:
        base: the corpus.
        version: of the table, which what is held is of.
        former: the tail to go on from; None begins at the base.
        most: changed rows up to which a tail is made.
    """

    base: Corpus
    version: int
    former: Tail | None
    most: int


MOST = 200_000
"""Changed rows beyond which another corpus is made, however large the table: a tail is compared one by one, and held in memory."""


def most_changed(base: Corpus, share: float) -> int:
    """Rows that may have changed since a corpus before another one is made; a share of 0 allows none."""
    return min(max(int(base.rows * share), LEAST), MOST) if share else 0


def most_told(base: Corpus, share: float) -> int:
    """Changed rows up to which a tail is made."""
    return MEANWHILE * most_changed(base, share)


def lag(base: Corpus, table: Table, tails: Iterable[Tail], share: float) -> Lag | None:
    """What a corpus lacks of the present rows; None where it lacks nothing, or where the version that it is of is not kept any more."""
    if base.snapshot == table.snapshot or current_tail(base, table, tails) is not None:
        return None
    return next(_lags(base, table, tails, share), None)


def near(base: Corpus, table: Table, tails: Iterable[Tail], share: float) -> bool:
    """Whether the corpus with a tail can stand for the present rows, as far as is known."""
    tails = tuple(tails)
    if base.snapshot == table.snapshot:
        return True
    step = next(_lags(base, table, tails, share), None)
    tail = current_tail(base, table, tails) or (step.former if step is not None else None)
    return (step is not None or tail is not None) and (tail is None or tail.changed <= most_changed(base, share))


def current_tail(base: Corpus, table: Table, tails: Iterable[Tail]) -> Tail | None:
    """The one that leads from the corpus to the present rows, if there is one."""
    return next((tail for tail in tails if tail.base == base.digest and tail.snapshot == table.snapshot), None)


def _lags(base: Corpus, table: Table, tails: Iterable[Tail], share: float) -> Iterator[Lag]:
    """From the newest tail of the corpus, else from the corpus itself: from a version that is still known."""
    kept = frozenset(table.versions)
    most = most_told(base, share)
    if not most:
        return
    own = sorted((tail for tail in tails if tail.base == base.digest), key=lambda tail: -tail.table_version)
    yield from (Lag(base, tail.table_version, tail, most) for tail in own if (tail.table_version, tail.table_at) in kept)
    if (base.table_version, base.table_at) in kept:
        yield Lag(base, base.table_version, None, most)
