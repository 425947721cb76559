"""History is rewritten, a branch goes, a folder cannot be read: the last good revision stays in force."""

from __future__ import annotations

import shutil

from harness_daemon import BUCKET, Daemons, Repository, wait_for
from harness_shop import Shop, dataset

SETTINGS = "work: {relist: 1s}\n"


def test_a_rewritten_history_is_followed(shop: Shop) -> None:
    repository, daemon = shop.repository, shop.daemon
    first = repository.head
    repository.write("data/extra/1.csv", "a\n1\n")
    repository.commit("to be forgotten", extra=dataset("extra"))
    wait_for(lambda: daemon.value("SELECT count(*) FROM extra") == 1, "the commit is followed")
    # a force-push: the branch moves aside, and what it held is gone for good
    repository.git("reset", "--quiet", "--hard", first)
    repository.commit("another history", other=dataset("other"))
    repository.git("reflog", "expire", "--expire=now", "--all")
    repository.git("gc", "--quiet", "--prune=now")
    daemon.wait_status("Dataset/other", "SourceEmpty")
    daemon.wait_status("Dataset/extra", "Retained")
    assert shop.serves()
    # and once more, to a revision whose predecessor cannot be read any more
    repository.write("data/other/1.csv", "a\n1\n")
    repository.commit("on top")
    daemon.wait_settled()
    assert shop.serves()
    assert daemon.stop() == 0


def test_a_restart_on_a_history_that_lost_what_was_seen(shop: Shop, daemons: Daemons) -> None:
    repository = shop.repository
    first = repository.head
    repository.write("data/extra/1.csv", "a\n1\n")
    repository.commit("to be forgotten", extra=dataset("extra"))
    shop.daemon.wait_settled()
    assert shop.daemon.stop() == 0
    repository.git("reset", "--quiet", "--hard", first)
    repository.git("reflog", "expire", "--expire=now", "--all")
    repository.git("gc", "--quiet", "--prune=now")
    daemon = daemons.start(repository)
    daemon.wait_settled()
    assert Shop(repository, daemon).serves()
    daemon.wait_status("Dataset/extra", "Retained")


def test_a_deleted_branch_leaves_the_last_good_revision_in_force(stock: Repository, daemons: Daemons) -> None:
    stock.write("lakehouse.yaml", SETTINGS)
    stock.commit("settings")
    daemon = daemons.start(stock)
    daemon.wait_settled()
    shop = Shop(stock, daemon)
    kept = stock.head
    stock.git("update-ref", "-d", "refs/heads/main")
    row = daemon.wait_status("Source/git", "RevisionUnreadable", "last revision that could be read", ready="False")
    assert "HEAD" in row["message"]
    assert shop.serves()
    stock.write("data/items/2.csv", "id,title\n4,a white door\n")
    wait_for(lambda: daemon.value("SELECT count(*) FROM items") == 4, "data files are followed all the same")
    stock.git("update-ref", "refs/heads/main", kept)
    daemon.wait_settled()
    assert "Source/git" not in daemon.status()


def test_an_unreadable_repository_leaves_the_last_good_revision_in_force(stock: Repository, daemons: Daemons) -> None:
    stock.write("lakehouse.yaml", SETTINGS)
    stock.commit("settings")
    daemon = daemons.start(stock)
    daemon.wait_settled()
    shop = Shop(stock, daemon)
    away = stock.path.with_name("away")
    (stock.path / ".git").rename(away)
    daemon.wait_status("Source/git", "RevisionUnreadable", ready="False")
    assert shop.serves()
    away.rename(stock.path / ".git")
    daemon.wait_settled()
    # a torn HEAD, as a full disk leaves it
    head = stock.path / ".git/HEAD"
    good = head.read_bytes()
    head.write_bytes(b"")
    daemon.wait_status("Source/git", "RevisionUnreadable", ready="False")
    assert shop.serves()
    head.write_bytes(good)
    daemon.wait_settled()
    assert daemon.stop() == 0


def test_a_repository_that_was_replaced_is_followed(stock: Repository, daemons: Daemons) -> None:
    stock.write("lakehouse.yaml", SETTINGS)
    stock.commit("settings")
    daemon = daemons.start(stock)
    daemon.wait_settled()
    shutil.rmtree(stock.path / ".git")
    stock.git("init", "--quiet", "--initial-branch=main")
    stock.write("data/extra/1.csv", "a\n1\n")
    stock.commit("anew", bucket=BUCKET, extra=dataset("extra"))
    wait_for(lambda: daemon.value("SELECT count(*) FROM extra") == 1, "the new repository is followed")
    daemon.wait_settled()
    assert Shop(stock, daemon).serves()
