"""One search by two versions of an index, side by side: two models, or two generations, and how far their answers agree; or all the
searches of an EvalSet.

Each is a search of its own, by the same door, and leaves its own row in the audit. Next: `rank_agreement.py` for the arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Protocol

import anyio

from engines.errors import SearchInvalid
from engines.judgments import Query
from engines.rank_agreement import ndcg, overlap, rank_correlation, ranking
from engines.reading import ANONYMOUS, Reader
from engines.search_answer import SearchRequest, SearchResult

MOST_COMPARED = 1_000
"""Hits of each side: their ranks are compared pair by pair."""


class Searches(Protocol):
    """Searches, and what is known of their queries. Raises EngineError."""

    async def search(self, request: SearchRequest, reader: Reader) -> SearchResult:
        """The hits, best first."""

    async def judged(self, request: SearchRequest, reader: Reader) -> Mapping[str, frozenset[str]]:
        """Keys of the rows that are relevant for the request's text, by the EvalSet that says so."""

    async def queries(self, index: str, eval_set: str, reader: Reader) -> Mapping[Query, frozenset[str]]:
        """The queries of an EvalSet, each with the keys of its relevant rows."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of the rows of the k best hits of each side: see `rank_agreement.py`. ndcg: of both, by EvalSet."""

    k: int
    overlap: float | None
    rank_correlation: float | None
    ndcg: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Compared:
    """Both answers, in the order in which they were named."""

    answers: tuple[SearchResult, SearchResult]
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class SetComparison:
    """The same, as means over the queries of an EvalSet for which they are known; None where there is none. ndcg: of those queries that
    are `judged`; `better`: for how many of them each has the greater one."""

    eval_set: str
    k: int
    queries: int
    judged: int
    overlap: float | None
    rank_correlation: float | None
    ndcg: tuple[float, float] | None
    better: tuple[int, int]


async def compare(searches: Searches, request: SearchRequest, names: Sequence[str], reader: Reader = ANONYMOUS) -> Compared:
    """names: two different models or generations of the index. Raises SearchInvalid, and as `SearchService.search`."""
    _check(request, names)
    one, other = [await searches.search(replace(request, version=name), reader) for name in names]
    relevant = await searches.judged(request, reader)
    return Compared((one, other), await anyio.to_thread.run_sync(partial(_comparison, request.k, one, other, relevant)))


async def compare_over(
    searches: Searches, request: SearchRequest, names: Sequence[str], eval_set: str, reader: Reader = ANONYMOUS
) -> SetComparison:
    """request: with neither text nor filter, which are those of each query of the EvalSet. Raises as `compare`."""
    _check(request, names)
    queries = await searches.queries(request.index, eval_set, reader)
    found = []
    for (text, condition), relevant in queries.items():
        asked = [replace(request, text=text, filter=condition, version=name) for name in names]
        one, other = [await searches.search(each, reader) for each in asked]
        judged = {eval_set: relevant} if relevant else {}
        found.append(await anyio.to_thread.run_sync(partial(_comparison, request.k, one, other, judged)))
    gains = [comparison.ndcg[eval_set] for comparison in found if comparison.ndcg]
    return SetComparison(
        eval_set=eval_set,
        k=request.k,
        queries=len(queries),
        judged=len(gains),
        overlap=_mean([comparison.overlap for comparison in found]),
        rank_correlation=_mean([comparison.rank_correlation for comparison in found]),
        ndcg=(fmean(one for one, _ in gains), fmean(other for _, other in gains)) if gains else None,
        better=(sum(one > other for one, other in gains), sum(other > one for one, other in gains)),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _check(request: SearchRequest, names: Sequence[str]) -> None:
    """Raises SearchInvalid."""
    if len(names) != 2 or names[0] == names[1]:
        raise SearchInvalid(f"Two different models or generations are compared, not {' and '.join(names) or 'none'}.")
    if request.model is not None:
        raise SearchInvalid("A comparison names its models itself.", remedy="Leave `model` out.")
    if request.facets:
        raise SearchInvalid("A comparison has no facets.", remedy="Ask for them with one model.")
    if request.k > MOST_COMPARED:
        raise SearchInvalid(f"k must be at most {MOST_COMPARED} in a comparison, not {request.k}.")


def _comparison(k: int, one: SearchResult, other: SearchResult, relevant: Mapping[str, frozenset[str]]) -> Comparison:
    ranked = [ranking(hit.key for hit in result.hits) for result in (one, other)]
    gains = {name: (ndcg(ranked[0], keys, k), ndcg(ranked[1], keys, k)) for name, keys in sorted(relevant.items())}
    return Comparison(k, overlap(*ranked), rank_correlation(*ranked), gains)
