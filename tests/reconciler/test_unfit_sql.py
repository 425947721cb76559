"""SQL that is none is a fault of the spec, told by the hook, the plan and the status; no file is refused for it."""

from __future__ import annotations

import pytest
from small_lake import BUCKET, Bench, dataset
from test_row_sources import derived

from reconciler.checking import check_offline
from reconciler.place import Place
from state import reasons


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (derived("x", "SELEC id FROM y"), "`source.sql` is no query"),
        (dataset("x", ", contract: {checks: ['id >']}"), "the check `id >` is no condition"),
        (dataset("x", ", contract: {checks: ['now() > 1']}"), "the check `now() > 1` calls now()"),
    ],
)
def test_a_spec_with_such(bench: Bench, spec: str, words: str) -> None:
    for name in ("x", "y"):
        bench.write(f"data/{name}/1.csv", "id\n1\n")
    bench.commit(BUCKET, dataset("y"), spec)
    status = bench.settle()["Dataset/x"]
    assert status.reason == reasons.INVALID_SPEC
    assert words in status.message
    assert bench.catalog.table("x") is None
    assert bench.events(reasons.FILE_REFUSED) == []
    (offline,) = check_offline(Place(bench.source, bench.folder)).errors
    assert words in offline


def test_the_last_version_is_served_until_it_is_mended(bench: Bench) -> None:
    bench.write("data/y/1.csv", "id\n1\n")
    right = derived("x", "SELECT id FROM y")
    bench.commit(BUCKET, dataset("y"), right)
    bench.settle()
    bench.commit(BUCKET, dataset("y"), right.replace("SELECT", "SELEC"))
    assert bench.settle()["Dataset/x"].reason == reasons.INVALID_SPEC
    assert bench.catalog.table("x").version == 1
    bench.commit(BUCKET, dataset("y"), right)
    assert bench.settle()["Dataset/x"].reason == reasons.SUCCEEDED
