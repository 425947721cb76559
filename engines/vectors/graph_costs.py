"""What a graph of hnswlib takes, by formula: bytes as it lays them out, and the work of building it. Pure.

`advice.py` and `engines/tuning/prediction.py` scale what was measured by these.
"""

from __future__ import annotations

from math import log

_FLOAT, _LINK, _LABEL, _POINTER = 4, 4, 8, 8
"""Bytes."""


def graph_bytes(vectors: int, dimension: int, links: int) -> float:
    """Of an open graph, as hnswlib 0.8 lays it out (`hnswalg.h`): on the lowest level the vector, 2 * links ids, their count and a label
    each; a pointer to the levels above, of which a node has 1 / (links - 1) on average, with `links` ids and their count."""
    lowest = dimension * _FLOAT + 2 * links * _LINK + _LINK + _LABEL
    above = (links * _LINK + _LINK) / max(1, links - 1) + _POINTER
    return vectors * (lowest + above)


def build_work(vectors: int, dimension: int) -> float:
    """What the time of building grows with: each vector is searched for among the others, in logarithmically many steps of `dimension`
    products. vectors >= 2. Source: Y. Malkov, D. Yashunin (arXiv:1603.09320), section 4.2."""
    return vectors * log(vectors) * dimension
