"""What is changed behind the daemon's back is found when it is looked at, and repaired, or named where it cannot be.

Tests that leave everything as it was share a daemon.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

from harness_daemon import Daemons, wait_for
from harness_facts import facts, missing, store_of
from harness_shop import Shop

from state.requests import Request, RequestQueue

_numbers = itertools.count()


def ask(shop: Shop, verb: str, name: str) -> None:
    """As `lakectl reconcile` and `resync` do."""
    queue = RequestQueue(store_of(shop.repository.lake))
    queue.submit(Request(f"01J00000000000000000000{next(_numbers):03d}", verb, name, "test", "drift"))
    wait_for(lambda: shop.daemon.poke() and not queue.pending(), f"{verb} {name} is answered")


def objects(shop: Shop, pattern: str) -> list[Path]:
    found = sorted(shop.repository.lake.glob(pattern))
    assert found
    return found


def repaired(shop: Shop, harm: Callable[[], None], name: str) -> None:
    """After the harm, one look at the object, and everything is as it was."""
    before = facts(shop.repository.lake)
    harm()
    ask(shop, "reconcile", name)
    wait_for(lambda: missing(shop.repository.lake) == [], "every object is there again")
    wait_for(shop.serves, "rows and hits are as they were")
    shop.daemon.wait_settled()
    told = shop.daemon.query("SELECT reason FROM system.events WHERE object = $name AND reason LIKE 'Drift%' ORDER BY id", name=name)
    assert [row["reason"] for row in told][-2:] == ["DriftDetected", "DriftRepaired"]
    after = facts(shop.repository.lake)
    assert after["Dataset/items"]["bindings"] == before["Dataset/items"]["bindings"]
    assert after["Index/titles"] == before["Index/titles"]


def test_a_deleted_data_file_is_made_again(shared: Shop) -> None:
    (data,) = objects(shared, "datasets/items/*.parquet")
    repaired(shared, data.unlink, "Dataset/items")


def test_a_truncated_data_file_is_made_again(shared: Shop) -> None:
    (data,) = objects(shared, "datasets/items/*.parquet")
    repaired(shared, lambda: cut(data), "Dataset/items")


def test_truncated_and_deleted_index_files_are_made_again(shared: Shop) -> None:
    vectors, chunks, corpus = [objects(shared, pattern)[0] for pattern in ("**/vectors.f32", "**/chunks.arrow", "**/corpora/*.parquet")]
    repaired(shared, lambda: cut(vectors), "Index/titles")
    repaired(shared, chunks.unlink, "Index/titles")
    repaired(shared, corpus.unlink, "Index/titles")


def test_a_data_file_that_cannot_be_made_again_is_named(shared: Shop) -> None:
    (data,) = objects(shared, "datasets/items/*.parquet")
    source = shared.repository.path / "data/items/1.csv"
    content = source.read_text()
    source.unlink()
    shared.daemon.wait_settled()
    data.unlink()
    answer = shared.daemon.ask("SELECT count(*) AS n FROM items").document
    assert (answer["rows"], answer["lost"]) == ([{"n": 0}], {"items": 3}), "whoever asks first is told as everybody after"
    row = shared.daemon.wait_status("Dataset/items", "ObjectMissing", data.name, ready="False")
    assert "put either back" in row["message"]
    # the index has vectors and texts of its own
    assert shared.nearest("red chair") == "a red chair"
    assert "3 rows are lost" in row["message"]
    answer = shared.daemon.ask("SELECT count(*) AS n FROM items").document
    assert (answer["rows"], answer["lost"]) == ([{"n": 0}], {"items": 3})
    shared.repository.write("data/items/1.csv", content)
    wait_for(shared.serves, "the source brings it back")
    assert "lost" not in shared.daemon.ask("SELECT count(*) FROM items").document
    shared.daemon.wait_settled()


def test_changed_bytes_of_the_same_size_are_noticed_when_read_and_made_again(shop: Shop, daemons: Daemons) -> None:
    """A light look compares sizes; whoever reads compares contents, answers nothing wrong, and the look that follows repairs."""
    assert shop.daemon.stop() == 0
    (data,) = objects(shop, "datasets/items/*.parquet")
    flip(data, 40)  # among the rows: a footer that cannot be read is noticed without reading
    flip(objects(shop, "**/vectors.f32")[0])
    again = Shop(shop.repository, daemons.start(shop.repository))
    daemon = again.daemon
    wait_for(lambda: daemon.request("GET", "/readyz").status == 200, "it is up")
    assert daemon.query("SELECT count(*) AS n FROM items") == [{"n": 3}], "a query waits for it"
    assert daemon.search("titles", "red chair").problem == "object-corrupt"
    ask(again, "reconcile", "Index/titles")
    wait_for(again.serves, "rows and hits are as they were")
    daemon.wait_settled()


def test_the_cache_may_go_at_any_time(shop: Shop, daemons: Daemons) -> None:
    shutil.rmtree(shop.repository.cache / "jobs", ignore_errors=True)
    shop.repository.write("data/items/1.csv", "id,title\n1,a red chair\n2,a blue table\n3,a grey lamp\n")
    wait_for(
        lambda: shop.daemon.value("SELECT title FROM items WHERE id = 3") == "a grey lamp", "data is followed without the folder of jobs"
    )
    shop.daemon.wait_settled()
    assert shop.daemon.stop() == 0
    before = facts(shop.repository.lake)
    shutil.rmtree(shop.repository.cache)
    daemon = daemons.start(shop.repository)
    daemon.wait_settled()
    assert facts(shop.repository.lake) == before
    assert Shop(shop.repository, daemon).serves()


def test_the_cache_may_go_under_a_running_daemon(shop: Shop) -> None:
    shutil.rmtree(shop.repository.cache)
    shop.repository.write("data/items/2.csv", "id,title\n4,a white door\n")
    daemon = shop.daemon
    wait_for(lambda: daemon.value("SELECT count(*) FROM items") == 4, "data is followed")
    wait_for(lambda: shop.nearest("white door") == "a white door", "the index follows")
    shop.repository.commit("nothing")
    wait_for(daemon.settled, "commits are followed")
    assert daemon.stop() == 0


def flip(path: Path, at: int | None = None) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def test_a_damaged_checkpoint_of_the_catalog_is_told_and_costs_nothing(shop: Shop, daemons: Daemons) -> None:
    before = facts(shop.repository.lake)
    assert shop.daemon.stop() == 0
    for checkpoint in objects(shop, "catalog/checkpoints/*.json"):
        checkpoint.write_bytes(checkpoint.read_bytes()[:-9])
    shop = Shop(shop.repository, daemons.start(shop.repository))
    told = "SELECT message FROM system.events WHERE reason = 'CheckpointDamaged'"
    wait_for(lambda: any("is not used" in row["message"] for row in shop.daemon.query(told)), "the damage is told")
    wait_for(shop.serves, "rows and hits are as they were")
    shop.daemon.wait_settled()
    assert facts(shop.repository.lake) == before


def test_whoever_reads_what_is_gone_has_it_made_again(shared: Shop) -> None:
    """Nobody asks for a look, and the next resync is far."""
    (data,) = objects(shared, "datasets/items/*.parquet")
    assert shared.serves()
    failed = "SELECT count(*) FROM system.errors WHERE bucket = 'primary' AND op = 'get' AND class = 'object-missing' AND NOT rescued"
    before = shared.daemon.value(failed)
    data.unlink()
    assert len(shared.daemon.query("SELECT title FROM items")) == 3, "whoever asks waits until it is made again"
    wait_for(lambda: shared.daemon.value(failed) > before, "it is in the journal")
