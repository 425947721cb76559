"""`lakectl explain engine`: a table and one sentence, for a size or for an index."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from state.catalog.catalog import Catalog
from state.catalog.index_changes import BuildAdded, CorpusAdded, Served
from state.catalog.indexes import Build, Corpus, ServingManifest
from state.catalog.log import WriterId
from state.objects import ObjectRef

if TYPE_CHECKING:
    from conftest import Lakehouse, Said

    Lakectl = Callable[..., Said]

BUCKET = """
apiVersion: lakehouse/v1
kind: Bucket
metadata: {name: primary}
spec: {local: {path: lake}}
"""


def test_a_size_is_explained(lakectl: Lakectl, golden: Any) -> None:
    said = [lakectl("explain", "engine", "--memory", memory, *more).all for memory, more in (("8GiB", ()), ("1GiB", ("--rows", "1000000")))]
    assert max(len(line) for text in said for line in text.splitlines()) <= 80
    golden.check("explain-engine.txt", "\n".join(said))


def test_as_a_document(lakectl: Lakectl) -> None:
    found = lakectl("explain", "engine", "--rows", "1000", "--dimensions", "64", "-o", "json").document
    assert (found["vectors"], found["dimensions"], found["recipe"]) == (1000, 64, "flat: {}")
    assert found["memoryBytes"] > 0
    assert {one["measured"] for one in found["predictions"]} == {False}


def test_an_index_is_explained_by_what_is_built(lakehouse: Lakehouse, lakectl: Lakectl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lakehouse.root)
    (lakehouse.root / "specs" / "bucket.yaml").write_text(BUCKET)
    corpus = Corpus("c", ObjectRef("primary", "k", 1, "0" * 64), 1, 1, "s", 1, "f", 4)
    catalog = Catalog.open(lakehouse.store, writer=WriterId("w", 2), clock=lakehouse.clock)
    build = Build("b", None, "hnsw", {}, "c", {}, 2_000_000, 384, 1.0)
    changes = (CorpusAdded("Index/about", corpus), BuildAdded("Index/about", build), Served("Index/about", ServingManifest("b", None)))
    catalog.commit(changes, actor="a", reason="r")
    found = lakectl("explain", "engine", "Index/about", "--memory", "1GiB", "-o", "json").document
    assert (found["vectors"], found["dimensions"], found["recipe"]) == (
        2_000_000,
        384,
        "lance: {type: IVF_RQ, refineFactor: 50, nprobes: 68}",
    )
    assert lakectl("explain", "engine", "abuot").err.startswith("error: There is no build of an index 'abuot'")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("engine", "about", "--rows", "7"), "an index has a size of its own"),
        (("engine", "--rows", "none"), "no whole number"),
        (("engine", "--memory", "lots"), "argument --memory"),
        (("Dataset", "--rows", "7"), "go with `lakectl explain engine`"),
        (("Dataset", "about"), "goes with `lakectl explain engine` and `access`"),
    ],
)
def test_what_cannot_be_explained(lakectl: Lakectl, words: tuple[str, ...], message: str) -> None:
    said = lakectl("explain", *words)
    assert said.code != 0
    assert message in said.err
