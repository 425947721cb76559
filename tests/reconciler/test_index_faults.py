"""Whatever happens to the files of an index: it answers rightly, or says that it does not, and mends itself from its corpus."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest
from measured_lake import KEYED, eval_set, record, rows
from small_lake import BUCKET, Bench, dataset, generation, index
from test_index_following import found

from engines.ranking import Mode, Ranking
from specs.resource import Key
from state import failpoints
from state.discards import Discards
from state.errors import ObjectCorrupt, StateError
from state.objects import ObjectRef
from state.status import Status

with_lance = pytest.mark.skipif(find_spec("lancedb") is None, reason="LanceDB is an extra")
RECIPES = {
    "flat": "flat: {}",
    "flat of int8": "flat: {precision: int8}",
    "hnsw": "hnsw: {m: 8, efConstruction: 40}",
    "lance": "lance: {type: IVF_RQ}",
}
ENGINES = [pytest.param(recipe, id=name, marks=with_lance if name == "lance" else ()) for name, recipe in RECIPES.items()]
TEXT = "java nurse chicago"


def served(bench: Bench, recipe: str, count: int = 300, words: str = ", lexical: true") -> Mapping[str, Status]:
    bench.write("data/x/1.csv", rows(count))
    bench.commit(BUCKET, dataset("x", KEYED), index("i", "x", more=words), generation("g", "i", recipe))
    return bench.settle()


def again(bench: Bench) -> None:
    """As another process, to which nothing is known of any file."""
    bench.close()
    bench.open()
    bench.follower.advance()


def files(bench: Bench) -> dict[str, ObjectRef]:
    serving = record(bench).serving
    assert serving is not None
    assert serving.lexical is not None
    return {**record(bench).builds[serving.build].files, **serving.lexical.files}


def place(bench: Bench, ref: ObjectRef) -> Path:
    return bench.folder / "lake" / ref.key


def hits(bench: Bench, **given: object) -> list[str]:
    return [hit.key for hit in found(bench, TEXT, **given).hits]


@pytest.mark.parametrize("recipe", ENGINES)
def test_one_changed_byte_in_any_file_is_never_served_and_the_file_is_made_again(bench: Bench, recipe: str) -> None:
    served(bench, recipe)
    expected = hits(bench)
    for number in range(len(files(bench))):
        ref = list(files(bench).values())[number]  # made again, the files may have other names
        if not ref.size:
            continue
        file = place(bench, ref)
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        again(bench)
        with pytest.raises(ObjectCorrupt):
            hits(bench)
        bench.settle()
        assert hits(bench) == expected, ref.key
        assert bench.by_object()["Index/i"].ready == "True"
    assert _unreferred(bench) == set()


@pytest.mark.parametrize("recipe", ENGINES)
@pytest.mark.parametrize("damage", ["cut", "removed", "emptied"])
def test_a_truncated_file_is_made_again_before_anybody_asks(bench: Bench, recipe: str, damage: str) -> None:
    served(bench, recipe)
    expected = hits(bench)
    for ref in [ref for ref in files(bench).values() if ref.size]:
        file = place(bench, ref)
        match damage:
            case "cut":
                file.write_bytes(file.read_bytes()[:-1])
            case "removed":
                file.unlink()
            case _:
                file.write_bytes(b"")
    with pytest.raises(StateError):
        hits(bench)
    bench.settle()
    assert hits(bench) == expected
    assert _unreferred(bench) == set()


@pytest.mark.parametrize("recipe", ENGINES)
@pytest.mark.parametrize("point", ["build.indexed", "build.stored", "index.before-build-entry", "index.after-build-entry"])
def test_a_build_that_breaks_off_leaves_no_half_of_one(bench: Bench, recipe: str, point: str) -> None:
    served(bench, "flat: {}", words="")
    bench.commit(BUCKET, dataset("x", KEYED), index("i", "x"), generation("g", "i", "hnsw: {}"), generation("h", "i", recipe))
    failpoints.arm({point: "error"})
    try:
        bench.reconciler.visit(Key.parse("IndexGeneration/h"))
        again(bench)
    finally:
        failpoints.disarm()
    assert len(hits(bench, k=5)) == 5, "what served goes on"
    assert bench.settle()["IndexGeneration/h"].ready == "True"
    assert _unreferred(bench) == set()


@pytest.mark.parametrize("point", ["", "index.before-build-entry", "discards.noted", "index.after-build-entry", "discards.before-delete"])
def test_what_a_job_left_under_other_names_goes_with_the_entry_of_its_build(bench: Bench, point: str) -> None:
    served(bench, RECIPES["hnsw"], words="")
    build = next(iter(record(bench).builds.values()))
    stray = f"indexes/i/builds/{build.digest}/vectors.lance/data/stray.lance"
    bench.store.put(stray, b"of a run that was killed")
    bench.settle()
    assert _unreferred(bench) == {stray}, "nobody removes what a job may be writing right now"
    place(bench, build.files["vectors"]).unlink()
    if point:
        failpoints.arm({point: "error"})
        try:
            bench.reconciler.visit(Key.parse("IndexGeneration/g"))
        finally:
            failpoints.disarm()
        again(bench)
        Discards(bench.store, bench.buckets, bench.catalog).settle()
    bench.settle()
    # one thread makes the same graph each time: then the former record is whole again, and there is no entry
    assert _unreferred(bench) == ({stray} if point in ("index.before-build-entry", "discards.noted") else set())
    if _unreferred(bench):
        os.utime(bench.folder / "lake" / stray, (1, 1))
        bench.collect()
    assert _unreferred(bench) == set()
    assert list(bench.store.list("discards/")) == []
    assert len(hits(bench)) == 10


@pytest.mark.parametrize("recipe", ENGINES)
def test_more_hits_than_chunks_and_filters_that_pass_none(bench: Bench, recipe: str) -> None:
    served(bench, recipe, count=3)
    modes: tuple[Mode, ...] = ("vector", "lexical", "hybrid")
    for mode in modes:
        ranking = Ranking(mode=mode)
        assert len(hits(bench, k=1000, ranking=ranking)) == (3 if mode != "lexical" else len(hits(bench, k=3, ranking=ranking)))
        assert hits(bench, filter="", ranking=ranking) == []
        assert hits(bench, filter="[77]", k=1000, ranking=ranking) == []


@pytest.mark.parametrize("recipe", ENGINES)
def test_an_index_of_nothing_answers_with_nothing(bench: Bench, recipe: str) -> None:
    bench.write("data/x/1.csv", "id,text\n")
    bench.commit(
        BUCKET,
        dataset("x", ", columns: {id: int64, text: string}"),
        index("i", "x", more=", lexical: true"),
        generation("g", "i", recipe),
        eval_set("e"),
    )
    statuses = bench.settle()
    assert statuses["Index/i"].ready == "True", statuses["Index/i"]
    assert hits(bench, k=10) == hits(bench, filter="[1]") == []


def _unreferred(bench: Bench) -> set[str]:
    """Files of builds and keyword indexes that no record names."""
    known = record(bench)
    named = {ref.key for build in known.builds.values() for ref in build.files.values()}
    named |= {ref.key for corpus in known.corpora.values() for ref in corpus.refs}
    there = {info.key for folder in ("builds", "lexical") for info in bench.store.list(f"indexes/i/{folder}/")}
    return there - named
