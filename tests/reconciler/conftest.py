"""A bench: what a writer consists of, over a lake in a temporary folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_lake import Bench

from engines.vectors.flat import FlatIndex


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


@pytest.fixture
def slow(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Exact search, which serves at first, takes so long that any graph is better."""
    search = FlatIndex.search

    def slowly(self: FlatIndex, *args: Any) -> Any:
        for _ in range(40):
            search(self, *args)
        return search(self, *args)

    monkeypatch.setattr(FlatIndex, "search", slowly)
    return bench
