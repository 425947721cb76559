"""Only texts that no model has seen are embedded, whatever becomes of rows and indexes: counted at the embedder itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from small_lake import BUCKET, Bench, dataset, index

from engines.embedding import registry
from engines.embedding.registry import Embedder, open_embedder
from engines.jobs.entry import Entry

KEYED = ", primaryKey: [id], write: upsert, tombstone: gone"


class Counting:
    """The built-in embedder, which tells what it was asked."""

    def __init__(self, bare: Embedder, fingerprint: str = "") -> None:
        self._bare = bare
        self.name, self.fingerprint, self.dimension = bare.name, fingerprint or bare.fingerprint, bare.dimension
        self.offsets = bare.offsets
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked.extend(texts)
        return self._bare.embed(texts)

    def told(self) -> list[str]:
        """Since it was asked last."""
        asked, self.asked = self.asked, []
        return sorted(asked)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Counting:
    counting = Counting(open_embedder())
    monkeypatch.setitem(registry._opened, "builtin", counting)
    return counting


@pytest.fixture
def served(tmp_path: Path, model: Counting) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    rows = "".join(f"{number},,text {number}\n" for number in range(20))
    bench.write("data/x/1.csv", f"id,gone,text\n{rows}")
    bench.commit(BUCKET, dataset("x", KEYED), index("i", "x"))
    bench.settle()
    assert len(model.told()) == 20
    yield bench
    bench.close()


def change(bench: Bench, rows: str) -> str:
    number = len(list((bench.folder / "data" / "x").iterdir())) + 1
    bench.write(f"data/x/{number}.csv", f"id,gone,text\n{rows}")
    return bench.settle()["Index/i"].message


def test_rows_that_come_change_and_go_embed_what_is_new_and_nothing_else(served: Bench, model: Counting) -> None:
    change(served, "20,,one more\n21,,text 3\n")
    assert model.told() == ["one more"]
    change(served, "5,,changed\n6,,text 6\n")
    assert model.told() == ["changed"]
    change(served, "7,true,\n")
    assert model.told() == []
    assert change(served, "5,,text 5\n").endswith("serves 21 chunks of 21 rows")
    assert model.told() == [], "a text that comes back is known"


def test_a_corpus_that_is_made_anew_embeds_what_is_new_and_nothing_else(served: Bench, model: Counting) -> None:
    served.commit(BUCKET, dataset("x", KEYED), index("i", "x", more=", rebuildShare: 0"))
    change(served, "20,,one more\n3,true,\n")
    assert model.told() == ["one more"]


def test_another_index_of_the_same_texts_embeds_nothing(served: Bench, model: Counting) -> None:
    served.commit(BUCKET, dataset("x", KEYED), index("i", "x"), index("j", "x", more=", chunk: {tokens: 64, overlap: 8}"))
    assert served.settle()["Index/j"].message.endswith("serves 20 chunks of 20 rows")
    assert model.told() == []
    told = served.embeddings.stats()
    assert (told.entries, told.hits, told.misses) == (20, 20, 20)


def test_an_index_that_was_removed_is_embedded_again_without_the_model(served: Bench, model: Counting) -> None:
    served.commit(BUCKET, dataset("x", KEYED))
    served.settle()
    served.commit(BUCKET, dataset("x", KEYED), index("i", "x"))
    assert served.settle()["Index/i"].message.endswith("serves 20 chunks of 20 rows")
    assert model.told() == []


def test_another_model_embeds_everything_once(served: Bench, model: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = Counting(model._bare, "builtin/newer")
    monkeypatch.setitem(registry._opened, "builtin", newer)
    monkeypatch.setitem(registry._fingerprints, "builtin", newer.fingerprint)
    served.settle()
    assert len(newer.told()) == 20
    assert model.told() == []
    monkeypatch.setitem(registry._opened, "builtin", model)
    monkeypatch.setitem(registry._fingerprints, "builtin", model.fingerprint)
    assert served.settle()["Index/i"].message.endswith("serves 20 chunks of 20 rows")
    assert (newer.told(), model.told()) == ([], []), "the way back is free"


def test_what_is_embedded_beside_a_build_tells_its_progress(served: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int, int]] = []
    monkeypatch.setattr(Entry, "progress", lambda entry, done, total, now: told.append((entry.job.kind, done, total)))
    change(served, "20,,one more\n3,true,\n5,,changed\n")
    assert told[-1] == ("tail", 3, 3)
