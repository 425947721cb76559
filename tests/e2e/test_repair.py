"""`lakectl gc`, `fsck` and `resync` beside a running daemon, killed in between as well."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from harness_daemon import Daemons, Repository, lakectl, wait_for
from harness_facts import events, missing
from harness_shop import Shop


def stray(repository: Repository, name: str) -> Path:
    """An object of long ago that nothing refers to."""
    path = repository.lake / "datasets/items" / name
    path.write_text("rows")
    os.utime(path, (1, 1))
    return path


def test_gc_and_fsck_beside_a_daemon(shop: Shop) -> None:
    old = stray(shop.repository, "old.parquet")
    code, document = lakectl(shop.repository, "fsck", "--deep")
    assert (code, [(found["problem"], found["mend"]) for found in document["findings"]]) == (1, [("unreferred", "lakectl gc --yes")])
    code, document = lakectl(shop.repository, "gc", "--yes")
    assert (code, document["outcome"], document["message"]) == (0, "done", "1 object (0.0 MB) of bucket primary removed")
    assert not old.exists()
    code, document = lakectl(shop.repository, "fsck", "--deep")
    assert (code, document["findings"]) == (0, [])
    assert shop.serves()


@pytest.mark.parametrize("point", ["garbage.before-delete", "garbage.after-delete"])
def test_a_daemon_killed_while_it_collects(stock: Repository, daemons: Daemons, point: str) -> None:
    daemon = daemons.start(stock, f"{point}=kill")
    daemon.wait_settled()
    names = [stray(stock, name) for name in ("a.parquet", "b.parquet")]
    assert lakectl(stock, "gc", "--yes", "--timeout", "1s")[0] == 1
    daemon.wait()
    assert any(path.exists() for path in names)
    daemon = daemons.start(stock)
    daemon.wait_settled()
    wait_for(lambda: not any(path.exists() for path in names), "the next daemon carries the request out")
    wait_for(lambda: daemon.value("SELECT count(*) FROM system.requests WHERE verb = 'gc' AND outcome = 'done'") == 1, "and says so")
    assert Shop(stock, daemon).serves()
    assert daemon.stop() == 0
    assert missing(stock.lake) == []
    assert len([row for row in events(stock.lake, "requests") if row["verb"] == "gc"]) == 1


def test_resync_of_what_is_missing(shop: Shop) -> None:
    (data,) = (shop.repository.lake / "datasets/items").glob("*.parquet")
    data.unlink()
    code, document = lakectl(shop.repository, "resync", "--missing")
    assert (code, document["message"]) == (0, "files of Dataset/items are looked at again")
    wait_for(data.exists, "it is there again")
    wait_for(shop.serves, "and read")
