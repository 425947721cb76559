"""A full disk: said so, nothing lost, the last good state goes on answering, and work is taken up once there is room."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness_daemon import Daemons, lakectl, wait_for
from harness_facts import leftovers, missing, unreferred
from harness_shop import Shop, stocked

MIB = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 16 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a small filesystem needs the right to mount one: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, spare: int = 0) -> Path:
    """A file that leaves `spare` bytes of the disk."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        size = 0
        try:
            while True:
                size += file.write(bytes(64 << 10))
        except OSError:
            file.truncate(size - spare)
    return ballast


def rows(count: int) -> str:
    """Rows that no compression makes small."""
    return "id,title\n" + "".join(f"{number},{secrets.token_hex(512)}\n" for number in range(100, 100 + count))


def test_a_full_lake(small_disk: Path, tmp_path: Path, daemons: Daemons) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "lake").symlink_to(small_disk)
    stock = stocked(repository)
    daemon = daemons.start(stock)
    daemon.wait_settled()
    shop = Shop(stock, daemon)
    ballast = fill(small_disk, 256 << 10)
    stock.write("data/items/2.csv", rows(1500))
    row = daemon.wait_status("Dataset/items", "DiskFull", "No space left", ready="False")
    assert "Free space" in row["message"]
    assert shop.serves()
    assert daemon.alive
    ballast.unlink()
    wait_for(lambda: daemon.value("SELECT count(*) FROM items") == 1503, "the file is taken once there is room")
    daemon.wait_settled()
    assert daemon.stop() == 0
    assert missing(stock.lake) == []
    assert unreferred(stock.lake) == []
    assert leftovers(stock.lake, stock.cache) == []


def test_a_full_disk_under_everything(small_disk: Path, daemons: Daemons) -> None:
    stock = stocked(small_disk / "repository")
    stock.write("lakehouse.yaml", "work: {relist: 1s}\n")
    stock.write("aside.csv", "id,title\n4,a white door\n")
    (stock.path / "data/more").mkdir()
    stock.commit(
        "more", more='apiVersion: lakehouse/v1\nkind: Dataset\nmetadata: {name: more}\nspec: {source: {files: "data/more/*.csv"}}\n'
    )
    daemon = daemons.start(stock)
    wait_for(lambda: daemon.status("Dataset/more").get("reason") == "SourceEmpty" and Shop(stock, daemon).serves(), "all is looked at")
    ballast = fill(small_disk)
    (stock.path / "aside.csv").rename(stock.path / "data/more/1.csv")
    shop = Shop(stock, daemon)
    daemon.wait_status("Dataset/more", "DiskFull", "No space left", ready="False")
    assert daemon.alive
    # the last page of the file may have room for some rows of the audit; without one there is no answer
    wait_for(lambda: daemon.ask("SELECT 1").problem == "audit-unavailable", "nothing is answered that leaves no trace")
    assert daemon.search("titles", "red chair").problem == "audit-unavailable"
    assert daemon.request("GET", "/status").status == 200
    ballast.unlink()
    assert shop.serves()
    wait_for(lambda: daemon.value("SELECT count(*) FROM more") == 1, "the file is taken once there is room")
    daemon.wait_settled()
    assert daemon.stop() == 0
    assert missing(stock.lake) == []
    assert leftovers(stock.lake, stock.cache) == []


def test_a_start_on_a_full_disk(small_disk: Path, daemons: Daemons) -> None:
    stock = stocked(small_disk / "repository")
    daemon = daemons.start(stock)
    daemon.wait_settled()
    daemon.kill()
    ballast = fill(small_disk)
    refused = daemons.begin(stock)
    assert refused.wait() == 1
    assert "disk-full" in refused.said
    assert "Traceback" not in refused.said
    ballast.unlink()
    again = daemons.start(stock)
    again.wait_settled()
    assert Shop(stock, again).serves()


@pytest.mark.parametrize("mount_point", [False, True], ids=["gone", "empty"])
def test_a_lake_whose_folder_vanishes(shop: Shop, mount_point: bool) -> None:
    """It is told, nothing is made in its place, and all goes on once it is there again."""
    repository, daemon = shop.repository, shop.daemon
    away = repository.lake.with_name("away")
    repository.lake.rename(away)
    if mount_point:
        repository.lake.mkdir()
    row = daemon.wait_status("Bucket/primary", "BucketUnavailable", f"{repository.lake} is gone", ready="False")
    for words in ("Mount or restore it", "lakectl rebuild"):
        assert words in row["message"]
    wait_for(lambda: f"{repository.lake} is gone" in daemon.said, "it is told")
    code, document = lakectl(repository, "status")
    assert (code, "is gone" in str(document["objects"])) == (0, True)
    repository.write("data/items/2.csv", "id,title\n4,a white door\n")
    daemon.wait_status("Dataset/items", "BucketUnavailable", ready="False")
    assert daemon.alive
    assert list(repository.lake.iterdir()) == [] if mount_point else not repository.lake.exists()
    if mount_point:
        repository.lake.rmdir()
    away.rename(repository.lake)
    wait_for(lambda: daemon.value("SELECT count(*) FROM items") == 4, "it goes on")
    daemon.wait_settled()
    assert daemon.stop() == 0
    assert missing(repository.lake) == []
