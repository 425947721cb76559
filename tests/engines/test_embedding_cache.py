"""No text is embedded twice by one model: not for another index, not for another search; within a bound, and beside other processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.embedding.cache_stats import CacheStats
from engines.embedding.query_cache import QueryCache
from engines.embedding.registry import open_embedder
from engines.vectors import embedding_cache
from engines.vectors.corpus_file import text_hashes
from engines.vectors.embedding_cache import NO_CACHE, EmbeddingCache
from engines.vectors.engine import Vectors

MODEL, DIMENSION = "m/1", 8


def some(count: int, first: int = 0) -> tuple[list[bytes], Vectors]:
    """Hashes of texts, and vectors that tell which text they are of."""
    numbers = np.arange(first, first + count, dtype=np.float32)
    return text_hashes([f"text {number:.0f}" for number in numbers]), np.repeat(numbers[:, np.newaxis] + 1, DIMENSION, axis=1)


def keep(cache: EmbeddingCache, count: int, first: int = 0, model: str = MODEL) -> None:
    cache.keep(model, [some(count, first)], cache.of(model, DIMENSION))


def segments(cache: EmbeddingCache) -> list[Path]:
    return sorted(cache.folder.glob("*/*.arrow"))


@pytest.fixture
def cache(tmp_path: Path) -> EmbeddingCache:
    return EmbeddingCache(tmp_path / "embeddings", 1 << 20)


def test_what_was_kept_is_found_in_the_order_of_asking(cache: EmbeddingCache) -> None:
    keep(cache, 100)
    keep(cache, 100, first=100)
    hashes, vectors = some(300)
    order = [250, 7, 150, 7, 299, 0]
    recalled = cache.of(MODEL, DIMENSION)
    known, found = recalled.find([hashes[at] for at in order])
    assert known.tolist() == [False, True, True, True, False, True]
    np.testing.assert_array_equal(found, vectors[[7, 150, 7, 0]])
    assert (recalled.hits, recalled.misses) == (4, 2)


def test_models_never_meet(cache: EmbeddingCache) -> None:
    keep(cache, 5)
    assert not cache.of("m/2", DIMENSION).find(some(5)[0])[0].any()
    assert not cache.of(MODEL, DIMENSION + 1).find(some(5)[0])[0].any(), "nor does a model whose dimension changed under its name"


def test_figures_count_what_any_process_asked(cache: EmbeddingCache) -> None:
    assert cache.stats() == CacheStats(0, 0, 1 << 20, 0, 0, 0)
    keep(cache, 10)
    recalled = cache.of(MODEL, DIMENSION)
    recalled.find(some(15)[0])
    cache.keep(MODEL, [], recalled)
    told = EmbeddingCache(cache.folder, cache.limit).stats()
    assert (told.entries, told.hits, told.misses, told.evictions) == (10, 10, 5, 0)
    cache.keep(MODEL, [], recalled)
    assert cache.stats() == told, "what was counted is not counted again"
    assert told.bytes == sum(path.stat().st_size for path in segments(cache)) > 10 * DIMENSION * 4


def test_small_segments_become_one(cache: EmbeddingCache) -> None:
    for number in range(40):
        keep(cache, 3, first=3 * number)
    assert len(segments(cache)) < 10
    assert cache.stats().entries == 120
    known, found = cache.of(MODEL, DIMENSION).find(some(120)[0])
    assert known.all()
    np.testing.assert_array_equal(found, some(120)[1])


def test_what_was_of_use_the_longest_ago_goes_and_who_has_it_mapped_keeps_it(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, 20_000)
    for number, age in enumerate((300, 200, 100)):
        keep(cache, 80, first=100 * number)
        newest = max(segments(cache), key=lambda path: path.stat().st_mtime)
        os.utime(newest, (10**9 - age, 10**9 - age))
    mapped = cache.of(MODEL, DIMENSION)
    used = cache.of(MODEL, DIMENSION)
    used.find(some(80)[0])
    used.touch()
    keep(cache, 80, first=300)
    keep(cache, 80, first=400)
    now = cache.of(MODEL, DIMENSION)
    assert [bool(now.find(some(80, first)[0])[0].all()) for first in (0, 100, 200, 300, 400)] == [True, False, False, True, True]
    told = cache.stats()
    assert told.bytes <= told.limit
    assert told.evictions == 160
    known, found = mapped.find(some(80, 100)[0])
    assert known.all()
    np.testing.assert_array_equal(found, some(80, 100)[1])


def test_a_bound_of_nothing_keeps_nothing(tmp_path: Path) -> None:
    for cache in (EmbeddingCache(tmp_path / "none", 0), NO_CACHE):
        keep(cache, 10)
        assert not cache.of(MODEL, DIMENSION).find(some(10)[0])[0].any()
    assert not (tmp_path / "none").exists()


def test_a_bound_that_became_less_is_kept_to_and_one_too_small_keeps_nothing(cache: EmbeddingCache) -> None:
    keep(cache, 100)
    keep(cache, 100, first=100)
    EmbeddingCache(cache.folder, 8_000).fit()
    told = cache.stats()
    assert (told.entries, told.evictions) == (100, 100)
    EmbeddingCache(cache.folder, 0).fit()
    assert cache.stats().entries == 0
    keep(EmbeddingCache(cache.folder, 100), 5)
    assert cache.stats().entries == 0
    EmbeddingCache(cache.folder / "never made", 0).fit()


def test_what_a_killed_process_left_is_removed(cache: EmbeddingCache) -> None:
    keep(cache, 5)
    torn = segments(cache)[0].with_suffix(".tmp")
    torn.write_bytes(b"half")
    keep(cache, 5, first=5)
    assert not torn.exists()


def test_files_that_are_no_segments_are_left_alone(cache: EmbeddingCache) -> None:
    keep(cache, 5)
    foreign = [segments(cache)[0].with_name(name) for name in ("mine.arrow", "notes-of-5.arrow", "x-y.arrow")]
    for path in foreign:
        path.write_bytes(b"mine" * 10_000)
    assert cache.stats().entries == 5
    assert cache.stats().bytes < 10_000
    EmbeddingCache(cache.folder, 0).fit()
    assert segments(cache) == sorted(foreign)


def test_what_is_larger_than_the_limit_costs_nothing_else_its_place(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, 20_000)
    keep(cache, 80)
    keep(cache, 1000, first=1000)
    told = cache.stats()
    assert (told.entries, told.evictions) == (80, 0)


def test_a_folder_that_cannot_be_made_to_fit_stops_nobody(cache: EmbeddingCache, caplog: pytest.LogCaptureFixture) -> None:
    keep(cache, 5)
    (cache.folder / "lock").unlink()
    (cache.folder / "lock").mkdir()
    EmbeddingCache(cache.folder, 0).fit()
    assert "stay" in caplog.text
    assert cache.stats().entries == 5


def test_much_is_kept_in_several_segments(cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_cache, "SEGMENT_BYTES", 4096)
    cache.keep(MODEL, [some(50, first) for first in range(0, 1000, 50)], cache.of(MODEL, DIMENSION))
    assert len(segments(cache)) > 5
    assert cache.of(MODEL, DIMENSION).find(some(1000)[0])[0].all()


@pytest.mark.parametrize("content", [b"", b"ARROW1\0\0torn"])
def test_torn_segments_and_counts_are_as_if_they_were_not_there(cache: EmbeddingCache, content: bytes) -> None:
    keep(cache, 5)
    keep(cache, 5, first=5)
    segments(cache)[0].write_bytes(content)
    (cache.folder / "counts.json").write_bytes(content)
    assert cache.of(MODEL, DIMENSION).find(some(10)[0])[0].sum() == 5
    assert cache.stats().hits == 0
    keep(cache, 5, first=20)


def test_vectors_of_no_use_are_not_recalled(cache: EmbeddingCache) -> None:
    hashes, vectors = some(3)
    vectors[1] = np.nan
    vectors[2] = 0
    cache.keep(MODEL, [(hashes, vectors)], cache.of(MODEL, DIMENSION))
    assert cache.of(MODEL, DIMENSION).find(hashes)[0].tolist() == [True, False, False]


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = EmbeddingCache(tmp_path / "file", 1 << 20)
    keep(cache, 5)
    assert cache.stats().entries == 0


def test_many_may_keep_at_once(cache: EmbeddingCache) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: keep(cache, 10, first=10 * number), range(40)))
    assert cache.of(MODEL, DIMENSION).find(some(400)[0])[0].all()
    assert cache.stats().entries == 400


class Counting:
    """The built-in embedder, which tells what it was asked."""

    def __init__(self) -> None:
        self._bare = open_embedder()
        self.name, self.fingerprint, self.dimension = self._bare.name, self._bare.fingerprint, self._bare.dimension
        self.offsets, self.quick = self._bare.offsets, self._bare.quick
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked.extend(texts)
        return self._bare.embed(texts)


ADA, BOB = ("ada", "desk"), ("bob", "desk")


def test_a_query_that_is_asked_again_is_not_embedded_again() -> None:
    cache, model = QueryCache(1 << 20), Counting()
    first, second = cache.vector(ADA, model, "java"), cache.vector(ADA, model, "java")
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, open_embedder().embed(["java"]))
    assert model.asked == ["java"]
    assert not second.flags.writeable
    told = cache.stats()
    assert (told.entries, told.hits, told.misses, told.evictions) == (1, 1, 1, 0)
    another = Counting()
    another.fingerprint = "another"
    cache.vector(ADA, another, "java")
    assert another.asked == ["java"]


def test_what_another_reader_asked_for_is_embedded_again() -> None:
    """Else the time that a search takes would tell who looks for what."""
    cache, model = QueryCache(1 << 20), Counting()
    for who in (ADA, BOB, (None, "desk"), (None, None), BOB):
        cache.vector(who, model, "java")
    assert model.asked == ["java"] * 4


def test_queries_are_bounded_and_the_least_recent_goes_first() -> None:
    cache, model = QueryCache(3_000), Counting()
    for text in ("a", "b", "a", "c", "a", "b"):
        cache.vector(ADA, model, text)
    assert model.asked == ["a", "b", "c", "b"]
    told = cache.stats()
    assert (told.entries, told.evictions) == (2, 2)
    assert told.bytes <= 3_000
    cache.vector(ADA, model, "x" * 3_000)
    assert cache.stats().entries == 2, "what is larger than all the room is not kept"
    assert QueryCache(0).stats().entries == 0
