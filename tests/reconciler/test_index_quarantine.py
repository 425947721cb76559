"""Texts that get no vector of use are in `system.quarantine`, counted in the index's status, and searched again once they get one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from small_lake import BUCKET, Bench, dataset, index

from engines.embedding import registry
from engines.embedding.registry import Embedder, open_embedder
from engines.reading import TableName
from engines.sql.session import Session
from engines.sql.tables import CatalogTables
from engines.vectors import soundness
from state.catalog.indexes import IndexRecord
from state.references import references
from state.streams.catalog_tables import CATALOG_TABLES

KEYED = ", primaryKey: [id], write: upsert, tombstone: gone"
ROWS = "id,gone,text\n1,,java developer\n2,,a cursed chef\n3,,night nurse\n4,,a cursed baker\n"


class Cursed:
    """The built-in embedder, which has nothing but NaN to say of some texts."""

    def __init__(self, bare: Embedder, fingerprint: str = "") -> None:
        self._bare = bare
        self.name, self.fingerprint, self.dimension = bare.name, fingerprint or bare.fingerprint, bare.dimension
        self.offsets = bare.offsets
        self.curse = "cursed"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = self._bare.embed(texts).copy()
        vectors[[self.curse in text for text in texts]] = np.nan
        return vectors


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Cursed:
    cursed = Cursed(open_embedder())
    monkeypatch.setitem(registry._opened, "builtin", cursed)
    return cursed


@pytest.fixture
def served(tmp_path: Path, model: Cursed) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    bench.write("data/x/1.csv", ROWS)
    bench.commit(BUCKET, dataset("x", KEYED), index("i", "x"))
    bench.settle()
    yield bench
    bench.close()


def quarantine(bench: Bench) -> list[dict[str, Any]]:
    tables = CatalogTables(bench.catalog, bench.state.objects, None, bench.folder / "views")  # type: ignore[arg-type]
    source = tables.resolve(TableName("system.quarantine"))
    assert source is not None
    sql = "SELECT dataset, source, line, rule, reason, text, key FROM system.quarantine ORDER BY text"
    with Session().frame(sql, {}, [source]) as frame:
        return list(frame.to_arrow_table().to_pylist())


def aside(bench: Bench) -> list[str]:
    return [row["text"] for row in quarantine(bench)]


def record(bench: Bench) -> IndexRecord:
    known = bench.catalog.index("i")
    assert known is not None
    return known


def test_rows_without_a_vector_are_listed_and_counted_and_the_others_are_served(served: Bench) -> None:
    status = served.by_object()["Index/i"]
    assert status.message == "the recommended flat build serves 2 chunks of 4 rows, 2 in quarantine"
    assert status.detail["quarantine"] == 2
    baker, chef = quarantine(served)
    assert (baker["text"], chef["text"]) == ("a cursed baker", "a cursed chef")
    assert (chef["dataset"], chef["source"], chef["line"], chef["rule"]) == ("x", "Index/i", None, "vector: not-finite")
    assert (baker["key"], chef["key"]) == ("[4]", "[2]")
    assert chef["reason"].startswith("The vector of piece 0 of row [2] has a number that is not finite; the model is builtin/")


def test_a_text_that_changes_heals_and_others_stay_told(served: Bench) -> None:
    served.write("data/x/2.csv", "id,gone,text\n2,,a blessed chef\n5,,a cursed clerk\n")
    assert served.settle()["Index/i"].message == "the recommended flat build serves 3 chunks of 5 rows, 2 in quarantine"
    assert aside(served) == ["a cursed baker", "a cursed clerk"]
    served.write("data/x/3.csv", "id,gone,text\n4,true,\n5,,a quick clerk\n")
    status = served.settle()["Index/i"]
    assert status.message == "the recommended flat build serves 4 chunks of 4 rows"
    assert "quarantine" not in status.detail
    assert aside(served) == []


def test_rows_without_text_are_counted_beside_those_in_quarantine(served: Bench) -> None:
    def said() -> tuple[str, object]:
        status = served.settle()["Index/i"]
        table, state = CATALOG_TABLES["index_models"], served.catalog.get("Index/i")
        assert state is not None
        (row,) = table.rows(state, served.state.describe)
        assert dict(zip([column.name for column in table.columns], row, strict=True))["rows_without_text"] == status.detail.get(
            "rowsWithoutText", 0
        )
        return status.message.rpartition("serves ")[2], status.detail.get("rowsWithoutText")

    assert said() == ("2 chunks of 4 rows, 2 in quarantine", None)
    served.write("data/x/2.csv", 'id,gone,text\n1,,\n5,,"  "\n6,,a cursed clerk\n')
    assert said() == ("1 chunks of 6 rows, 2 without text, 3 in quarantine", 2)
    served.write("data/x/3.csv", "id,gone,text\n2,,\n5,true,\n6,,a quick clerk\n")
    assert said() == ("2 chunks of 5 rows, 2 without text, 1 in quarantine", 2)
    served.commit(BUCKET, dataset("x", KEYED), index("i", "x", more=", chunk: {tokens: 64}"))
    assert said() == ("2 chunks of 5 rows, 2 without text, 1 in quarantine", 2), "a corpus counts them as tails do"
    served.write("data/x/4.csv", "id,gone,text\n1,,java\n2,,chef\n")
    assert said() == ("4 chunks of 5 rows, 1 in quarantine", None)


def test_a_corpus_of_before_vectors_were_checked_is_embedded_anew(tmp_path: Path, model: Cursed, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)
    bench.write("data/x/1.csv", ROWS)
    bench.commit(BUCKET, dataset("x", KEYED), index("i", "x"))
    kept: list[str] = []

    def once(model: Embedder, texts: Sequence[str]) -> tuple[Any, dict[int, str]]:
        kept.extend(texts)
        monkeypatch.setattr("engines.vectors.chunk_maker.embed", soundness.embed)
        return model.embed(texts), {}

    monkeypatch.setattr("engines.vectors.chunk_maker.embed", once)
    bench.settle()
    assert sorted(kept) == ["a cursed baker", "a cursed chef", "java developer", "night nurse"]
    assert bench.by_object()["Index/i"].message == "the recommended flat build serves 2 chunks of 4 rows, 2 in quarantine"
    assert len(record(bench).corpora) == len(record(bench).builds) == 1
    bench.close()


def test_another_model_heals(served: Bench, model: Cursed, monkeypatch: pytest.MonkeyPatch) -> None:
    better = Cursed(model._bare, "builtin/better")
    better.curse = "nobody"
    monkeypatch.setitem(registry._opened, "builtin", better)
    monkeypatch.setitem(registry._fingerprints, "builtin", better.fingerprint)
    assert served.settle()["Index/i"].message == "the recommended flat build serves 4 chunks of 4 rows"
    assert aside(served) == []


def test_a_corpus_made_again_after_its_ledger_was_lost_heals_what_the_model_can_by_then(served: Bench, model: Cursed) -> None:
    found = next(iter(record(served).corpora.values())).aside
    assert found is not None
    model.curse = "nobody"
    (served.folder / "lake" / found.ref.key).unlink()
    served.settle()
    assert "Index/i" in served.by_object()
    assert aside(served) == []
    assert next(iter(record(served).corpora.values())).chunks == 4


def test_ledgers_are_referred_to_while_they_are_told_of(served: Bench) -> None:
    served.write("data/x/2.csv", "id,gone,text\n5,,a cursed clerk\n")
    served.settle()
    keys = {ref.key for ref in references(served.catalog.objects("Index")["Index/i"])}
    ledgers = {path.relative_to(served.folder / "lake").as_posix() for path in (served.folder / "lake").rglob("*.quarantine.parquet")}
    assert len(ledgers) == 2
    assert ledgers <= keys
