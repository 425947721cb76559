"""The recipe that an index gets when its spec names none.

| chunks      | recipe                 | because                                                                                         |
|-------------|------------------------|-------------------------------------------------------------------------------------------------|
| to 20 000   | flat                   | exact, no build; some 0.5 ms a query at 256 numbers a vector                                    |
| to 300 000  | hnsw 32 / 80 / 100     | recall@10 0.980 in 0.15 ms, built at 8 000 vectors per CPU second (100 000 documentation texts) |
| beyond      | hnsw 32 / 160 / 160    | recall falls as data grows at equal parameters                                                  |

(m / efConstruction / efSearch. The figures are of `bench/search.py`.) It knows the size only: what the data and the queries are like is
found out by measuring, which is a tuner's work.
"""

from __future__ import annotations

from engines.vectors.engine import Recipe
from engines.vectors.registry import open_engine

FLAT_UP_TO = 20_000
LARGE_FROM = 300_000


def recommend(chunks: int) -> Recipe:
    """The recipe for an index of so many chunks."""
    if chunks <= FLAT_UP_TO:
        return open_engine("flat").recipe({})
    return recommend_graph(chunks)


def recommend_graph(chunks: int) -> Recipe:
    """The graph for an index of so many chunks, where it is to be one."""
    if chunks <= LARGE_FROM:
        return open_engine("hnsw").recipe({"m": 32, "efConstruction": 80, "efSearch": 100})
    return open_engine("hnsw").recipe({"m": 32, "efConstruction": 160, "efSearch": 160})
