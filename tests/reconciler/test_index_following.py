"""An index follows the rows of its dataset: what came, changed or went since its build is found at once, in a tail beside it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from small_lake import BUCKET, Bench, dataset, index

from controllers.index.following import LEAST
from engines.at import At, Moment
from engines.embedding import registry
from engines.embedding.registry import Embedder, open_embedder
from engines.reading import Reader
from engines.search import SearchService
from engines.search_answer import SearchRequest, SearchResult
from state import reasons
from state.catalog.indexes import IndexRecord
from state.catalog.tables import Table

KEYED = ", primaryKey: [id], write: upsert, tombstone: gone"
ROWS = "id,gone,text\n1,,java developer with kafka\n2,,pastry chef and baker\n3,,nurse on a night shift\n"


class Keys:
    """Filters that the tests say: keys of rows."""

    async def keys(self, dataset: str, filter_sql: str, reader: Reader, moment: Moment = None) -> pa.Array:
        return pa.array(filter_sql.split(), pa.string())

    async def changed(self, *given: object) -> pa.Table:
        return pa.table({"key": pa.array([], pa.string()), "there": pa.array([], pa.bool_())})


def found(bench: Bench, text: str, **given: object) -> SearchResult:
    async def ask() -> SearchResult:
        service = SearchService(bench.catalog, bench.state.objects, Keys())
        try:
            return await service.search(SearchRequest("i", text, **given))  # type: ignore[arg-type]
        finally:
            service.close()

    return asyncio.run(ask())


def texts(bench: Bench, text: str, **given: object) -> list[str]:
    return [hit.text for hit in found(bench, text, **given).hits]


def record(bench: Bench) -> IndexRecord:
    known = bench.catalog.index("i")
    assert known is not None
    return known


def table(bench: Bench) -> Table:
    known = bench.catalog.table("x")
    assert known is not None
    return known


def tails(bench: Bench) -> list[str]:
    return [info.key for info in bench.store.list("indexes/i/tails/")]


@pytest.fixture
def served(bench: Bench) -> Bench:
    bench.write("data/x/1.csv", ROWS)
    bench.commit(BUCKET, dataset("x", KEYED), index("i", "x"))
    assert bench.settle()["Index/i"].message == "the recommended flat build serves 3 chunks of 3 rows"
    return bench


def test_a_new_a_changed_and_a_deleted_row_are_found_and_nothing_is_built(served: Bench) -> None:
    built = record(served).builds
    served.write("data/x/2.csv", "id,gone,text\n1,,java developer with spark\n2,true,\n4,,lawyer for tenants\n")
    status = served.settle()["Index/i"]
    assert status.message == "the recommended flat build serves 3 chunks of 3 rows"
    assert status.detail["changedSince"] == 3
    assert record(served).builds == built
    assert sorted(texts(served, "java", k=9)) == ["java developer with spark", "lawyer for tenants", "nurse on a night shift"]
    assert found(served, "lawyer").versions == {"x": 2}
    assert texts(served, "lawyer", k=1) == ["lawyer for tenants"]
    assert texts(served, "java", filter="[1] [3]", k=9) == ["java developer with spark", "nurse on a night shift"]


def test_the_next_tail_goes_on_from_the_one_before(served: Bench) -> None:
    served.write("data/x/2.csv", "id,gone,text\n1,,java developer with spark\n2,,pastry chef in paris\n")
    served.settle()
    served.write("data/x/3.csv", "id,gone,text\n1,true,\n5,,\n")
    assert served.settle()["Index/i"].message.endswith("serves 2 chunks of 3 rows, 1 without text")
    tail = record(served).serving
    assert tail is not None
    assert tail.tail is not None
    assert (tail.tail.changed, tail.tail.chunks, tail.tail.hidden) == (3, 1, 2)
    assert texts(served, "pastry", k=9) == ["pastry chef in paris", "nurse on a night shift"]
    assert tails(served) == [tail.tail.ref.key], "the one before is let go of"


def test_a_row_that_gets_its_former_text_back_is_found_once(served: Bench) -> None:
    for number, text in enumerate(("java developer with spark", "java developer with kafka"), 2):
        served.write(f"data/x/{number}.csv", f"id,gone,text\n1,,{text}\n")
        served.settle()
    assert texts(served, "java", k=9)[0] == "java developer with kafka"
    assert len(texts(served, "java", k=9)) == 3


def test_a_change_of_other_columns_embeds_nothing(bench: Bench) -> None:
    bench.write("data/x/1.csv", "id,n,text\n1,7,hello\n")
    bench.commit(BUCKET, dataset("x", ", primaryKey: [id], write: upsert"), index("i", "x"))
    bench.settle()
    bench.write("data/x/2.csv", "id,n,text\n1,8,hello\n")
    status = bench.settle()["Index/i"]
    assert (status.detail["changedSince"], status.detail["tableVersion"]) == (0, 2)


def test_rows_without_a_key_are_followed_too(bench: Bench) -> None:
    bench.write("data/x/1.csv", "text\nhello\nworld\n")
    bench.commit(BUCKET, dataset("x"), index("i", "x"))
    bench.settle()
    bench.write("data/x/1.csv", "text\nhello\nthere\n")
    bench.write("data/x/2.csv", "text\nagain\n")
    bench.settle()
    assert sorted(texts(bench, "hello", k=9)) == ["again", "hello", "there"]


@pytest.mark.parametrize("write", ["append", "replace"])
def test_of_rows_that_share_a_key_those_that_stay_are_found_too(bench: Bench, write: str) -> None:
    bench.write("data/x/1.csv", "id,text\n1,hello\n1,world\n2,other\n")
    bench.commit(BUCKET, dataset("x", f", primaryKey: [id], write: {write}"), index("i", "x"))
    bench.settle()
    more = bench.write("data/x/2.csv", "id,text\n1,zebra\n1,lion\n")
    bench.settle()
    assert sorted(texts(bench, "hello", k=9)) == ["hello", "lion", "other", "world", "zebra"]
    more.write_text("id,text\n1,lion\n", encoding="utf-8")
    status = bench.settle()["Index/i"]
    assert sorted(texts(bench, "hello", k=9)) == ["hello", "lion", "other", "world"]
    assert status.detail["rows"] == table(bench).rows


def test_compaction_changes_no_answer_and_builds_nothing(served: Bench) -> None:
    built = record(served).builds
    served.write("data/x/2.csv", "id,gone,text\n4,,lawyer for tenants\n")
    served.settle()
    served.commit(BUCKET, dataset("x", f"{KEYED}, compaction: {{maxDeltas: 1}}"), index("i", "x"))
    served.settle()
    served.write("data/x/3.csv", "id,gone,text\n5,,judge\n")
    served.settle()
    assert not any(file.role == "delta" for file in table(served).files)
    assert record(served).builds == built
    assert texts(served, "judge", k=1) == ["judge"]
    assert len(texts(served, "judge", k=9)) == 5


def test_past_the_share_it_is_built_anew_and_the_tail_goes(served: Bench) -> None:
    lines = [f"{number},,cook number {number}\n" for number in range(10, 11 + LEAST)]
    served.write("data/x/2.csv", f"id,gone,text\n{''.join(lines)}")
    status = served.settle()["Index/i"]
    assert (status.detail["changedSince"], status.detail["chunks"]) == (0, LEAST + 4)
    assert len(record(served).builds) == 2
    serving = record(served).serving
    assert serving is not None
    assert serving.tail is None
    assert texts(served, "cook number 77", k=1) == ["cook number 77"]


def test_far_more_than_that_is_not_embedded_twice(served: Bench) -> None:
    lines = [f"{number},,cook number {number}\n" for number in range(10, 11 + 5 * LEAST)]
    served.write("data/x/2.csv", f"id,gone,text\n{''.join(lines)}")
    assert served.settle()["Index/i"].detail["changedSince"] == 0
    assert tails(served) == []


def test_rows_that_go_back_to_what_was_far_are_served_by_the_build_that_has_them(bench: Bench) -> None:
    bench.write("data/x/1.csv", "text\nhello\nworld\n")
    bench.commit(BUCKET, dataset("x", ", write: replace"), index("i", "x"))
    bench.settle()
    more = bench.write("data/x/2.csv", "text\n" + "".join(f"word {number}\n" for number in range(1 + 5 * LEAST)))
    bench.settle()
    more.unlink()
    assert bench.settle()["Index/i"].message == "the recommended flat build serves 2 chunks of 2 rows"
    assert len(record(bench).builds) == 2
    assert texts(bench, "hello", k=1) == ["hello"]


def test_a_tail_that_vanished_is_made_again(served: Bench) -> None:
    served.write("data/x/2.csv", "id,gone,text\n4,,lawyer for tenants\n")
    served.settle()
    (key,) = tails(served)
    place = served.store.path(key)
    assert isinstance(place, Path)
    place.unlink()
    served.settle()
    assert tails(served) == [key]
    assert texts(served, "lawyer", k=1) == ["lawyer for tenants"]


def test_other_text_columns_are_another_corpus(served: Bench) -> None:
    served.write("data/x/2.csv", "id,gone,text,more\n4,,lawyer,for tenants\n")
    served.settle()
    served.commit(BUCKET, dataset("x", KEYED), index("i", "x", "more"))
    assert served.settle()["Index/i"].message.endswith("serves 1 chunks of 4 rows, 3 without text")
    assert texts(served, "tenants", k=9) == ["for tenants"]


def test_a_text_column_that_is_renamed_is_another_text(served: Bench) -> None:
    renamed = f"{KEYED}, migrations: [{{from: 1, rename: {{text: words}}}}]"
    served.commit(BUCKET, dataset("x", renamed), index("i", "x", "words"))
    assert served.settle()["Index/i"].message == "the recommended flat build serves 3 chunks of 3 rows"
    assert texts(served, "nurse", k=1) == ["nurse on a night shift"]


class Newer:
    """The model, as if a later version of it were installed."""

    fingerprint = "newer"

    def __init__(self, model: Embedder) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def test_after_the_model_changed_all_is_embedded_anew_whatever_came_meanwhile(served: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    served.write("data/x/2.csv", "id,gone,text\n4,,lawyer for tenants\n")
    monkeypatch.setitem(registry._opened, "builtin", Newer(open_embedder()))
    monkeypatch.setitem(registry._fingerprints, "builtin", Newer.fingerprint)
    assert served.settle()["Index/i"].message == "the recommended flat build serves 4 chunks of 4 rows"
    assert texts(served, "lawyer", k=1) == ["lawyer for tenants"]


def test_a_former_version_is_answered_by_the_build_alone(served: Bench) -> None:
    served.write("data/x/2.csv", "id,gone,text\n1,,java developer with spark\n")
    served.settle()
    then, now = (found(served, "java developer", at=At(version), k=1) for version in (1, 2))
    assert ([hit.text for hit in then.hits], then.versions) == (["java developer with kafka"], {"x": 1})
    assert ([hit.text for hit in now.hits], now.versions) == (["java developer with spark"], {"x": 2})


def test_following_is_no_promotion(served: Bench) -> None:
    promoted = len(served.events(reasons.PROMOTED))
    served.write("data/x/2.csv", "id,gone,text\n4,,lawyer for tenants\n")
    served.settle()
    assert len(served.events(reasons.PROMOTED)) == promoted
    assert record(served).previous is None
